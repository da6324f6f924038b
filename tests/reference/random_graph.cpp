#include "tests/reference/random_graph.h"

#include <limits>

#include "engine/error.h"
#include "engine/passes.h"
#include "tests/reference/graph_builder.h"

namespace branchsae::reference {
namespace {

/// Grows a graph along one path, sometimes splitting into parallel branches.
class Grower {
 public:
  Grower(uint64_t seed, int64_t channels, int64_t height, int64_t width)
      : build_(channels, seed), height_(height), width_(width) {}

  Graph grow() {
    ValueId at = build_.input();
    if (chance(2)) at = build_.affine(at);
    const int64_t steps = 3 + below(4);
    for (int64_t step = 0; step < steps; ++step) {
      const ValueId next = image_step(at);
      // A step that this image size does not allow (a window larger than the map) is taken back by trying
      // again.
      if (fits(next)) at = next;
      outputs_if_asked(at);
    }
    if (chance(2)) at = head(at);
    outputs_.push_back(at);
    return build_.graph(outputs_);
  }

 private:
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(build_.random().below(static_cast<uint64_t>(bound)));
  }
  bool chance(int64_t one_in) { return below(one_in) == 0; }

  bool fits(ValueId id) const {
    try {
      infer_shapes(build_.graph({id}), 1, height_, width_);
      return true;
    } catch (const ShapeError&) {
      return false;
    }
  }

  Shape shape_of(ValueId id) const {
    return infer_shapes(build_.graph({id}), 1, height_, width_).at(static_cast<size_t>(id));
  }

  void outputs_if_asked(ValueId id) {
    if (chance(5) && id != build_.input() && fits(id)) outputs_.push_back(id);
  }

  /// pools: padding below the window's extent, as ONNX asks.
  Window random_window(bool pool) {
    Window sliding;
    for (size_t axis = 0; axis < 2; ++axis) {
      sliding.kernel[axis] = 1 + below(4);
      sliding.stride[axis] = 1 + below(2);
      sliding.dilation[axis] = !pool && chance(4) ? 2 : 1;
      const int64_t pads = pool ? sliding.kernel[axis] : 3;
      sliding.pad_begin[axis] = below(pads);
      sliding.pad_end[axis] = below(pads);
    }
    if (chance(5)) {
      sliding.auto_pad = chance(2) ? AutoPad::kSameLower : AutoPad::kSameUpper;
      sliding.pad_begin = sliding.pad_end = {0, 0};
    }
    return sliding;
  }

  ValueId relu(ValueId src) {
    if (chance(4)) return build_.add(ClipOp{0.0F, std::numeric_limits<float>::max()}, src);
    return build_.add(ReluOp{}, src);
  }

  ValueId conv_step(ValueId src) {
    const int64_t groups = build_.channels(src) % 2 == 0 && chance(4) ? 2 : 1;
    ValueId dst = build_.conv(src, 2 * (1 + below(4)), random_window(false), groups);
    if (chance(2)) dst = build_.affine(dst, !chance(3));
    outputs_if_asked(dst);
    return chance(4) ? dst : relu(dst);
  }

  ValueId pool_step(ValueId src) {
    if (chance(2)) return build_.add(MaxPoolOp{random_window(true), chance(2)}, src);
    return build_.add(AveragePoolOp{random_window(true), chance(2), chance(2)}, src);
  }

  ValueId pad_step(ValueId src) {
    PadOp pad;
    for (size_t axis = 0; axis < 2; ++axis) {
      pad.begin[axis] = below(3);
      pad.end[axis] = below(3);
    }
    if (chance(8)) pad.begin[0] = -1;
    const float values[] = {0.0F, 0.0F, -std::numeric_limits<float>::infinity(), 1.0F};
    pad.value = values[below(4)];
    const ValueId padded = build_.add(pad, src);
    // An infinity may meet a maximum only, and only where each window sees a number too: elsewhere it stays
    // one.
    const bool ceil_mode = chance(2) && pad.end == std::array<int64_t, 2>{0, 0};
    if (pad.value < 0) return build_.add(MaxPoolOp{window(3, 1 + below(2)), ceil_mode}, padded);
    return chance(2) ? pool_step(padded) : conv_step(padded);
  }

  ValueId block_step(ValueId src) {
    const ValueId first = relu(build_.conv(src, 3, window(1)));
    const ValueId second = relu(build_.conv(relu(build_.conv(src, 2, window(1))), 5, window(3, 1, 1)));
    const ValueId pooled = build_.add(MaxPoolOp{window(3, 1, 1), false}, src);
    return build_.concat({first, second, relu(build_.conv(pooled, 2, window(1)))});
  }

  ValueId binary_step(ValueId src) {
    const BinaryOp::Kind kinds[] = {BinaryOp::Kind::kAdd, BinaryOp::Kind::kSub, BinaryOp::Kind::kMul,
                                    BinaryOp::Kind::kDiv};
    const BinaryOp::Kind kind = kinds[below(4)];
    const ValueId left = build_.affine(src);
    ValueId right = build_.conv(src, build_.channels(src), window(1));
    // Keeps quotients away from a division by nearly nothing, which would magnify any rounding.
    if (kind == BinaryOp::Kind::kDiv) right = build_.add(ClipOp{0.5F, 2.0F}, right);
    return build_.add(BinaryOp{kind}, std::vector<ValueId>{left, right});
  }

  ValueId image_step(ValueId src) {
    switch (below(8)) {
      case 0:
        return pool_step(src);
      case 1:
        return pad_step(src);
      case 2:
        return block_step(src);
      case 3:
        return build_.affine(src, !chance(2));
      case 4:
        return build_.add(LrnOp{1 + below(6), 0.1F, 0.75F, 1.0F}, src);
      case 5:
        return binary_step(src);
      default:
        return conv_step(src);
    }
  }

  ValueId head(ValueId src) {
    if (chance(2)) {
      const ValueId pooled = build_.add(GlobalAveragePoolOp{}, src);
      return chance(2) ? build_.add(SoftmaxOp{}, pooled) : build_.linear(pooled, build_.channels(pooled), 4);
    }
    const Shape shape = shape_of(src);
    const int64_t numbers = shape[1] * shape[2] * shape[3];
    if (chance(2)) src = build_.affine(src);
    const ValueId flat = chance(2) ? build_.flatten(src, numbers) : src;
    ValueId dst = build_.linear(flat, numbers, 6);
    if (chance(2)) dst = build_.affine(dst);
    if (chance(2)) dst = relu(dst);
    dst = build_.linear(dst, 6, 5);
    return chance(2) ? build_.add(SoftmaxOp{}, dst) : dst;
  }

  GraphBuilder build_;
  int64_t height_, width_;
  std::vector<ValueId> outputs_;
};

}  // namespace

Graph random_graph(uint64_t seed, int64_t channels, int64_t height, int64_t width) {
  return Grower(seed, channels, height, width).grow();
}

}  // namespace branchsae::reference
