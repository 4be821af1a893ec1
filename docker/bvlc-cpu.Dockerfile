# BVLC Caffe 1.0, CPU, from Debian 11's own packages.
# For Debian's archive, once the suite has moved there: --build-arg MIRROR=<its /debian address>
FROM debian:bullseye-slim
ARG MIRROR
RUN if [ -n "${MIRROR:-}" ]; then echo "deb $MIRROR bullseye main" > /etc/apt/sources.list; fi \
    && apt-get update \
    && apt-get install --yes --no-install-recommends caffe python3-caffe libopenblas0-pthread \
    && rm -rf /var/lib/apt/lists/*
ENV PYTHONPATH=/gcnet/python
WORKDIR /gcnet
