#include "cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "cuda/copy_rows.h"
#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/memory.h"
#include "cuda/network/executor.h"
#include "cuda/sae/cuda_sae.h"
#include "cuda/sae/sae_groups.h"
#include "cuda/stream.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

class CudaBackend : public Backend {
 public:
  CudaBackend(DeviceInfo info, int threads)
      : info_(std::move(info)), threads_(threads), groups_(info_.index) {}

  std::string name() const override { return fmt::format("cuda:{}", info_.index); }
  std::string description() const override {
    return fmt::format("{}, compute capability {}.{}, {} multiprocessors, {:.1f} GiB", info_.name,
                       info_.major, info_.minor, info_.multiprocessors,
                       static_cast<double>(info_.memory_bytes) / (1024.0 * 1024.0 * 1024.0));
  }
  int threads() const override { return threads_; }
  bool is_host() const override { return false; }
  bool offers(SaePrecision) const override { return true; }
  SaePrecision usual_precision() const override { return SaePrecision::kBf16; }
  std::optional<int64_t> memory_free() override { return cuda::memory_free(info_.index); }

  std::unique_ptr<Stream> make_stream() override { return std::make_unique<CudaStream>(info_.index); }

  DeviceMemory allocate(int64_t size_bytes, std::string_view what) override {
    return cuda::allocate(info_.index, size_bytes, what);
  }

  void copy_to_device(Stream& stream, void* dst, const void* src, int64_t size_bytes) override {
    copy(stream, dst, src, size_bytes, cudaMemcpyHostToDevice);
  }
  void copy_to_host(Stream& stream, void* dst, const void* src, int64_t size_bytes) override {
    copy(stream, dst, src, size_bytes, cudaMemcpyDeviceToHost);
  }

  void gather_rows(Stream& stream, View<const float, 2> src, View<const int32_t, 1> rows,
                   View<float, 2> dst) override {
    const CurrentDevice current(info_.index);
    cuda::copy_rows(cuda_stream(stream, info_.index).handle(), src, rows, dst);
  }
  void copy_rows(Stream& stream, View<const float, 2> src, View<float, 2> dst) override {
    const CurrentDevice current(info_.index);
    cuda::copy_rows(cuda_stream(stream, info_.index).handle(), src, {}, dst);
  }

  std::unique_ptr<NetworkExecutor> make_network(const Graph& graph, const NetworkOptions& options) override {
    return cuda::make_network(info_.index, make_convolution_library(info_.index), graph, options,
                              lowering_from_environment());
  }
  std::unique_ptr<SaeExecutor> make_sae(const SaeSpec& spec) override {
    return std::make_unique<CudaSae>(info_.index, spec);
  }
  void step_group(Stream& stream, std::span<SaeExecutor* const> saes,
                  std::span<const View<const float, 2>> tokens, std::span<const SaeStep> steps) override {
    groups_.step(stream, saes, tokens, steps);
  }
  DeviceMemory allocate_pinned(int64_t size_bytes, std::string_view what) override {
    return cuda::allocate_pinned(info_.index, size_bytes, what);
  }

 private:
  void copy(Stream& stream, void* dst, const void* src, int64_t size_bytes, cudaMemcpyKind kind) {
    if (size_bytes == 0) return;
    check(cudaMemcpyAsync(dst, src, static_cast<size_t>(size_bytes), kind,
                          cuda_stream(stream, info_.index).handle()),
          fmt::format("copy {} bytes {} {}", size_bytes, kind == cudaMemcpyHostToDevice ? "to" : "from",
                      name()));
  }

  DeviceInfo info_;
  int threads_;
  SaeGroups groups_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(int index, int threads) {
  const int all = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return std::make_unique<CudaBackend>(device_info(index), threads > 0 ? threads : all);
}

}  // namespace branchsae::cuda
