#include "cpu/network/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <new>

#include "cpu/network/compiler.h"
#include "cpu/network/division.h"
#include "cpu/network/input.h"
#include "cpu/network/lane.h"
#include "cpu/threads.h"
#include "engine/error.h"
#include "engine/network_checks.h"

namespace branchsae::cpu {
namespace {

class CpuNetwork final : public NetworkExecutor {
 public:
  CpuNetwork(const Graph& graph, const NetworkOptions& options, int threads)
      : max_batch_(options.max_batch),
        pixels_(options.preprocess),
        division_(divide(options.max_batch, options.height, options.width, threads)) {
    const ThreadScope scope(division_.threads);  // primitives divide their work when they are made
    network_ = compile(context_, graph, options, division_);
    std::vector<std::vector<LayerPtr>> layers(static_cast<size_t>(division_.lanes - 1));
    for (std::vector<LayerPtr>& copy : layers) {
      for (const LayerPtr& layer : network_.layers) copy.push_back(layer->clone());
    }
    layers.push_back(std::move(network_.layers));
    for (std::vector<LayerPtr>& of_lane : layers) lanes_.emplace_back(network_, std::move(of_lane));
  }

  void run(Stream&, View<const float, 4> images) override {
    run_chunks(images, [](View<const float, 4> part, const Blob& input) { write_input(part, input); });
  }

  void run(Stream&, View<const uint8_t, 4> images) override {
    if (images.shape[3] != 3 || !images.contiguous()) {
      throw ShapeError(
          fmt::format("8-bit images must be contiguous [N, H, W, 3], not {}", to_string(images.shape)));
    }
    run_chunks(images,
               [this](View<const uint8_t, 4> part, const Blob& input) { write_input(part, pixels_, input); });
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
    int64_t weights = 0, arena = 0, taps = 0, scratch = 0;
    for (const LayerPtr& layer : lanes_.front().layers()) weights += layer->weight_bytes();
    for (const TapBuffer& buffer : network_.taps) taps += buffer.memory.size_bytes();
    for (const Lane& lane : lanes_) {
      arena += lane.arena_bytes();
      scratch += lane.scratch_bytes();
    }
    return {{"weights", weights}, {"arena", arena}, {"taps", taps}, {"scratch", scratch}};
  }

  /// Times the last chunk of every lane again, all lanes at once; `flops` are those of all of them.
  std::vector<LayerTime> profile(Stream&) override {
    std::vector<LayerTime> times;
    for (size_t i = 0; i < lanes_.front().layers().size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      in_lanes([i](Lane& lane) { lane.run_layer(i); });
      const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
      const LayerInfo& info = lanes_.front().layers()[i]->info;
      times.push_back({info.node, info.op, info.implementation, elapsed.count(), info.flops * division_.lanes,
                       info.bytes * division_.lanes});
    }
    return times;
  }

 private:
  /// Lanes take the batch's chunks as they come: one whose core is wanted by others takes fewer.
  template <class T, class WriteInput>
  void run_chunks(View<const T, 4> images, const WriteInput& write) {
    check_images(images.shape, max_batch_, network_.input.layout.shape());
    const int64_t count = images.shape[0], size = division_.images;
    n_ = count;
    std::atomic<int64_t> next{0};
    in_lanes([&](Lane& lane) {
      for (int64_t first = next.fetch_add(size); first < count; first = next.fetch_add(size)) {
        const Chunk chunk{.first = first, .count = std::min(size, count - first)};
        write(images.rows(first, chunk.count), lane.input());
        lane.run(chunk);
      }
    });
  }

  /// work(lane) for every lane, each on a thread of its own when there are several. Rethrows what one threw.
  template <class Work>
  void in_lanes(const Work& work) {
    if (division_.lanes == 1) {
      const ThreadScope scope(division_.threads);
      work(lanes_.front());
      return;
    }
    const ThreadScope scope(division_.lanes);
    std::exception_ptr error;
#pragma omp parallel for schedule(static)
    for (Lane& lane : lanes_) {
      const AloneScope alone;
      try {
        work(lane);
      } catch (...) {
#pragma omp critical(branchsae_lane_error)
        error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
  }

  int64_t max_batch_;
  PixelTable pixels_;
  Division division_;
  OnednnContext context_;
  CompiledNetwork network_;
  std::vector<Lane> lanes_;
  int64_t n_ = 0;
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
