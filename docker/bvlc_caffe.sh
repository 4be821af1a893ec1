#!/bin/sh
# Install BVLC Caffe 1.0 (CPU) without compiling and without root.
#
#   docker/bvlc_caffe.sh [PREFIX]        default: ${XDG_CACHE_HOME:-~/.cache}/gcnet/bvlc-caffe
#
# Unpacks Debian 11's own packages, which carry Caffe for Python 3.9, into PREFIX, and leaves
#   PREFIX/bin/caffe         the command
#   PREFIX/bin/python3       a Python in which `import caffe` works
#   PREFIX/bin/caffe-gtest   Caffe's own tests
# They start through the tree's own loader, so the host's libraries do not matter.
# apt checks every package against the Debian archive key ring.
# The mirror is the one of the machine's apt sources, or $DEBIAN_MIRROR (".../debian").
# A finished PREFIX is left as it is; an interrupted one never looks finished (it appears by
# rename, under a lock).
set -eu

TREE_VERSION=2   # raise it when what PREFIX holds changes: older trees are then replaced
SUITE=bullseye
PACKAGES="caffe python3-caffe libopenblas0-pthread"

fail() {
    echo "error: $1; or use the Docker image: docker/README.md" >&2
    exit 1
}

case "${1:-}" in
    -h|--help)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0"
        echo "example: docker/bvlc_caffe.sh ~/caffe && ~/caffe/bin/caffe --version"
        exit 0 ;;
    -*) echo "error: unknown option $1; see $0 --help" >&2; exit 1 ;;
esac
[ $# -le 1 ] || { echo "error: one PREFIX at most; see $0 --help" >&2; exit 1; }

PREFIX=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/gcnet/bvlc-caffe}
mkdir -p "$(dirname "$PREFIX")"
PREFIX=$(cd "$(dirname "$PREFIX")" && pwd)/$(basename "$PREFIX")
finished() { [ "$(cat "$PREFIX/tree-version" 2>/dev/null)" = "$TREE_VERSION" ]; }

if finished; then
    echo "BVLC Caffe is in $PREFIX"
    exit 0
fi
if [ -e "$PREFIX" ] && [ ! -e "$PREFIX/tree-version" ] &&
        [ -n "$(ls -A "$PREFIX" 2>/dev/null)" ]; then
    echo "error: $PREFIX exists and is not a Caffe tree; name another folder" >&2
    exit 1
fi
for tool in apt-get apt-config dpkg-deb flock; do
    command -v $tool >/dev/null || fail "no $tool on this machine, which the install needs"
done
[ "$(dpkg --print-architecture)" = amd64 ] || fail "the packages are for amd64"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$KEYRING" ] || fail "no $KEYRING to check signatures with (package debian-archive-keyring)"
# apt's own word on where its sources point; works without downloaded lists and without root.
MIRROR=${DEBIAN_MIRROR:-$(apt-get update --print-uris 2>/dev/null |
    sed -n "s#^'\([^']*/debian\)/*/dists/.*#\1#p" | head -n 1)}
[ -n "$MIRROR" ] ||
    fail "this machine's apt sources name no Debian mirror; set DEBIAN_MIRROR to one (.../debian)"

exec 9>"$PREFIX.lock"
flock -n 9 || { echo "waiting for another install into $PREFIX"; flock 9; }
if finished; then   # the one that held the lock has done it
    echo "BVLC Caffe is in $PREFIX"
    exit 0
fi
rm -rf "$PREFIX".partial.*   # what an interrupted run left; nobody else runs under the lock
WORK=$PREFIX.partial.$$
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$WORK/apt/lists/partial" "$WORK/apt/archives/partial" "$WORK/tree"

echo "1/3 downloading Debian 11's Caffe (165 MB)"
: > "$WORK/apt/status"
echo "deb [signed-by=$KEYRING arch=amd64] $MIRROR $SUITE main" > "$WORK/apt/sources.list"
{
    # How this machine reaches its mirrors (proxies, certificates), and nothing else of its set-up.
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
apt() { APT_CONFIG=$WORK/apt/apt.conf apt-get -qq "$@" 9>&- >"$WORK/apt/log" 2>&1; }
reason() { sed -n 's/^E: //p' "$WORK/apt/log" | head -n 1; }
apt update || fail "no package list of $SUITE from $MIRROR ($(reason))"
# shellcheck disable=SC2086
apt install --yes --download-only --no-install-recommends $PACKAGES ||
    fail "the packages could not be downloaded from $MIRROR ($(reason))"

echo "2/3 unpacking"
# Only Caffe's programs may stand in PREFIX/bin, and of what the packages pull in, Perl, IPython,
# pandas, Cython, documents and the libraries' data files are never used by Caffe.
cat > "$WORK/left-out" <<LEFT_OUT
./bin
./sbin
./etc
./var
./usr/sbin
./usr/share
./usr/include
./usr/lib/*/perl*
./usr/lib/*/gconv
./usr/lib/python3/dist-packages/pandas
./usr/lib/python3/dist-packages/jedi
./usr/lib/python3/dist-packages/IPython
./usr/lib/python3/dist-packages/Cython
./usr/lib/python3/dist-packages/pygments
./usr/lib/python3/dist-packages/prompt_toolkit
LEFT_OUT
for deb in "$WORK"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" |
        tar -x -C "$WORK/tree" --no-same-owner --keep-directory-symlink -X "$WORK/left-out" \
            2>"$WORK/apt/log" || fail "$deb could not be unpacked ($(tail -n 1 "$WORK/apt/log"))"
    rm -f "$deb"
done
find "$WORK/tree/usr/bin" ! -type d ! -name 'caffe*' ! -name python3.9 -delete
mkdir "$WORK/tree/bin"

echo "3/3 finishing"
wrapper() {   # name, program: a starter that finds its tree from where it lies
    cat > "$WORK/tree/bin/$1" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/..
here=\$(cd "\$here" && pwd)
lib=\$here/usr/lib/x86_64-linux-gnu
PYTHONHOME=\$here/usr
PYTHONPATH=\${PYTHONPATH:+\$PYTHONPATH:}\$here/usr/lib/python3/dist-packages
PYTHONDONTWRITEBYTECODE=\${PYTHONDONTWRITEBYTECODE-1}
PYTHONNOUSERSITE=1
export PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE
# OpenBLAS comes first, or the reference BLAS would be taken.
exec "\$here/lib/x86_64-linux-gnu/ld-2.31.so" --library-path \\
    "\$lib/openblas-pthread:\$lib:\$here/usr/lib:\$here/lib/x86_64-linux-gnu:\$lib/blas:\$lib/lapack:\$lib/hdf5/serial" \\
    "\$here/$2" "\$@"
WRAPPER
    chmod +x "$WORK/tree/bin/$1"
}
wrapper caffe usr/bin/caffe
wrapper python3 usr/bin/python3.9
wrapper caffe-gtest "$(cd "$WORK/tree" && find usr -name 'caffe-gtest*' -type f | head -n 1)"
# Python takes the loader's program for itself; what it starts by sys.executable must go through the
# starter too.
rm -f "$WORK/tree/usr/lib/python3.9/sitecustomize.py"   # Debian's, a link out of the tree
cat > "$WORK/tree/usr/lib/python3.9/sitecustomize.py" <<SITE
import os, sys
sys.executable = os.path.join(os.path.dirname(sys.prefix), "bin", "python3")
SITE
# The import also compiles Python's files, once and here, since PREFIX may be read-only later.
PYTHONDONTWRITEBYTECODE='' "$WORK/tree/bin/python3" -c 'import caffe' 2>"$WORK/apt/log" ||
    fail "the unpacked Caffe does not start ($(tail -n 1 "$WORK/apt/log"))"
"$WORK/tree/bin/caffe" --version >/dev/null 2>&1 || fail "the unpacked caffe command does not start"
echo "$TREE_VERSION" > "$WORK/tree/tree-version"
rm -rf "$PREFIX"
mv "$WORK/tree" "$PREFIX"
echo "BVLC Caffe is in $PREFIX"
