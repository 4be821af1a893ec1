#!/bin/sh
# The last step of every image: who runs it, where data, runs and weights are kept, and `python`.
#
# Any user may run it (--user): the folders that take volumes are everybody's, as is the home.
set -eu
useradd --uid 1000 --user-group --home-dir /home/gcnet gcnet
mkdir -m 1777 /home/gcnet /gcnet/data /gcnet/runs /gcnet/weights
printf '#!/bin/sh\nexec /opt/gcnet/bin/python "$@"\n' > /usr/local/bin/python
chmod +x /usr/local/bin/python
