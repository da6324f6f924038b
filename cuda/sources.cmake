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
    cuda/sae/adam_project.cu
    cuda/sae/cuda_sae.cpp
    cuda/sae/cuda_sae_inference.cpp
    cuda/sae/cuda_sae_transfer.cpp
    cuda/sae/decode_grad.cu
    cuda/sae/finish_step.cu
    cuda/sae/gather_tokens.cu
    cuda/sae/gradient_plan.cpp
    cuda/sae/inference.cu
    cuda/sae/sae_groups.cpp
    cuda/sae/sae_launches.cpp
    cuda/sae/sae_plan.cpp
    cuda/sae/set_batches.cu
    cuda/sae/sort_pairs.cu
    cuda/sae/tied_dw.cu
    cuda/stream.cpp)
