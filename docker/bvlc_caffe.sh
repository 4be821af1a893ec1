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
# A finished PREFIX is left as it is.
set -eu

TREE="BVLC Caffe"
TREE_VERSION=2
SUITE=bullseye
PACKAGES="caffe python3-caffe libopenblas0-pthread"
REMEDY="or use the Docker image: docker/README.md"
# shellcheck source-path=SCRIPTDIR source=debian_tree.sh
. "$(dirname "$0")/debian_tree.sh"

case "${1:-}" in
    -h|--help)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0"
        echo "example: docker/bvlc_caffe.sh ~/caffe && ~/caffe/bin/caffe --version"
        exit 0 ;;
    -*) echo "error: unknown option $1; see $0 --help" >&2; exit 1 ;;
esac
[ $# -le 1 ] || { echo "error: one PREFIX at most; see $0 --help" >&2; exit 1; }

tree_open "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/gcnet/bvlc-caffe}"

echo "1/3 downloading Debian 11's Caffe (165 MB)"
tree_download

echo "2/3 unpacking"
# Only Caffe's programs may stand in PREFIX/bin, and of what the packages pull in, Perl, IPython,
# pandas, Cython, documents and the libraries' data files are never used by Caffe.
tree_unpack <<LEFT_OUT
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
tree_close
