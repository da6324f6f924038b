# For machines with an NVIDIA GPU: builds everything for every architecture, then checks and measures it.
#
#   docker build -t branchsae --build-arg COMMIT="$(git describe --always --dirty)" .
#   docker run --rm --gpus all -v "$PWD/data:/data:ro" -v "$PWD/results:/results" branchsae
#
# The second command needs a driver for CUDA 13 and NVIDIA's container toolkit on the host; it looks for
# /data/model/googlenet.onnx and leaves /results/gpu-check.md and .json. Any other command can be given:
#   docker run --rm --gpus all -v "$PWD:/work" -w /work branchsae branchsae train model.onnx photos/ --tap mixed4c.5x5
#
# Debian 12 and NVIDIA's packages for it rather than an image of nvidia/cuda: those come with Ubuntu, whose oneDNN has another
# interface than the 2.6 that the CPU backend is written for.
FROM debian:12

ARG CUDA=13-0
# Left empty, PyTorch is not installed and gpu_check leaves the baselines out.
ARG BASELINES="torch onnx"

ENV DEBIAN_FRONTEND=noninteractive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/branchsae/build-cuda-release/bin:/usr/local/cuda/bin:$PATH

RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
 && curl -fsSL -o /tmp/keyring.deb \
      https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/cuda-keyring_1.1-1_all.deb \
 && dpkg -i /tmp/keyring.deb && rm /tmp/keyring.deb \
 && apt-get update && apt-get install -y --no-install-recommends \
      cuda-nvcc-$CUDA cuda-cudart-dev-$CUDA cuda-sanitizer-$CUDA libcublas-dev-$CUDA libcudnn9-dev-cuda-${CUDA%%-*} \
 && rm -rf /var/lib/apt/lists/*

# Only the two files that name the packages, so that a change of the sources does not install them again.
COPY scripts/install_dependencies.sh scripts/lib.sh /opt/branchsae/scripts/
RUN /opt/branchsae/scripts/install_dependencies.sh --tests && rm -rf /var/lib/apt/lists/*

RUN if [ -n "$BASELINES" ]; then \
      apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
      && python3 -m venv /opt/baselines && /opt/baselines/bin/pip install --no-cache-dir $BASELINES; \
    fi
ENV BRANCHSAE_PYTHON=/opt/baselines/bin/python BRANCHSAE_DATA=/data BRANCHSAE_BUILD_DIR=/opt/branchsae/build-cuda-release

COPY . /opt/branchsae
WORKDIR /opt/branchsae
# For --version and the report: git's folder stays outside.
ARG COMMIT=unknown
RUN export BRANCHSAE_COMMIT="$COMMIT" && cmake --preset cuda-release && cmake --build --preset cuda-release

CMD ["scripts/gpu_check.sh", "--out", "/results/gpu-check"]
