#pragma once
/// What benchmarks ask of a CUDA device: the time of work on a stream, and the device's own limits. Not part
/// of the product: it links cuBLAS. Without CUDA the functions throw DeviceError.
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/backend.h"

namespace branchsae::cuda {

/// Seconds of each of work(first), work(first + 1) ... on the stream: between events recorded before and
/// after what each enqueues, all enqueued before anything is waited for, so that the host's own time does not
/// count where it is the shorter. Blocking.
std::vector<double> time_runs(Stream& stream, int64_t first, int runs,
                              const std::function<void(int64_t)>& work);

/// FLOP/s of cuBLAS on [m, k] x [n, k]^T into float32 (bf16: into bf16, as a product of this size would be
/// kept), the best of runs within about `seconds`. Blocking. Throws DeviceError, MemoryError.
double gemm_flops(Stream& stream, SaePrecision precision, int64_t m, int64_t n, int64_t k, double seconds);

/// Bytes read and written per second by copies within the device's memory, far beyond its caches; the best of
/// runs within about `seconds`. Blocking. Throws as above.
double copy_bytes_per_second(Stream& stream, double seconds);

}  // namespace branchsae::cuda
