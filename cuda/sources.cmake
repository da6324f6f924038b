# The backend's sources that know nothing of the real runtime beyond its header: tests/emulator compiles them again,
# as C++, against the SIMT emulator. Paths from the root of the repository.
set(BRANCHSAE_CUDA_PORTABLE_SOURCES
    cuda/copy_rows.cu
    cuda/cuda_backend.cpp
    cuda/device.cpp
    cuda/error.cpp
    cuda/graph.cpp
    cuda/memory.cpp
    cuda/network/compiler.cpp
    cuda/network/convolution.cpp
    cuda/network/convolution_layer.cpp
    cuda/network/copies.cu
    cuda/network/elementwise.cu
    cuda/network/executor.cpp
    cuda/network/input.cu
    cuda/network/layout.cpp
    cuda/network/linear.cu
    cuda/network/lrn.cu
    cuda/network/placement.cpp
    cuda/network/pool.cu
    cuda/network/weights.cpp
    cuda/stream.cpp)
