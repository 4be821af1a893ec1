# gcnet with torchcaffe, for the CPU and for GPUs that PyTorch knows.
#
# PyPI's PyTorch, which pip takes here, is the build for NVIDIA GPUs, several GB. Where wheels lie in
# build/wheels/torch (docker/image.sh puts them there) these are taken instead.

FROM debian:bookworm-slim AS venv
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
RUN python3 -m venv /opt/gcnet
COPY pyproject.toml docker/steps/requirements.py docker/steps/dependencies.sh /gcnet/
RUN --mount=type=bind,target=/context \
    /gcnet/dependencies.sh /opt/gcnet/bin/python /context/build/wheels/torch torchcaffe analysis
# What nothing here uses: the packages' own tests, PyTorch's C++ headers and its test programs.
RUN cd /opt/gcnet/lib/python3.11/site-packages && rm -rf torch/include torch/share torch/test \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find networkx scipy sklearn sympy -name tests -type d -prune -exec rm -r {} +
RUN printf '%s\n' '#!/opt/gcnet/bin/python' 'import sys' 'from gcnet.engine import run_caffe' \
        'sys.exit(run_caffe())' > /opt/gcnet/bin/caffe \
    && chmod +x /opt/gcnet/bin/caffe

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=venv /opt/gcnet /opt/gcnet
COPY LICENSE README.md pyproject.toml /gcnet/
COPY bench /gcnet/bench
COPY data_prep /gcnet/data_prep
COPY docker /gcnet/docker
COPY prototxt /gcnet/prototxt
COPY python /gcnet/python
COPY tests /gcnet/tests
RUN /gcnet/docker/steps/install_gcnet.sh
# NVIDIA's container runtime reads the last two.
ENV PATH=/opt/gcnet/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/gcnet/python:/gcnet \
    PYTHONDONTWRITEBYTECODE=1 HOME=/home/gcnet \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER gcnet
WORKDIR /gcnet
CMD ["bash"]
