# BVLC Caffe 1.0, CPU, from Debian 11's own packages, and gcnet beside it.
# Where Debian has moved Debian 11 to its archive: --build-arg MIRROR=<its /debian address>, and where
# Debian 12 is not there too, --build-arg BOOKWORM_MIRROR=<another mirror's>.

FROM debian:bullseye-slim AS debian11
ARG MIRROR
COPY docker/steps/apt_sources.sh /
RUN /apt_sources.sh main && rm /apt_sources.sh

FROM debian11 AS python311
ARG BOOKWORM_MIRROR
COPY docker/steps/python311.sh /
RUN /python311.sh
COPY pyproject.toml docker/steps/requirements.py docker/steps/dependencies.sh /gcnet/
RUN --mount=type=bind,target=/context \
    /gcnet/dependencies.sh /opt/gcnet/bin/python /context/build/wheels/bvlc-cpu

FROM debian11
# python3-caffe depends on packages of which `import caffe` imports nothing; these are the large ones.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        caffe=1.0.0+git20180821.99bd997-8+b2 python3-caffe=1.0.0+git20180821.99bd997-8+b2 \
        libopenblas0-pthread=0.3.13+ds-3+deb11u1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && cd /usr/lib/python3/dist-packages \
    && rm -r Cython IPython jedi pandas prompt_toolkit pygments \
    && find . -name tests -type d -prune -exec rm -r {} +
COPY --from=python311 /opt/python3.11 /opt/python3.11
COPY --from=python311 /opt/gcnet /opt/gcnet
COPY LICENSE README.md pyproject.toml /gcnet/
COPY data_prep /gcnet/data_prep
COPY docker /gcnet/docker
COPY prototxt /gcnet/prototxt
COPY python /gcnet/python
RUN /gcnet/docker/steps/install_gcnet.sh
# python3 is Debian's Python 3.9, in which `import caffe` works. It hands gcnet's own programs over
# to GCNET_PYTHON.
ENV GCNET_ENGINE=bvlc GCNET_PYTHON=/opt/gcnet/bin/python \
    PYTHONPATH=/gcnet/python:/gcnet PYTHONDONTWRITEBYTECODE=1 HOME=/home/gcnet
USER gcnet
WORKDIR /gcnet
CMD ["bash"]
