# The backend's sources that know nothing of the real runtime beyond its header: tests/emulator compiles them again,
# as C++, against the SIMT emulator. Paths from the root of the repository.
set(BRANCHSAE_CUDA_PORTABLE_SOURCES
    cuda/copy_rows.cu
    cuda/cuda_backend.cpp
    cuda/device.cpp
    cuda/error.cpp
    cuda/event.cpp
    cuda/graph.cpp
    cuda/memory.cpp
    cuda/sae/gather_tokens.cu
    cuda/sae/inference.cu
    cuda/sae/set_batches.cu
    cuda/sae/adam_project.cu
    cuda/sae/decode_grad.cu
    cuda/sae/finish_step.cu
    cuda/sae/gradient_plan.cpp
    cuda/sae/sort_pairs.cu
    cuda/sae/tied_dw.cu
    cuda/stream.cpp)
