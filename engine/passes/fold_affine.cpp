#include <cmath>
#include <functional>
#include <optional>

#include "engine/passes.h"
#include "engine/passes/rewriter.h"

namespace branchsae {
namespace {

using engine::Rewriter;

/// Weights after a fold; folding is skipped where float32 cannot hold the result.
struct Folded {
  ConstTensor weight, bias;
};

/// value(i) is computed in double and rounded once. Null when a result overflows float32.
ConstTensor make_tensor(const Shape& shape, const std::function<double(int64_t)>& value) {
  auto tensor = std::make_shared<HostTensor>(shape);
  for (int64_t i = 0; i < tensor->size(); ++i) {
    (*tensor)[i] = static_cast<float>(value(i));
    if (!std::isfinite((*tensor)[i])) return nullptr;
  }
  return tensor;
}

std::optional<Folded> both(ConstTensor weight, ConstTensor bias) {
  if (!weight || !bias) return std::nullopt;
  return Folded{std::move(weight), std::move(bias)};
}

double at(const ConstTensor& tensor, int64_t i) {
  return (*tensor)[i];
}

/// scale * (weight x + bias) + shift, one scale per row of the weight. Affine after convolution, linear,
/// affine.
std::optional<Folded> scale_rows(const ConstTensor& weight, const ConstTensor& bias, const AffineOp& affine) {
  if (affine.scale->size() != weight->dim(0)) return std::nullopt;
  const int64_t row = weight->size() / weight->dim(0);
  return both(
      make_tensor(weight->shape(), [&](int64_t i) { return at(affine.scale, i / row) * at(weight, i); }),
      make_tensor(bias->shape(),
                  [&](int64_t o) { return at(affine.scale, o) * at(bias, o) + at(affine.shift, o); }));
}

/// weight (scale x + shift) + bias, where input column i of output row o belongs to channel_of(o, i).
std::optional<Folded> scale_columns(const ConstTensor& weight, const ConstTensor& bias,
                                    const AffineOp& affine,
                                    const std::function<int64_t(int64_t, int64_t)>& channel_of) {
  const int64_t row = weight->size() / weight->dim(0);
  return both(
      make_tensor(weight->shape(),
                  [&](int64_t i) { return at(weight, i) * at(affine.scale, channel_of(i / row, i % row)); }),
      make_tensor(bias->shape(), [&](int64_t o) {
        double sum = at(bias, o);
        for (int64_t i = 0; i < row; ++i) {
          sum += at(weight, o * row + i) * at(affine.shift, channel_of(o, i));
        }
        return sum;
      }));
}

bool pads_nothing(const Window& window) {
  const std::array<int64_t, 2> none{0, 0};
  return window.auto_pad == AutoPad::kNone && window.pad_begin == none && window.pad_end == none;
}

bool shifts_nothing(const AffineOp& affine) {
  for (const float shift : affine.shift->values()) {
    if (shift != 0.0F) return false;
  }
  return true;
}

/// Affine after `op`: true when op took it over.
bool absorb_affine(Op& op, const AffineOp& affine) {
  std::optional<Folded> folded;
  if (auto* conv = std::get_if<ConvOp>(&op); conv && !conv->relu) {
    folded = scale_rows(conv->weight, conv->bias, affine);
    if (folded) std::tie(conv->weight, conv->bias) = std::tie(folded->weight, folded->bias);
  } else if (auto* linear = std::get_if<LinearOp>(&op); linear && !linear->relu) {
    folded = scale_rows(linear->weight, linear->bias, affine);
    if (folded) std::tie(linear->weight, linear->bias) = std::tie(folded->weight, folded->bias);
  } else if (auto* first = std::get_if<AffineOp>(&op)) {
    folded = scale_rows(first->scale, first->shift, affine);
    if (folded) std::tie(first->scale, first->shift) = std::tie(folded->weight, folded->bias);
  }
  return folded.has_value();
}

/// Affine before `op`: true when op took it over. Padding is the network's zero, not the affine's image of
/// zero, so a padded convolution can take over a scale only.
bool absorb_affine_before(Op& op, const AffineOp& affine) {
  const int64_t channels = affine.scale->size();
  if (auto* conv = std::get_if<ConvOp>(&op); conv && (pads_nothing(conv->window) || shifts_nothing(affine))) {
    const int64_t per_group = conv->weight->dim(1), taps = conv->weight->dim(2) * conv->weight->dim(3);
    const int64_t rows_per_group = conv->weight->dim(0) / conv->groups;
    if (per_group * conv->groups != channels) return false;
    const auto folded = scale_columns(conv->weight, conv->bias, affine, [&](int64_t o, int64_t i) {
      return o / rows_per_group * per_group + i / taps;
    });
    if (folded) std::tie(conv->weight, conv->bias) = std::tie(folded->weight, folded->bias);
    return folded.has_value();
  }
  if (auto* linear = std::get_if<LinearOp>(&op); linear && linear->weight->dim(1) % channels == 0) {
    const int64_t positions = linear->weight->dim(1) / channels;
    const auto folded = scale_columns(linear->weight, linear->bias, affine,
                                      [&](int64_t, int64_t i) { return i / positions; });
    if (folded) std::tie(linear->weight, linear->bias) = std::tie(folded->weight, folded->bias);
    return folded.has_value();
  }
  return false;
}

void fold_into_writers(Rewriter& rewriter) {
  for (size_t i = 0; i < rewriter.size(); ++i) {
    const auto* affine = std::get_if<AffineOp>(&rewriter.node(i).op);
    const int writer = rewriter.writer_of_input(i);
    if (!affine || writer < 0 || !rewriter.is_private(rewriter.node(i).inputs.front())) continue;
    if (absorb_affine(rewriter.node(static_cast<size_t>(writer)).op, *affine)) {
      rewriter.merge(static_cast<size_t>(writer), i);
    }
  }
}

void fold_into_readers(Rewriter& rewriter) {
  for (size_t i = 0; i < rewriter.size(); ++i) {
    if (!rewriter.alive(i) || !std::holds_alternative<AffineOp>(rewriter.node(i).op)) continue;
    const AffineOp affine = std::get<AffineOp>(rewriter.node(i).op);
    for (const int reader : rewriter.readers(rewriter.node(i).output)) {
      const auto r = static_cast<size_t>(reader);
      if (absorb_affine_before(rewriter.node(r).op, affine)) rewriter.bypass(r, i);
    }
  }
}

}  // namespace

Graph fold_affine(Graph graph, const std::vector<ValueId>& keep) {
  Rewriter rewriter(std::move(graph), keep);
  fold_into_writers(rewriter);
  fold_into_readers(rewriter);
  return rewriter.take();
}

}  // namespace branchsae
