#include "cpu/network/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>

#include "cpu/memory.h"
#include "cpu/network/compiler.h"
#include "cpu/network/input.h"
#include "cpu/threads.h"
#include "engine/error.h"
#include "engine/network_checks.h"

namespace branchsae::cpu {
namespace {

class CpuNetwork final : public NetworkExecutor {
 public:
  CpuNetwork(const Graph& graph, const NetworkOptions& options, int threads)
      : max_batch_(options.max_batch), threads_(threads), pixels_(options.preprocess) {
    const ThreadScope scope(threads_);  // primitives divide their work when they are made
    network_ = compile(context_, graph, options, threads);
    int64_t scratch_bytes = 0;
    for (const LayerPtr& layer : network_.layers)
      scratch_bytes = std::max(scratch_bytes, layer->scratch_bytes());
    arena_ = allocate_host(network_.plan.size_bytes(), "activations");
    scratch_ = allocate_host(scratch_bytes, "scratch");
    const Addresses addresses{.arena = static_cast<std::byte*>(arena_.data()),
                              .scratch = static_cast<std::byte*>(scratch_.data()),
                              .plan = &network_.plan};
    input_ = addresses.at(network_.input);
    write_input(View<const float, 4>(), input_);  // zeros, for a profile before the first run
    for (const LayerPtr& layer : network_.layers) layer->bind(addresses);
  }

  void run(Stream&, View<const float, 4> images) override {
    run_chunks(images, [&](View<const float, 4> part) { write_input(part, input_); });
  }

  void run(Stream&, View<const uint8_t, 4> images) override {
    if (images.shape[3] != 3 || !images.contiguous()) {
      throw ShapeError(
          fmt::format("8-bit images must be contiguous [N, H, W, 3], not {}", to_string(images.shape)));
    }
    run_chunks(images, [&](View<const uint8_t, 4> part) { write_input(part, pixels_, input_); });
  }

  TapOutput tap(size_t index) const override {
    if (index >= network_.taps.size()) {
      throw InputError(fmt::format("there is no tap {}; the network has {}", index, network_.taps.size()));
    }
    const TapBuffer& buffer = network_.taps[index];
    return {.rows = {buffer.data(), {n_ * buffer.height * buffer.width, buffer.d}},
            .n = n_,
            .height = buffer.height,
            .width = buffer.width,
            .has_grid = buffer.has_grid};
  }

  std::vector<MemoryUse> memory() const override {
    int64_t weights = 0, taps = 0;
    for (const LayerPtr& layer : network_.layers) weights += layer->weight_bytes();
    for (const TapBuffer& buffer : network_.taps) taps += buffer.memory.size_bytes();
    return {{"weights", weights},
            {"arena", arena_.size_bytes()},
            {"taps", taps},
            {"scratch", scratch_.size_bytes()}};
  }

  /// Times the last chunk of the last run again; `flops` are those of the same chunk.
  std::vector<LayerTime> profile(Stream&) override {
    const ThreadScope scope(threads_);
    std::vector<LayerTime> times;
    for (const LayerPtr& layer : network_.layers) {
      const auto start = std::chrono::steady_clock::now();
      layer->run(chunk_);
      const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
      const LayerInfo& info = layer->info;
      times.push_back({info.node, info.op, info.implementation, elapsed.count(), info.flops});
    }
    return times;
  }

 private:
  template <class T, class WriteInput>
  void run_chunks(View<const T, 4> images, const WriteInput& write) {
    check_images(images.shape, max_batch_, network_.input.layout.shape());
    const ThreadScope scope(threads_);
    const int64_t count = images.shape[0], size = network_.input.layout.n;
    n_ = count;
    for (int64_t first = 0; first < count; first += size) {
      chunk_ = {.first = first, .count = std::min(size, count - first)};
      write(images.rows(first, chunk_.count));
      for (const LayerPtr& layer : network_.layers) layer->run(chunk_);
    }
  }

  int64_t max_batch_;
  int threads_;
  PixelTable pixels_;
  OnednnContext context_;
  CompiledNetwork network_;
  DeviceMemory arena_, scratch_;
  Blob input_;
  int64_t n_ = 0;
  Chunk chunk_;
};

}  // namespace

std::unique_ptr<NetworkExecutor> make_network(const Graph& graph, const NetworkOptions& options,
                                              int threads) {
  try {
    return std::make_unique<CpuNetwork>(graph, options, threads);
  } catch (const std::bad_alloc&) {
    throw DeviceError(fmt::format("out of memory while compiling the network for {} images of {}x{}",
                                  options.max_batch, options.height, options.width));
  }
}

}  // namespace branchsae::cpu
