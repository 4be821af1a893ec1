# shellcheck shell=sh
# Debian packages in a folder of their own, without root. Sourced by the scripts that install one.
#
# A script sets
#   TREE           what the folder holds, for people: "BVLC Caffe"
#   TREE_VERSION   raised when what the folder holds changes: older ones are then replaced
#   SUITE          Debian's name of the release that the packages are of
#   PACKAGES       what is wanted of it; apt adds what that depends on
#   SOURCES        source packages to download too; none if unset
#   REMEDY         what to do where it cannot be installed
# and calls, in this order,
#   tree_open PREFIX        says so and ends the script if PREFIX is there already
#   tree_download           the packages, checked by apt against the Debian archive key ring; the
#                           source packages' files go to $WORK/sources
#   tree_unpack < PATTERNS  all but PATTERNS (one a line, as tar's) into $WORK/tree
#   tree_close              $WORK/tree becomes PREFIX
# The mirror is the one of the machine's apt sources, or $DEBIAN_MIRROR (".../debian").
# An interrupted PREFIX never looks finished: it appears by rename, under a lock.

fail() {
    echo "error: $1; $REMEDY" >&2
    exit 1
}

finished() { [ "$(cat "$PREFIX/tree-version" 2>/dev/null)" = "$TREE_VERSION" ]; }

# apt's own word on where its sources point; works without downloaded lists and without root.
debian_mirror() {
    echo "${DEBIAN_MIRROR:-$(apt-get update --print-uris 2>/dev/null |
        sed -n "s#^'\([^']*/debian\)/*/dists/.*#\1#p" | head -n 1)}"
}

tree_open() {
    mkdir -p "$(dirname "$1")"
    PREFIX=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
    if finished; then
        echo "$TREE is in $PREFIX"
        exit 0
    fi
    if [ -e "$PREFIX" ] && [ ! -e "$PREFIX/tree-version" ] &&
            [ -n "$(ls -A "$PREFIX" 2>/dev/null)" ]; then
        echo "error: $PREFIX exists and is not a ${TREE##* } tree; name another folder" >&2
        exit 1
    fi
    for tool in apt-get apt-config dpkg-deb flock; do
        command -v $tool >/dev/null || fail "no $tool on this machine, which the install needs"
    done
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "the packages are for amd64"
    KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$KEYRING" ] ||
        fail "no $KEYRING to check signatures with (package debian-archive-keyring)"
    MIRROR=$(debian_mirror)
    [ -n "$MIRROR" ] ||
        fail "this machine's apt sources name no Debian mirror; set DEBIAN_MIRROR to one (.../debian)"

    exec 9>"$PREFIX.lock"
    flock -n 9 || { echo "waiting for another install into $PREFIX"; flock 9; }
    if finished; then   # the one that held the lock has done it
        echo "$TREE is in $PREFIX"
        exit 0
    fi
    rm -rf "$PREFIX".partial.*   # what an interrupted run left; nobody else runs under the lock
    WORK=$PREFIX.partial.$$
    trap 'rm -rf "$WORK"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p "$WORK/apt/lists/partial" "$WORK/apt/archives/partial" "$WORK/tree"
}

tree_download() {
    : > "$WORK/apt/status"
    for kind in deb ${SOURCES:+deb-src}; do
        echo "$kind [signed-by=$KEYRING arch=amd64] $MIRROR $SUITE main"
    done > "$WORK/apt/sources.list"
    {
        # How this machine reaches its mirrors (proxies, certificates), and nothing else of its
        # set-up.
        apt-config dump Acquire
        cat <<CONFIG
Dir::Etc::sourcelist "$WORK/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::main "-";
Dir::Etc::parts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State "$WORK/apt";
Dir::State::status "$WORK/apt/status";
Dir::Cache "$WORK/apt";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
CONFIG
    } > "$WORK/apt/apt.conf"
    tree_apt update || fail "no package list of $SUITE from $MIRROR ($(tree_reason))"
    # shellcheck disable=SC2086
    tree_apt install --yes --download-only --no-install-recommends $PACKAGES ||
        fail "the packages could not be downloaded from $MIRROR ($(tree_reason))"
    mkdir "$WORK/sources"
    for source in ${SOURCES:-}; do
        (cd "$WORK/sources" && tree_apt source --download-only "$source") ||
            fail "the source of $source could not be downloaded from $MIRROR ($(tree_reason))"
    done
}

tree_apt() { APT_CONFIG=$WORK/apt/apt.conf apt-get -qq "$@" 9>&- >"$WORK/apt/log" 2>&1; }
tree_reason() { sed -n 's/^E: //p' "$WORK/apt/log" | head -n 1; }

tree_unpack() {
    cat > "$WORK/left-out"
    for deb in "$WORK"/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$WORK/tree" --no-same-owner --keep-directory-symlink -X "$WORK/left-out" \
                2>"$WORK/apt/log" ||
            fail "$deb could not be unpacked ($(tail -n 1 "$WORK/apt/log"))"
        rm -f "$deb"
    done
}

tree_close() {
    echo "$TREE_VERSION" > "$WORK/tree/tree-version"
    rm -rf "$PREFIX"
    mv "$WORK/tree" "$PREFIX"
    echo "$TREE is in $PREFIX"
}
