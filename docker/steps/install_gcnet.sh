#!/bin/sh
# The last step of every image: who runs it, and where data, runs and weights are kept.
#
# Any user may run it (docker run -u): the folders that take volumes are everybody's, as is /home/gcnet.
set -eu
useradd --uid 1000 --user-group --home-dir /home/gcnet gcnet
mkdir -m 1777 /home/gcnet /gcnet/data /gcnet/runs /gcnet/weights
