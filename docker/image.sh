#!/bin/sh
# Build an image of this folder, or run a command in one, with whatever there is for it.
#
#   docker/image.sh build NAME                                NAME: bvlc-cpu, bvlc-cuda or torch
#   docker/image.sh size NAME                                 in bytes, with all layers
#   docker/image.sh run NAME [--user=UID:GID] [--volume=FOLDER:FOLDER]... [--env=NAME=VALUE]... COMMAND...
#
# Docker is taken where its daemon answers, else Podman, else buildah, which needs no daemon but
# root: there a base image is made of Debian's packages (mmdebstrap) instead of being pulled, from
# the mirror of the machine's apt sources or of $DEBIAN_MIRROR (".../debian").
# For the build Python's wheels are downloaded to build/wheels/NAME, by the pip of $PYTHON (.venv's).
# With $STAGE set, that stage of the Dockerfile is built, or a command run in it.
set -eu

REPOSITORY=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-$REPOSITORY/.venv/bin/python}
WHEELS=$REPOSITORY/build/wheels   # with a folder for each image

. "$REPOSITORY/docker/debian_tree.sh"   # debian_mirror

fail() {
    echo "error: $1" >&2
    exit 1
}

usage() {
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0"
    echo "example: docker/image.sh build bvlc-cpu && docker/image.sh run bvlc-cpu caffe --version"
}

found() { command -v "$1" >/dev/null && "$@" >/dev/null 2>&1; }

choose_tool() {
    if found docker version --format '{{.Server.Version}}'; then
        TOOL=docker
    elif found podman info; then
        TOOL=podman
    elif command -v buildah >/dev/null && command -v mmdebstrap >/dev/null; then
        [ "$(id -u)" = 0 ] || fail "buildah needs root here; or start Docker, or install Podman"
        TOOL=buildah
    else
        fail "neither Docker nor Podman answers, and buildah and mmdebstrap are not installed"
    fi
}

tag() { echo "gcnet-$1${STAGE:+:$STAGE}"; }

extras() {
    case "$1" in
        bvlc-cpu | bvlc-cuda) ;;
        torch) echo torchcaffe analysis ;;
        *) fail "no image $1; there are bvlc-cpu, bvlc-cuda and torch" ;;
    esac
}

# The newest glibc that a wheel may need is Debian 11's, 2.31.
download_wheels() {
    wheels=$WHEELS/$1
    shift
    mkdir -p "$WHEELS"
    rm -rf "$wheels.partial"
    [ -x "$PYTHON" ] || fail "no $PYTHON to download wheels with; run make setup"
    echo "downloading wheels"
    "$PYTHON" "$REPOSITORY/docker/steps/requirements.py" "$REPOSITORY/pyproject.toml" "$@" \
        > "$wheels.txt"
    platforms=linux_x86_64
    for minor in 31 30 29 28 27 26 25 24 17 12 5; do
        platforms="$platforms manylinux_2_${minor}_x86_64"
    done
    # shellcheck disable=SC2046,SC2086  # a word for each platform
    "$PYTHON" -m pip download --quiet --dest "$wheels.partial" --only-binary=:all: \
        --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none \
        $(printf -- '--platform %s ' $platforms manylinux2014_x86_64 manylinux1_x86_64) \
        -r "$wheels.txt" || fail "the wheels could not be downloaded (above: pip's message)"
    rm -rf "$wheels" "$wheels.txt"
    mv "$wheels.partial" "$wheels"
}

make_base() {
    suite=$1
    buildah inspect --type image "debian:$suite-slim" >/dev/null 2>&1 && return
    echo "making debian:$suite-slim"
    mirror=$(debian_mirror)
    [ -n "$mirror" ] ||
        fail "this machine's apt sources name no Debian mirror; set DEBIAN_MIRROR to one (.../debian)"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # As Debian's own slim images: no documents, no translations.
    mmdebstrap --quiet --variant=minbase \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        "$suite" "$scratch/base.tar" "$mirror" || fail "debian:$suite-slim could not be made"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$scratch/base.tar" / >/dev/null
    buildah config --cmd bash "$container"
    buildah commit --quiet --rm "$container" "debian:$suite-slim" >/dev/null
    rm -rf "$scratch"
    trap - EXIT
}

build() {
    name=$1
    wanted=$(extras "$name")
    choose_tool
    # shellcheck disable=SC2086
    [ -n "${STAGE:-}" ] || download_wheels "$name" $wanted
    dockerfile=docker/$name.Dockerfile
    set -- -t "$(tag "$name")" -f "$dockerfile" ${STAGE:+--target "$STAGE"}
    [ -z "${DEBIAN_MIRROR:-}" ] || set -- "$@" --build-arg "MIRROR=$DEBIAN_MIRROR"
    cd "$REPOSITORY"
    if [ $TOOL = buildah ]; then
        make_base "$(sed -n 's/^FROM debian:\([a-z]*\)-slim.*/\1/p' "$dockerfile" | head -n 1)"
        buildah bud --isolation chroot --pull-never --layers "$@" .
    else
        DOCKER_BUILDKIT=1 $TOOL build "$@" .
    fi
    echo "built: $(tag "$name")"
}

size() {
    extras "$1" >/dev/null
    choose_tool
    if [ $TOOL = buildah ]; then
        container=$(buildah from --pull-never "$(tag "$1")") || fail "no image $1; build it first"
        du -sxB1 "$(buildah mount "$container")" | cut -f 1
        buildah rm "$container" >/dev/null
    else
        $TOOL image inspect --format '{{.Size}}' "$(tag "$1")"
    fi
}

run() {
    extras "$1" >/dev/null
    image=$(tag "$1")
    shift
    options=0
    for word; do
        case "$word" in
            --user=* | --volume=* | --env=*) options=$((options + 1)) ;;
            *) break ;;
        esac
    done
    words=$(($# - options))
    [ $words -gt 0 ] || { usage >&2; exit 1; }
    choose_tool
    if [ $TOOL = buildah ]; then
        container=$(buildah from --pull-never "$image") || fail "no image $image; build it first"
        trap 'buildah rm "$container" >/dev/null' EXIT
        image=$container
    fi
    while [ $options -gt 0 ]; do   # options to the end, then the image, then the command
        set -- "$@" "$1"
        shift
        options=$((options - 1))
    done
    set -- "$@" "$image"
    while [ $words -gt 0 ]; do
        set -- "$@" "$1"
        shift
        words=$((words - 1))
    done
    if [ $TOOL = buildah ]; then
        buildah run --isolation chroot "$@"
    else
        $TOOL run --rm "$@"
    fi
}

case "${1:-}" in
    build) [ $# = 2 ] || { usage >&2; exit 1; }; build "$2" ;;
    size) [ $# = 2 ] || { usage >&2; exit 1; }; size "$2" ;;
    run) [ $# -ge 3 ] || { usage >&2; exit 1; }; shift; run "$@" ;;
    -h | --help) usage ;;
    *) usage >&2; exit 1 ;;
esac
