#!/bin/sh
# Fetch BVLC Caffe's own tests of pycaffe and what they need, without root.
#
#   tests/bvlc_tests.sh        into ${XDG_CACHE_HOME:-~/.cache}/gcnet/bvlc-tests
#
#   caffe/     of the source of Debian 11's Caffe: python/caffe/test, models, examples (prototxt)
#   bin/dot    Graphviz, which starts with the tree's own loader and libraries
set -eu

TREE="BVLC Caffe's tests"
TREE_VERSION=1
SUITE=bullseye
PACKAGES="graphviz fonts-dejavu-core"
SOURCES=caffe
REMEDY="the tests of pycaffe need a machine as docker/README.md asks for"
# shellcheck source-path=SCRIPTDIR source=../docker/debian_tree.sh
. "$(dirname "$0")/../docker/debian_tree.sh"

tree_open "${XDG_CACHE_HOME:-$HOME/.cache}/gcnet/bvlc-tests"

echo "1/3 downloading Debian 11's Caffe source and Graphviz (35 MB)"
tree_download

echo "2/3 unpacking"
tree_unpack <<LEFT_OUT
./bin
./etc
./var
./usr/share/[!f]*
./usr/lib/*/gconv
./usr/lib/*/perl*
LEFT_OUT
mkdir "$WORK/tree/caffe"
tar -x -C "$WORK/tree/caffe" --no-same-owner --wildcards -f "$WORK"/sources/caffe_*.orig.tar.* \
    'python/caffe/test/*.py' 'models/*.prototxt' 'examples/*.prototxt'

echo "3/3 finishing"
mkdir "$WORK/tree/bin" "$WORK/tree/etc"
cat > "$WORK/tree/etc/fonts.conf" <<FONTS
<fontconfig><dir>$PREFIX/usr/share/fonts</dir><cachedir>$PREFIX/etc/fonts</cachedir></fontconfig>
FONTS
starter() {   # the tree: a program that finds all it needs there
    cat > "$WORK/tree/bin/dot" <<STARTER
#!/bin/sh
lib=$1/usr/lib/x86_64-linux-gnu
export GVBINDIR="\$lib/graphviz" FONTCONFIG_FILE="$1/etc/fonts.conf"
exec "$1/lib/x86_64-linux-gnu/ld-2.31.so" --library-path "\$lib:$1/lib/x86_64-linux-gnu" \
    "$1/usr/bin/dot" "\$@"
STARTER
    chmod +x "$WORK/tree/bin/dot"
}
starter "$WORK/tree"
# Graphviz lists its own plug-ins, as its package does when it is configured.
"$WORK/tree/bin/dot" -c 2>"$WORK/apt/log" ||
    fail "the unpacked Graphviz does not start ($(tail -n 1 "$WORK/apt/log"))"
starter "$PREFIX"
tree_close
