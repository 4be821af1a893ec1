#!/bin/sh
# Python 3.11 for Debian 11, in /opt/python3.11: compiled from Debian 12's source.
#
# Debian 11 has Python 3.9, which pycaffe is compiled for; gcnet's own programs need 3.11.
set -eu
suite=bookworm
version=3.11.2-6+deb12u8
sed -n "s/^deb-src \(.*\) bullseye .*/deb-src \1 $suite main/p" /etc/apt/sources.list \
    > /etc/apt/sources.list.d/$suite.list
apt-get update
apt-get install --yes --no-install-recommends \
    dpkg-dev gcc make libbz2-dev libexpat1-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev zlib1g-dev
mkdir /tmp/python3.11
cd /tmp/python3.11
apt-get source "python3.11=$version"
cd python3.11-*/
./configure --quiet --prefix=/opt/python3.11 --with-system-expat --with-ensurepip=install \
    --without-static-libpython --disable-test-modules
make --quiet -j"$(nproc)"
make --quiet install
cd /opt/python3.11
find . -name '*.opt-[12].pyc' -delete
rm -rf share include/python3.11/internal lib/python3.11/idlelib lib/python3.11/lib2to3/tests \
    lib/python3.11/turtledemo
rm -rf /tmp/python3.11
