#!/bin/sh
# Install Debian 12's headless Chromium for the tests of report.html, without root.
#
#   tests/chromium.sh        into ${XDG_CACHE_HOME:-~/.cache}/gcnet/chromium
#
# bin/chromium there starts with the tree's own loader, libraries and font, whatever the host has.
set -eu

TREE="Chromium"
TREE_VERSION=1
SUITE=bookworm
PACKAGES="chromium-headless-shell fonts-dejavu-core patchelf"
REMEDY="the tests of report.html need a machine as docker/README.md asks for"
# shellcheck source-path=SCRIPTDIR source=../docker/debian_tree.sh
. "$(dirname "$0")/../docker/debian_tree.sh"

tree_open "${XDG_CACHE_HOME:-$HOME/.cache}/gcnet/chromium"

echo "1/3 downloading Debian 12's Chromium (160 MB)"
tree_download

echo "2/3 unpacking"
# Nothing is drawn by a graphics card here, and no package is configured.
tree_unpack <<LEFT_OUT
./bin
./etc
./var
./usr/sbin
./usr/share/[!f]*
./usr/lib/*/dri
./usr/lib/*/gconv
./usr/lib/*/libLLVM*
./usr/lib/*/libz3*
LEFT_OUT

echo "3/3 finishing"
mkdir "$WORK/tree/bin" "$WORK/tree/etc"
cat > "$WORK/tree/etc/fonts.conf" <<FONTS
<fontconfig><dir>$PREFIX/usr/share/fonts</dir><cachedir>$PREFIX/etc/fonts</cachedir></fontconfig>
FONTS
PROGRAM=usr/lib/chromium/chromium-headless-shell
LOADER=lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries() { echo "$1/usr/lib/x86_64-linux-gnu:$1/lib/x86_64-linux-gnu:$1/usr/lib/x86_64-linux-gnu/pulseaudio"; }
in_tree() { "$WORK/tree/$LOADER" --library-path "$(libraries "$WORK/tree")" "$@"; }
# Chromium starts copies of itself, so its file must name the loader; a starter is not enough.
in_tree "$WORK/tree/usr/bin/patchelf" --set-interpreter "$PREFIX/$LOADER" "$WORK/tree/$PROGRAM" ||
    fail "the loader could not be written into Chromium"
cat > "$WORK/tree/bin/chromium" <<STARTER
#!/bin/sh
export LD_LIBRARY_PATH="$(libraries "$PREFIX")" FONTCONFIG_FILE="$PREFIX/etc/fonts.conf"
exec "$PREFIX/$PROGRAM" "\$@"
STARTER
chmod +x "$WORK/tree/bin/chromium"
in_tree "$WORK/tree/$PROGRAM" --version >/dev/null 2>"$WORK/apt/log" ||
    fail "the unpacked Chromium does not start ($(tail -n 1 "$WORK/apt/log"))"
tree_close
