#!/bin/sh
# gcnet's dependencies for the Python of an image, from wheels in WHEELS or else from PyPI.
#
#   dependencies.sh PYTHON WHEELS [EXTRA...]       beside requirements.py and pyproject.toml
set -eu
python=$1 wheels=$2
shift 2
cd "$(dirname "$0")"
"$python" requirements.py pyproject.toml "$@" > requirements.txt
from=
[ ! -d "$wheels" ] || from="--no-index --find-links $wheels"
# shellcheck disable=SC2086
"$python" -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    $from -r requirements.txt
