#pragma once
/// The CPU backend: host memory, oneDNN for the network, own kernels for the autoencoder.
#include "engine/backend.h"

namespace branchsae::cpu {

class CpuBackend final : public Backend {
 public:
  /// threads: 0 takes every processor this process may use. Throws InputError outside 0..1024.
  explicit CpuBackend(int threads);

  std::string name() const override { return "cpu"; }
  std::string description() const override;
  int threads() const override { return threads_; }
  bool is_host() const override { return true; }
  std::unique_ptr<Stream> make_stream() override;
  DeviceMemory allocate(int64_t size_bytes, std::string_view what) override;
  void copy_to_device(Stream& stream, void* dst, const void* src, int64_t size_bytes) override;
  void copy_to_host(Stream& stream, void* dst, const void* src, int64_t size_bytes) override;
  /// Throws ShapeError when widths differ or a row index lies outside src.
  void gather_rows(Stream& stream, View<const float, 2> src, View<const int32_t, 1> rows,
                   View<float, 2> dst) override;
  void copy_rows(Stream& stream, View<const float, 2> src, View<float, 2> dst) override;
  std::unique_ptr<NetworkExecutor> make_network(const Graph& graph, const NetworkOptions& options) override;
  std::unique_ptr<SaeExecutor> make_sae(const SaeSpec& spec) override;

 private:
  int threads_;
};

}  // namespace branchsae::cpu
