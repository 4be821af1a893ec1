# BVLC Caffe 1.0 with CUDA 11.2, whose compiler is among the last that know the K80 (sm_37).
# Everything is Debian 11's own: Caffe's source, CUDA (non-free), Python 3.9 with pycaffe.
# For Debian's archive, once the suite has moved there: --build-arg MIRROR=<its /debian address>

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
RUN make -j"$(nproc)" caffe pycaffe caffe.bin
