#!/bin/sh
# Python 3.11 for Debian 11, in /opt/python3.11, and a virtual environment of it in /opt/gcnet.
#
# Debian 11 has Python 3.9, which pycaffe is compiled for; gcnet's own programs need 3.11. It is
# compiled from Debian 12's source, and its pip is Debian 12's: both from BOOKWORM_MIRROR
# (".../debian"), or else from where Debian 11 is.
set -eu
suite=bookworm
version=3.11.2-6+deb12u8
mirror=${BOOKWORM_MIRROR:-$(cut -d ' ' -f 2 /etc/apt/sources.list.d/source.list)}
printf "%s $mirror $suite main\n" deb deb-src > /etc/apt/sources.list.d/$suite.list
echo 'APT::Default-Release "bullseye";' > /etc/apt/apt.conf.d/default-release
apt-get update
apt-get install --yes --no-install-recommends \
    dpkg-dev gcc make libbz2-dev libexpat1-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev \
    zlib1g-dev python3-pip-whl/$suite python3-setuptools-whl/$suite
mkdir /tmp/python3.11
cd /tmp/python3.11
apt-get source "python3.11=$version"
cd python3.11-*/
# Debian's pyexpat.c compiles only as a part of the interpreter, as Debian has it.
printf '%s\n' '*static*' 'pyexpat pyexpat.c -lexpat' > Modules/Setup.local
./configure --quiet --prefix=/opt/python3.11 --with-system-expat --without-ensurepip \
    --without-static-libpython --disable-test-modules
make --quiet -j"$(nproc)"
make --quiet install
cd /opt/python3.11
find . -name '*.opt-[12].pyc' -delete
rm -rf include share lib/python3.11/idlelib lib/python3.11/turtledemo /tmp/python3.11
strip bin/python3.11 lib/python3.11/lib-dynload/*.so
/opt/python3.11/bin/python3.11 -m venv /opt/gcnet
rm -r /opt/python3.11/lib/python3.11/ensurepip
