#pragma once
/// A compiled forward pass on one device.
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/stream.h"
#include "engine/taps.h"

namespace branchsae {

enum class ConvAlgorithm { kAuto, kDirect };  ///< kDirect forbids Winograd

/// Numbers of weights and activations inside the network; sums are float32, and so are taps as delivered.
/// kAuto: the CPU computes in float32, CUDA in bf16. A backend that does not offer one throws InputError.
enum class NetworkPrecision { kAuto, kF32, kTf32, kF16, kBf16 };

struct NetworkOptions {
  std::vector<Tap> taps;
  int64_t max_batch = 1;
  int64_t height = 224, width = 224;
  Preprocess preprocess;  ///< used by run() on 8-bit images
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
  NetworkPrecision precision = NetworkPrecision::kAuto;
};

/// Activations of one tap after a run. Valid until the next run.
struct TapOutput {
  View<const float, 2> rows;  ///< [N*H*W, d], device; strided rows, innermost stride 1; row (n*H + y)*W + x
  int64_t n = 0, height = 0, width = 0;  ///< height = width = 1 where the tap has no grid
  bool has_grid = false;

  View<const float, 2> tokens() const { return rows; }
};

struct LayerTime {
  std::string node, op, implementation;  ///< implementation: the library's own name for what it chose
  double milliseconds = 0;
  int64_t flops = 0;  ///< multiply and add counted apart, as a plain sum of products whatever the algorithm
  int64_t bytes = 0;  ///< operands, result and weights, each once; 0: the backend does not say
};

struct MemoryUse {
  std::string category;  ///< "weights", "arena", "taps", "scratch"
  int64_t bytes = 0;
};

/// Made once by Backend::make_network; all memory is planned and allocated then, none during run().
/// An image's results do not depend on its place in the batch, its neighbours or how many there are.
class NetworkExecutor {
 public:
  virtual ~NetworkExecutor() = default;
  /// images  [N, H, W, C] float32, device, preprocessed, 1 <= N <= max_batch; any strides
  /// Enqueues on the stream. Throws ShapeError.
  virtual void run(Stream& stream, View<const float, 4> images) = 0;
  /// images  [N, H, W, 3] 8-bit RGB, device, contiguous; preprocessed as NetworkOptions says
  virtual void run(Stream& stream, View<const uint8_t, 4> images) = 0;
  /// `index` into NetworkOptions::taps.
  virtual TapOutput tap(size_t index) const = 0;
  virtual std::vector<MemoryUse> memory() const = 0;
  /// Runs once more with a clock around every layer. Blocking; for bench and --layers.
  virtual std::vector<LayerTime> profile(Stream& stream) = 0;
};

}  // namespace branchsae
