#include "cuda/network/executor.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/graph.h"
#include "cuda/memory.h"
#include "cuda/network/compiler.h"
#include "cuda/network/input.h"
#include "cuda/stream.h"
#include "engine/error.h"
#include "engine/log.h"
#include "engine/sync_debug.h"

namespace branchsae::cuda {
namespace {

/// Two points in a stream's work and the time between them.
class Stopwatch {
 public:
  Stopwatch() {
    check(cudaEventCreate(&start_), "make an event");
    if (const cudaError_t status = cudaEventCreate(&end_); status != cudaSuccess) {
      cudaEventDestroy(start_);
      check(status, "make an event");
    }
  }
  ~Stopwatch() {
    cudaEventDestroy(start_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void start(cudaStream_t stream) { check(cudaEventRecord(start_, stream), "record an event"); }
  void stop(cudaStream_t stream) { check(cudaEventRecord(end_, stream), "record an event"); }
  double milliseconds_sync() const {
    check(cudaEventSynchronize(end_), "wait for an event");
    float elapsed = 0;
    check(cudaEventElapsedTime(&elapsed, start_, end_), "read an event's time");
    return elapsed;
  }

 private:
  cudaEvent_t start_ = nullptr, end_ = nullptr;
};

class CudaNetwork final : public NetworkExecutor {
 public:
  CudaNetwork(int device, std::unique_ptr<ConvolutionLibrary> library, const Graph& graph,
              const NetworkOptions& options, Lowering lowering)
      : device_(device),
        max_batch_(options.max_batch),
        library_(std::move(library)),
        pixels_(options.preprocess) {
    const CurrentDevice current(device_);
    network_ = compile(*library_, graph, options, lowering);
    table_offset_ = network_.weights.add_bytes(pixels_.value.data(), sizeof(pixels_.value));
    allocate_memory();
    bind_layers();
    prepare();
  }

  void run(Stream& stream, View<const float, 4> images) override {
    check_images(images.shape, max_batch_, network_.input_shape);
    start(stream, images.shape[0], [&](cudaStream_t handle) { write_input(handle, images, input_); });
  }

  void run(Stream& stream, View<const uint8_t, 4> images) override {
    if (images.shape[3] != 3 || !images.contiguous()) {
      throw ShapeError(
          fmt::format("8-bit images must be contiguous [N, H, W, 3], not {}", to_string(images.shape)));
    }
    check_images(images.shape, max_batch_, network_.input_shape);
    start(stream, images.shape[0], [&](cudaStream_t handle) {
      write_input(handle, images, addresses_.weight<float>(table_offset_), pixels_.pixel_channel, input_);
    });
  }

  TapOutput tap(size_t index) const override {
    if (index >= network_.taps.size()) {
      throw InputError(fmt::format("there is no tap {}; the network has {}", index, network_.taps.size()));
    }
    const TapRows& tap = network_.taps[index];
    const int64_t rows = n_ * tap.shape.height * tap.shape.width;
    TapOutput output{.rows = {},
                     .n = n_,
                     .height = tap.shape.height,
                     .width = tap.shape.width,
                     .has_grid = tap.shape.has_grid};
    if (tap.dst_offset >= 0) {
      const auto* data = static_cast<const std::byte*>(taps_.data()) + tap.dst_offset;
      output.rows = {reinterpret_cast<const float*>(data), {rows, tap.shape.d}};
    } else {
      const Activation activation = addresses_.at(tap.slot);
      output.rows = {static_cast<const float*>(activation.data) + tap.begin,
                     {rows, tap.shape.d},
                     {activation.pixel_stride, 1}};
    }
    return output;
  }

  std::vector<MemoryUse> memory() const override {
    return {{"weights", weights_.size_bytes()},
            {"arena", arena_.size_bytes()},
            {"taps", taps_.size_bytes()},
            {"scratch", scratch_.size_bytes()}};
  }

  std::vector<LayerTime> profile(Stream& stream) override {
    const CurrentDevice current(device_);
    const cudaStream_t handle = cuda_stream(stream, device_).handle();
    std::vector<LayerTime> times;
    Stopwatch watch;
    for (const LayerPtr& layer : network_.layers) {
      watch.start(handle);
      enqueue(*layer, handle);
      watch.stop(handle);
      const LayerInfo& info = layer->info;
      times.push_back({info.node, info.op, info.implementation, watch.milliseconds_sync(), info.flops});
    }
    return times;
  }

 private:
  void allocate_memory() {
    try {
      weights_ = allocate(device_, network_.weights.size_bytes(), "network weights");
      arena_ = allocate(device_, network_.plan.size_bytes(), "network activations");
      taps_ = allocate(device_, network_.tap_bytes, "taps");
      scratch_ = allocate(device_, network_.scratch_bytes, "convolution work space");
    } catch (const MemoryError& error) {
      throw MemoryError(
          fmt::format("{}; the network for {} images at once needs {:.1f} MiB in all: take a "
                      "smaller batch or fewer taps",
                      error.what(), max_batch_, static_cast<double>(needed_bytes()) / (1 << 20)),
          error.detail());
    }
  }

  int64_t needed_bytes() const {
    return network_.weights.size_bytes() + network_.plan.size_bytes() + network_.tap_bytes +
           network_.scratch_bytes;
  }

  void bind_layers() {
    addresses_ = {.arena = static_cast<std::byte*>(arena_.data()),
                  .scratch = static_cast<std::byte*>(scratch_.data()),
                  .weights = static_cast<std::byte*>(weights_.data()),
                  .plan = &network_.plan};
    input_ = addresses_.at(network_.input);
    if (network_.gather != nullptr) network_.gather->set_memory(static_cast<std::byte*>(taps_.data()));
    for (const LayerPtr& layer : network_.layers) layer->bind(addresses_);
  }

  /// Uploads weights, runs once on blank images (libraries load what they need), then captures.
  void prepare() {
    CudaStream stream(device_);
    const std::vector<std::byte>& bytes = network_.weights.bytes();
    check(
        cudaMemcpyAsync(weights_.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream.handle()),
        "upload network weights");
    if (network_.gather != nullptr) {
      const std::vector<std::byte>& table = network_.gather->table();
      check(cudaMemcpyAsync(network_.gather->table_address(), table.data(), table.size(),
                            cudaMemcpyHostToDevice, stream.handle()),
            "upload the taps' places");
    }
    write_input(stream.handle(), View<const float, 4>(), input_);
    enqueue_layers(stream.handle());
    stream.synchronize();
    network_.weights = {};
    if (!sync_debug()) capture();
  }

  /// Algorithms that wait or allocate cannot be captured; they run as well without.
  void capture() {
    try {
      graph_ = CudaGraph(device_, [this](cudaStream_t handle) { enqueue_layers(handle); });
    } catch (const DeviceError& error) {
      log(LogLevel::kWarning,
          fmt::format("the network runs launch by launch, it cannot be captured: {}", error.what()));
    }
  }

  template <class WriteInput>
  void start(Stream& stream, int64_t count, const WriteInput& write) {
    const CurrentDevice current(device_);
    const cudaStream_t handle = cuda_stream(stream, device_).handle();
    write(handle);
    n_ = count;
    if (graph_.empty() || sync_debug()) return enqueue_layers(handle);
    graph_.launch(handle);
  }

  void enqueue_layers(cudaStream_t stream) {
    for (const LayerPtr& layer : network_.layers) enqueue(*layer, stream);
  }

  void enqueue(Layer& layer, cudaStream_t stream) {
    try {
      layer.enqueue(stream);
      if (sync_debug()) check(cudaStreamSynchronize(stream), "run it");
    } catch (const DeviceError& error) {
      throw DeviceError(fmt::format("layer '{}' ({}): {}", layer.info.node, layer.info.shapes, error.what()),
                        error.detail());
    }
  }

  int device_;
  int64_t max_batch_;
  std::unique_ptr<ConvolutionLibrary> library_;
  PixelTable pixels_;
  int64_t table_offset_ = 0;
  CompiledNetwork network_;
  DeviceMemory weights_, arena_, taps_, scratch_;
  Addresses addresses_;
  Activation input_;
  CudaGraph graph_;
  int64_t n_ = 0;
};

}  // namespace

std::unique_ptr<NetworkExecutor> make_network(int device, std::unique_ptr<ConvolutionLibrary> library,
                                              const Graph& graph, const NetworkOptions& options,
                                              Lowering lowering) {
  return std::make_unique<CudaNetwork>(device, std::move(library), graph, options, lowering);
}

Lowering lowering_from_environment() {
  const char* text = std::getenv("BRANCHSAE_CUDA_LOWERING");
  const std::string_view word = text == nullptr ? "" : text;
  if (word.empty() || word == "auto") return Lowering::kAuto;
  if (word == "in-place") return Lowering::kInPlace;
  if (word == "dense") return Lowering::kDense;
  throw InputError(fmt::format("BRANCHSAE_CUDA_LOWERING is '{}'; it may be auto, in-place or dense", word));
}

}  // namespace branchsae::cuda
