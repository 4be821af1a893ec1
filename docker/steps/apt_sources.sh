#!/bin/sh
# In an image of Debian 11: what apt may take, and what is left out of packages.
#
#   MIRROR=...  apt_sources.sh COMPONENT...
#
# The image's own sources stay, as its packages may be newer than the last point release; the
# components and the source packages of that release are added. MIRROR is where the suite is
# (".../debian", its security updates then in ".../debian-security") once Debian has moved it to the
# archive.
set -eu
suite=bullseye
list=/etc/apt/sources.list
if [ -n "${MIRROR:-}" ]; then
    sed -i "s#[^ ]*/debian-security #${MIRROR%/}-security #; s#[^ ]*/debian #${MIRROR%/} #" $list
fi
mirror=$(sed -n "s#^deb \(\[.*\] \)*\([^ ]*/debian\) $suite .*#\2#p" $list | head -n 1)
[ -n "$mirror" ] || { echo "error: $list names no mirror of $suite" >&2; exit 1; }
echo "deb $mirror $suite $*" > /etc/apt/sources.list.d/components.list
echo "deb-src $mirror $suite $*" > /etc/apt/sources.list.d/source.list
cat > /etc/dpkg/dpkg.cfg.d/left-out <<LEFT_OUT
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/javascript/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
LEFT_OUT
