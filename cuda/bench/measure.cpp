#include "cuda/bench/measure.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "engine/error.h"
#include "engine/random.h"

namespace branchsae::cuda {
namespace {

constexpr int kRunsAtOnce = 5;

CudaStream& cuda_stream(Stream& stream) {
  auto* found = dynamic_cast<CudaStream*>(&stream);
  if (found == nullptr) throw DeviceError("a CUDA measurement was given a stream of another kind of device");
  return *found;
}

class Event {
 public:
  Event() { check(cudaEventCreate(&handle_), "make an event"); }
  ~Event() { cudaEventDestroy(handle_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check(cudaEventRecord(handle_, stream), "record an event"); }
  double seconds_since(const Event& before) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, before.handle_, handle_), "read an event");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t handle_ = nullptr;
};

void check_cublas(cublasStatus_t status, const char* doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(fmt::format("{}: {}", doing, cublasGetStatusString(status)));
}

class Cublas {
 public:
  explicit Cublas(cudaStream_t stream) {
    check_cublas(cublasCreate(&handle_), "start cuBLAS");
    check_cublas(cublasSetStream(handle_, stream), "give cuBLAS a stream");
  }
  ~Cublas() { cublasDestroy(handle_); }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  cublasHandle_t handle() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

struct GemmTypes {
  cudaDataType_t data;
  cublasComputeType_t compute;
  int64_t bytes;
};

GemmTypes types_of(SaePrecision precision) {
  if (precision == SaePrecision::kBf16) return {CUDA_R_16BF, CUBLAS_COMPUTE_32F, 2};
  if (precision == SaePrecision::kTf32) return {CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, 4};
  return {CUDA_R_32F, CUBLAS_COMPUTE_32F_PEDANTIC, 4};
}

/// Uniform in -1..1: numbers of all zeros would cost less power and run faster. Repeats after a million.
DeviceMemory random_matrix(const CudaStream& stream, int64_t count, const GemmTypes& types, uint64_t seed) {
  constexpr int64_t kDrawn = 1 << 20;
  Random random(seed, 0);
  std::vector<uint32_t> drawn(static_cast<size_t>(std::min(count, kDrawn)));
  for (uint32_t& bits : drawn) bits = std::bit_cast<uint32_t>(static_cast<float>(2 * random.uniform() - 1));
  std::vector<uint16_t> upper;  // bf16 is the upper half of float32
  for (uint32_t bits : drawn) upper.push_back(static_cast<uint16_t>(bits >> 16));
  const void* source = types.bytes == 2 ? static_cast<const void*>(upper.data()) : drawn.data();
  DeviceMemory memory = allocate(stream.device(), count * types.bytes, "matrix of a product");
  for (int64_t done = 0; done < count; done += kDrawn) {
    check(cudaMemcpyAsync(static_cast<char*>(memory.data()) + done * types.bytes, source,
                          static_cast<size_t>(std::min(kDrawn, count - done) * types.bytes),
                          cudaMemcpyHostToDevice, stream.handle()),
          "fill a matrix");
  }
  check(cudaStreamSynchronize(stream.handle()), "fill a matrix");
  return memory;
}

/// Least time of one run of `work`.
double best_seconds(Stream& stream, double seconds, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  const auto once = [&] { return time_runs(stream, 0, kRunsAtOnce, [&](int64_t) { work(); }); };
  once();  // the first runs load code
  double best = std::ranges::min(once());
  while (Clock::now() < until) best = std::min(best, std::ranges::min(once()));
  return best;
}

}  // namespace

std::vector<double> time_runs(Stream& stream, int64_t first, int runs,
                              const std::function<void(int64_t)>& work) {
  CudaStream& cuda = cuda_stream(stream);
  const CurrentDevice current(cuda.device());
  std::vector<Event> events(static_cast<size_t>(2 * runs));
  for (int run = 0; run < runs; ++run) {
    events[static_cast<size_t>(2 * run)].record(cuda.handle());
    work(first + run);
    events[static_cast<size_t>(2 * run + 1)].record(cuda.handle());
  }
  stream.synchronize();
  std::vector<double> seconds;
  for (size_t i = 0; i < events.size(); i += 2) seconds.push_back(events[i + 1].seconds_since(events[i]));
  return seconds;
}

double gemm_flops(Stream& stream, SaePrecision precision, int64_t m, int64_t n, int64_t k, double seconds) {
  CudaStream& cuda = cuda_stream(stream);
  const CurrentDevice current(cuda.device());
  const GemmTypes types = types_of(precision);
  const DeviceMemory a = random_matrix(cuda, m * k, types, 1), b = random_matrix(cuda, n * k, types, 2);
  const DeviceMemory c = allocate(cuda.device(), m * n * types.bytes, "product");
  const Cublas cublas(cuda.handle());
  const float one = 1, zero = 0;
  // Column by column, as cuBLAS counts: C^T [n, m] = B [n, k] A^T [k, m].
  const double best = best_seconds(stream, seconds, [&] {
    check_cublas(cublasGemmEx(cublas.handle(), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(n),
                              static_cast<int>(m), static_cast<int>(k), &one, b.data(), types.data,
                              static_cast<int>(k), a.data(), types.data, static_cast<int>(k), &zero, c.data(),
                              types.data, static_cast<int>(n), types.compute, CUBLAS_GEMM_DEFAULT),
                 "multiply with cuBLAS");
  });
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / best;
}

double copy_bytes_per_second(Stream& stream, double seconds) {
  CudaStream& cuda = cuda_stream(stream);
  const CurrentDevice current(cuda.device());
  constexpr int64_t kMostBytes = int64_t{1} << 30;
  const int64_t bytes = std::min(kMostBytes, memory_free(cuda.device()).value_or(kMostBytes) / 4);
  const DeviceMemory from = allocate(cuda.device(), bytes, "copy"),
                     to = allocate(cuda.device(), bytes, "copy");
  const double best = best_seconds(stream, seconds, [&] {
    check(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice,
                          cuda.handle()),
          "copy within the device");
  });
  return 2.0 * static_cast<double>(bytes) / best;
}

}  // namespace branchsae::cuda
