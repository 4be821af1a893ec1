#!/bin/sh
# In an image of Debian 11: take packages and sources from its last point release alone, which no
# longer changes, and leave out what no program reads.
#
#   MIRROR=...  apt_sources.sh COMPONENT...
#
# MIRROR is a Debian mirror (".../debian"), for when the suite has moved to the archive; without it
# the image's own.
set -eu
suite=bullseye
mirror=${MIRROR:-$(apt-get update --print-uris |
    sed -n "s#^'\([^']*/debian\)/*/dists/$suite/.*#\1#p" | head -n 1)}
[ -n "$mirror" ] || { echo "error: no Debian mirror; give --build-arg MIRROR=.../debian" >&2; exit 1; }
rm -rf /etc/apt/sources.list.d/*
for kind in deb deb-src; do
    echo "$kind $mirror $suite $*"
done > /etc/apt/sources.list
cat > /etc/dpkg/dpkg.cfg.d/unread <<UNREAD
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/javascript/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
UNREAD
