/// Stands in for the CUDA measurements in a build without CUDA.
#include "cuda/bench/measure.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

[[noreturn]] void refuse() {
  throw DeviceError("this build has no CUDA");
}

}  // namespace

std::vector<double> time_runs(Stream&, int64_t, int, const std::function<void(int64_t)>&) {
  refuse();
}

double gemm_flops(Stream&, SaePrecision, int64_t, int64_t, int64_t, double) {
  refuse();
}

double copy_bytes_per_second(Stream&, double) {
  refuse();
}

}  // namespace branchsae::cuda
