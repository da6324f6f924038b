#pragma once
/// The library's entry: a device compiles graphs and trains autoencoders.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend.h"

namespace branchsae {

struct CompileOptions {
  std::vector<std::string> taps;  ///< taps.h has the grammar
  int64_t max_batch = 32;
  int64_t height = 0, width = 0;  ///< 0: the graph's own size, 224 when that is dynamic
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
  NetworkPrecision precision = NetworkPrecision::kAuto;  ///< network.h: taps are float32 whatever it is
};

/// A compiled forward pass with named taps.
class Program {
 public:
  Program(std::unique_ptr<NetworkExecutor> executor, std::vector<Tap> taps, NetworkOptions options);

  /// images [N, H, W, C] float32 preprocessed, or [N, H, W, 3] 8-bit RGB; device memory. Asynchronous on the
  /// stream.
  void run(View<const float, 4> images, Stream& stream) { executor_->run(stream, images); }
  void run(View<const uint8_t, 4> images, Stream& stream) { executor_->run(stream, images); }

  /// Throws InputError when the program was not compiled with this tap.
  TapOutput tap(std::string_view name) const;
  TapOutput tap(size_t index) const { return executor_->tap(index); }
  const std::vector<Tap>& taps() const { return taps_; }
  int64_t max_batch() const { return options_.max_batch; }
  int64_t height() const { return options_.height; }
  int64_t width() const { return options_.width; }
  NetworkExecutor& executor() { return *executor_; }

 private:
  std::unique_ptr<NetworkExecutor> executor_;
  std::vector<Tap> taps_;
  NetworkOptions options_;
};

/// A device; copies share it.
class Device {
 public:
  static Device cpu(int threads = 0);
  static Device cuda(int index = 0);
  /// "auto" (CUDA when the build has it and a device answers, else the CPU), "cpu", "cuda" or "cuda:N".
  /// Throws InputError for another name, DeviceError when the device cannot be used.
  static Device open(std::string_view name, int threads = 0);
  explicit Device(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

  Backend& backend() const { return *backend_; }
  std::unique_ptr<Stream> make_stream() const { return backend_->make_stream(); }
  Program compile(const Graph& graph, const CompileOptions& options) const;

 private:
  std::shared_ptr<Backend> backend_;
};

}  // namespace branchsae
