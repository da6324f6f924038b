#pragma once
/// Small graphs for tests, with seeded random weights.
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/random.h"
#include "tests/reference/network.h"

namespace branchsae::reference {

/// Adds nodes one by one; each call returns the new node's output. Shapes hold N, H, W as kDynamic.
class GraphBuilder {
 public:
  /// An input [N, channels, H, W].
  explicit GraphBuilder(int64_t channels, uint64_t seed = 0);

  ValueId input() const { return graph_.input; }
  int64_t channels(ValueId id) const { return graph_.value(id).shape.at(1); }
  Random& random() { return random_; }

  /// Normal weights of variance 1 / inputs per output, small normal bias.
  ValueId conv(ValueId src, int64_t outputs, const Window& window, int64_t groups = 1, bool relu = false);
  /// `inputs`: numbers per image, after flattening.
  ValueId linear(ValueId src, int64_t inputs, int64_t outputs, bool relu = false);
  /// Scales in [0.5, 1.5), normal shifts (zero when `shifted` is false).
  ValueId affine(ValueId src, bool shifted = true);
  ValueId concat(const std::vector<ValueId>& parts);
  /// Any op that keeps the number of channels.
  ValueId add(Op op, const std::vector<ValueId>& inputs);
  ValueId add(Op op, ValueId src) { return add(std::move(op), std::vector<ValueId>{src}); }
  /// Flattens to [N, numbers].
  ValueId flatten(ValueId src, int64_t numbers);

  ConstTensor normal_tensor(const Shape& shape, double deviation);

  /// What these outputs need of the graph so far.
  Graph graph(const std::vector<ValueId>& outputs) const;
  /// With the nodes that no output needs.
  Graph whole_graph(const std::vector<ValueId>& outputs) const;

 private:
  ValueId append(Op op, std::vector<ValueId> inputs, Shape shape);

  Graph graph_;
  Random random_;
};

/// Square window.
Window window(int64_t kernel, int64_t stride = 1, int64_t pad = 0);

/// Normally distributed images.
Array random_images(const Shape& shape, uint64_t seed);

}  // namespace branchsae::reference
