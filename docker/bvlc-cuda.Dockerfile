# BVLC Caffe 1.0 with CUDA 11.2, whose compiler is among the last that know the K80 (sm_37).
# Everything is Debian 11's own: Caffe's source, CUDA (non-free), Python 3.9 with pycaffe.
# Where Debian has moved Debian 11 to its archive: --build-arg MIRROR=<its /debian address>, and where
# Debian 12 is not there too, --build-arg BOOKWORM_MIRROR=<another mirror's>.

FROM debian:bullseye-slim AS debian11
ARG MIRROR
COPY docker/steps/apt_sources.sh /
RUN /apt_sources.sh main contrib non-free && rm /apt_sources.sh

FROM debian11 AS caffe
RUN apt-get update && apt-get install --yes --no-install-recommends \
    cmake dpkg-dev g++ make protobuf-compiler python3-dev python3-numpy \
    libboost-filesystem-dev libboost-python-dev libboost-system-dev libboost-thread-dev \
    libgflags-dev libgoogle-glog-dev libhdf5-dev libleveldb-dev liblmdb-dev libopenblas-dev \
    libopencv-dev libprotobuf-dev libsnappy-dev \
    nvidia-cuda-toolkit=11.2.2-3+deb11u3 nvidia-cuda-dev=11.2.2-3+deb11u3
RUN apt-get source caffe=1.0.0+git20180821.99bd997-8 && mv caffe-*/ /usr/src/caffe
# BVLC Caffe built for GPUs asks CUDA for a device also when it computes on the CPU, in each thread
# of a data layer, and ends where there is none. Here it asks only when it computes on a GPU.
RUN cd /usr/src/caffe/src/caffe && sed -i \
        -e 's/^  CUDA_CHECK(cudaGetDevice(/  if (Caffe::mode() == Caffe::GPU) &/' \
        -e 's/^  CUDA_CHECK(cudaSetDevice(/  if (mode == Caffe::GPU) &/' internal_thread.cpp \
    && [ "$(grep -c 'Caffe::GPU)   CUDA_CHECK' internal_thread.cpp)" = 2 ]
# Kepler to Ampere: K80, Maxwell, P100, Pascal, V100, Turing, A100, Ampere. PTX is for later ones.
ARG ARCHITECTURES="37 50 52 60 61 70 75 80 86"
WORKDIR /usr/src/caffe/build
# USE_CUDNN is off as Debian has no cuDNN, and as the versions of cuDNN for the K80 are not those of
# the newer cards. C++14 is what this glog and OpenCV need, -fPIC what Debian's hardening does.
RUN cmake .. -DCMAKE_BUILD_TYPE=Release -DCMAKE_SKIP_RPATH=ON \
    -DCPU_ONLY=OFF -DUSE_CUDNN=OFF -DUSE_NCCL=OFF -DBLAS=Open -Dpython_version=3 \
    -DCUDA_ARCH_NAME=Manual -DCUDA_ARCH_BIN="$ARCHITECTURES" -DCUDA_ARCH_PTX=86 \
    -DCUDA_NVCC_FLAGS="-Xcompiler -fPIC" -DCMAKE_CXX_FLAGS=-std=c++14 \
    -DBUILD_docs=OFF -DBUILD_matlab=OFF
RUN make -j"$(nproc)" caffe pycaffe caffe.bin test.testbin
# A library without code for one of them would start on that card and fail in its first kernel.
RUN cuobjdump --list-elf lib/libcaffe.so > /tmp/kernels && for architecture in $ARCHITECTURES; do \
        grep -q "sm_$architecture" /tmp/kernels || { echo "no code for sm_$architecture"; exit 1; }; \
    done && cuobjdump --list-ptx lib/libcaffe.so | grep -q sm_86
RUN mkdir -p /opt/caffe/usr/bin /opt/caffe/usr/lib/x86_64-linux-gnu /opt/caffe/usr/lib/python3/dist-packages \
    && cp tools/caffe /opt/caffe/usr/bin/caffe \
    && cp test/test.testbin /opt/caffe/usr/lib/caffe-gtest \
    && cp -P lib/libcaffe.so* /opt/caffe/usr/lib/x86_64-linux-gnu/ \
    && cp -rL ../python/caffe /opt/caffe/usr/lib/python3/dist-packages/caffe \
    && find /opt/caffe -name test -type d -prune -exec rm -r {} + \
    && strip --strip-unneeded /opt/caffe/usr/bin/caffe /opt/caffe/usr/lib/caffe-gtest \
        /opt/caffe/usr/lib/x86_64-linux-gnu/libcaffe.so.1.*
# Caffe's own tests read their data by paths from its source folder.
RUN cd /usr/src/caffe && mkdir -p /opt/caffe$PWD \
    && cp -r --parents src/caffe/test/test_data examples/images /opt/caffe$PWD \
    && printf '#!/bin/sh\ncd /usr/src/caffe && exec /usr/lib/caffe-gtest "$@"\n' \
        > /opt/caffe/usr/bin/caffe-gtest \
    && chmod +x /opt/caffe/usr/bin/caffe-gtest

FROM debian11 AS python311
ARG BOOKWORM_MIRROR
COPY docker/steps/python311.sh /
RUN /python311.sh
COPY pyproject.toml docker/steps/requirements.py docker/steps/dependencies.sh /gcnet/
RUN --mount=type=bind,target=/context \
    /gcnet/dependencies.sh /opt/gcnet/bin/python /context/build/wheels/bvlc-cuda

FROM debian11
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libboost-filesystem1.74.0 libboost-python1.74.0 libboost-system1.74.0 libboost-thread1.74.0 \
        libgflags2.2 libgoogle-glog0v5 libhdf5-103-1 libhdf5-hl-100 libleveldb1d liblmdb0 \
        libopenblas0-pthread=0.3.13+ds-3+deb11u1 libopencv-highgui4.5 libopencv-imgcodecs4.5 \
        libopencv-imgproc4.5 libprotobuf23 libsnappy1v5 \
        libcublas11=11.4.1.1043~11.2.2-3+deb11u3 libcudart11.0=11.2.152~11.2.2-3+deb11u3 \
        libcurand10=11.1.1+~10.2.3.152~11.2.2-3+deb11u3 \
        libpython3.9 python3 python3-numpy python3-protobuf python3-scipy python3-skimage \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=caffe /opt/caffe /
COPY --from=python311 /opt/python3.11 /opt/python3.11
COPY --from=python311 /opt/gcnet /opt/gcnet
COPY LICENSE README.md pyproject.toml /gcnet/
COPY data_prep /gcnet/data_prep
COPY docker /gcnet/docker
COPY prototxt /gcnet/prototxt
COPY python /gcnet/python
RUN ldconfig && /gcnet/docker/steps/install_gcnet.sh
# python3 is Debian's Python 3.9, in which `import caffe` works. It hands gcnet's own programs over
# to GCNET_PYTHON. NVIDIA's container runtime reads the last two.
ENV GCNET_ENGINE=bvlc GCNET_PYTHON=/opt/gcnet/bin/python \
    PYTHONPATH=/gcnet/python:/gcnet PYTHONDONTWRITEBYTECODE=1 HOME=/home/gcnet \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER gcnet
WORKDIR /gcnet
CMD ["bash"]
