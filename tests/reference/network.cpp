#include "tests/reference/network.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae::reference {
namespace {

double real(const ConstTensor& tensor, int64_t i) {
  return (*tensor)[i];
}

/// One axis of a sliding window for a concrete input.
struct Axis {
  int64_t in, out, kernel, stride, dilation, pad_begin, pad_end;

  Axis(const Window& window, int axis, int64_t extent, bool ceil_mode) : in(extent) {
    const auto a = static_cast<size_t>(axis);
    const WindowExtent found = window_extent(window, axis, extent, ceil_mode);
    out = found.out;
    kernel = window.kernel[a];
    stride = window.stride[a];
    dilation = window.dilation[a];
    pad_begin = found.pad_begin;
    pad_end = found.pad_end;
  }

  /// Input position of kernel element k at output position o: negative or >= in on padding.
  int64_t source(int64_t o, int64_t k) const { return o * stride - pad_begin + k * dilation; }
  bool is_real(int64_t position) const { return position >= 0 && position < in; }
  /// Inside the padded input. Rounding the output size up can push a window past even that.
  bool is_padded(int64_t position) const { return position >= -pad_begin && position < in + pad_end; }
};

struct Evaluate {
  const Node& node;
  const std::vector<Array>& values;
  const Shape& dst_shape;

  const Array& src(size_t index = 0) const { return values.at(static_cast<size_t>(node.inputs.at(index))); }

  template <class Function>
  Array map(Function function) const {
    Array dst = src();
    for (double& number : dst.data) number = function(number);
    return dst;
  }

  Array operator()(const ConvOp& op) const {
    const Array& from = src();
    Array dst(dst_shape);
    const Axis rows(op.window, 0, from.dim(2), false), columns(op.window, 1, from.dim(3), false);
    const int64_t outputs_per_group = dst.dim(1) / op.groups, inputs_per_group = from.dim(1) / op.groups;
    for (int64_t n = 0; n < dst.dim(0); ++n) {
      for (int64_t o = 0; o < dst.dim(1); ++o) {
        const int64_t first_input = o / outputs_per_group * inputs_per_group;
        add_bias(dst, n, o, real(op.bias, o));
        for (int64_t i = 0; i < inputs_per_group; ++i) {
          for (int64_t ky = 0; ky < rows.kernel; ++ky) {
            for (int64_t kx = 0; kx < columns.kernel; ++kx) {
              const int64_t at = ((o * inputs_per_group + i) * rows.kernel + ky) * columns.kernel + kx;
              add_shifted(dst, n, o, from, first_input + i, rows, ky, columns, kx, real(op.weight, at));
            }
          }
        }
      }
    }
    return op.relu ? relu(std::move(dst)) : dst;
  }

  static void add_bias(Array& dst, int64_t n, int64_t channel, double bias) {
    for (int64_t y = 0; y < dst.dim(2); ++y) {
      for (int64_t x = 0; x < dst.dim(3); ++x) dst.at(n, channel, y, x) += bias;
    }
  }

  /// dst[n, o] += weight * from[n, i] as kernel element (ky, kx) sees it.
  static void add_shifted(Array& dst, int64_t n, int64_t o, const Array& from, int64_t i, const Axis& rows,
                          int64_t ky, const Axis& columns, int64_t kx, double weight) {
    for (int64_t y = 0; y < dst.dim(2); ++y) {
      const int64_t from_y = rows.source(y, ky);
      if (!rows.is_real(from_y)) continue;
      for (int64_t x = 0; x < dst.dim(3); ++x) {
        const int64_t from_x = columns.source(x, kx);
        if (columns.is_real(from_x)) dst.at(n, o, y, x) += weight * from.at(n, i, from_y, from_x);
      }
    }
  }

  /// visit(n, c, y, x, from_y, from_x) for every window element inside the padded input.
  template <class Visit>
  void slide(const Array& dst, const Window& window, bool ceil_mode, Visit visit) const {
    const Axis rows(window, 0, src().dim(2), ceil_mode), columns(window, 1, src().dim(3), ceil_mode);
    for (int64_t n = 0; n < dst.dim(0); ++n) {
      for (int64_t c = 0; c < dst.dim(1); ++c) {
        for (int64_t y = 0; y < dst.dim(2); ++y) {
          for (int64_t x = 0; x < dst.dim(3); ++x) {
            for (int64_t ky = 0; ky < rows.kernel; ++ky) {
              for (int64_t kx = 0; kx < columns.kernel; ++kx) {
                const int64_t from_y = rows.source(y, ky), from_x = columns.source(x, kx);
                if (!rows.is_padded(from_y) || !columns.is_padded(from_x)) continue;
                visit(n, c, y, x, from_y, from_x, rows.is_real(from_y) && columns.is_real(from_x));
              }
            }
          }
        }
      }
    }
  }

  Array operator()(const MaxPoolOp& op) const {
    Array dst(dst_shape);
    std::ranges::fill(dst.data, -std::numeric_limits<double>::infinity());
    slide(dst, op.window, op.ceil_mode,
          [&](int64_t n, int64_t c, int64_t y, int64_t x, int64_t from_y, int64_t from_x, bool is_real) {
            if (is_real) dst.at(n, c, y, x) = std::max(dst.at(n, c, y, x), src().at(n, c, from_y, from_x));
          });
    return dst;
  }

  Array operator()(const AveragePoolOp& op) const {
    Array dst(dst_shape), count(dst_shape);
    slide(dst, op.window, op.ceil_mode,
          [&](int64_t n, int64_t c, int64_t y, int64_t x, int64_t from_y, int64_t from_x, bool is_real) {
            if (is_real) dst.at(n, c, y, x) += src().at(n, c, from_y, from_x);
            if (is_real || op.count_include_pad) count.at(n, c, y, x) += 1;
          });
    for (size_t i = 0; i < dst.data.size(); ++i) dst.data[i] /= count.data[i];
    return dst;
  }

  Array operator()(const GlobalAveragePoolOp&) const {
    const Array& from = src();
    Array dst(dst_shape);
    for (int64_t n = 0; n < from.dim(0); ++n) {
      for (int64_t c = 0; c < from.dim(1); ++c) {
        double sum = 0;
        for (int64_t y = 0; y < from.dim(2); ++y) {
          for (int64_t x = 0; x < from.dim(3); ++x) sum += from.at(n, c, y, x);
        }
        dst.at(n, c, 0, 0) = sum / static_cast<double>(from.dim(2) * from.dim(3));
      }
    }
    return dst;
  }

  /// The window of an even size reaches one channel further up than down (ONNX: floor before, ceil after).
  Array operator()(const LrnOp& op) const {
    const Array& from = src();
    Array dst(dst_shape);
    const int64_t before = (op.size - 1) / 2, after = op.size - 1 - before;
    for (int64_t n = 0; n < from.dim(0); ++n) {
      for (int64_t c = 0; c < from.dim(1); ++c) {
        const int64_t first = std::max<int64_t>(0, c - before), last = std::min(from.dim(1) - 1, c + after);
        for (int64_t y = 0; y < from.dim(2); ++y) {
          for (int64_t x = 0; x < from.dim(3); ++x) {
            double sum = 0;
            for (int64_t i = first; i <= last; ++i) sum += from.at(n, i, y, x) * from.at(n, i, y, x);
            const double base = op.bias + static_cast<double>(op.alpha) / static_cast<double>(op.size) * sum;
            dst.at(n, c, y, x) = from.at(n, c, y, x) / std::pow(base, op.beta);
          }
        }
      }
    }
    return dst;
  }

  Array operator()(const ConcatOp&) const {
    Array dst(dst_shape);
    const int64_t images = dst.dim(0), dst_step = static_cast<int64_t>(dst.data.size()) / images;
    int64_t begin = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int64_t step = static_cast<int64_t>(src(i).data.size()) / images;
      for (int64_t n = 0; n < images; ++n) {
        std::copy_n(src(i).data.begin() + n * step, step, dst.data.begin() + n * dst_step + begin);
      }
      begin += step;
    }
    return dst;
  }

  Array operator()(const LinearOp& op) const {
    Array dst(dst_shape);
    const int64_t outputs = dst.dim(1), inputs = op.weight->dim(1);
    for (int64_t n = 0; n < dst.dim(0); ++n) {
      for (int64_t o = 0; o < outputs; ++o) {
        double sum = real(op.bias, o);
        for (int64_t i = 0; i < inputs; ++i) {
          sum += real(op.weight, o * inputs + i) * src().data[static_cast<size_t>(n * inputs + i)];
        }
        dst.data[static_cast<size_t>(n * outputs + o)] = sum;
      }
    }
    return op.relu ? relu(std::move(dst)) : dst;
  }

  Array operator()(const AffineOp& op) const {
    Array dst = src();
    const int64_t channels = dst.dim(1);
    const int64_t positions = static_cast<int64_t>(dst.data.size()) / (dst.dim(0) * channels);
    for (size_t i = 0; i < dst.data.size(); ++i) {
      const int64_t channel = static_cast<int64_t>(i) / positions % channels;
      dst.data[i] = real(op.scale, channel) * dst.data[i] + real(op.shift, channel);
    }
    return dst;
  }

  static Array relu(Array dst) {
    for (double& number : dst.data) number = std::max(number, 0.0);
    return dst;
  }
  Array operator()(const ReluOp&) const { return relu(src()); }
  Array operator()(const ClipOp& op) const {
    return map([&](double number) { return std::clamp<double>(number, op.min, op.max); });
  }

  Array operator()(const SoftmaxOp&) const {
    Array dst = src();
    const int64_t channels = dst.dim(1);
    for (auto row = dst.data.begin(); row != dst.data.end(); row += channels) {
      const double largest = *std::max_element(row, row + channels);
      double sum = 0;
      for (auto number = row; number != row + channels; ++number)
        sum += * number = std::exp(*number - largest);
      for (auto number = row; number != row + channels; ++number) *number /= sum;
    }
    return dst;
  }

  Array operator()(const FlattenOp&) const { return Array(dst_shape, src().data); }

  Array operator()(const PadOp& op) const {
    const Array& from = src();
    Array dst(dst_shape);
    std::ranges::fill(dst.data, static_cast<double>(op.value));
    for (int64_t n = 0; n < dst.dim(0); ++n) {
      for (int64_t c = 0; c < dst.dim(1); ++c) {
        for (int64_t y = 0; y < dst.dim(2); ++y) {
          for (int64_t x = 0; x < dst.dim(3); ++x) {
            const int64_t from_y = y - op.begin[0], from_x = x - op.begin[1];
            const bool inside = from_y >= 0 && from_y < from.dim(2) && from_x >= 0 && from_x < from.dim(3);
            if (inside) dst.at(n, c, y, x) = from.at(n, c, from_y, from_x);
          }
        }
      }
    }
    return dst;
  }

  Array operator()(const BinaryOp& op) const {
    Array dst = src(0);
    for (size_t i = 0; i < dst.data.size(); ++i) {
      const double right = src(1).data[i];
      switch (op.kind) {
        case BinaryOp::Kind::kAdd:
          dst.data[i] += right;
          break;
        case BinaryOp::Kind::kSub:
          dst.data[i] -= right;
          break;
        case BinaryOp::Kind::kMul:
          dst.data[i] *= right;
          break;
        case BinaryOp::Kind::kDiv:
          dst.data[i] /= right;
          break;
      }
    }
    return dst;
  }
};

}  // namespace

Array::Array(Shape dims) : shape(std::move(dims)), data(static_cast<size_t>(element_count(shape)), 0.0) {}

Array::Array(Shape dims, std::span<const float> values)
    : Array(std::move(dims), std::vector<double>(values.begin(), values.end())) {}

Array::Array(Shape dims, std::vector<double> values) : shape(std::move(dims)), data(std::move(values)) {
  if (element_count(shape) != static_cast<int64_t>(data.size())) {
    throw ShapeError(std::to_string(data.size()) + " numbers do not fit " + to_string(shape));
  }
}

std::vector<Array> run_network(const Graph& graph, const Array& images) {
  if (images.shape.size() != 4)
    throw ShapeError("images must be [N, C, H, W], not " + to_string(images.shape));
  const std::vector<Shape> shapes = infer_shapes(graph, images.dim(0), images.dim(2), images.dim(3));
  const auto input = static_cast<size_t>(graph.input);
  if (shapes[input] != images.shape) {
    throw ShapeError("the graph takes " + to_string(shapes[input]) + ", not " + to_string(images.shape));
  }
  std::vector<Array> values(graph.values.size());
  values[input] = images;
  for (const Node& node : graph.nodes) {
    const auto output = static_cast<size_t>(node.output);
    values[output] = std::visit(Evaluate{node, values, shapes[output]}, node.op);
  }
  return values;
}

Array tokens(const Array& value) {
  if (value.shape.size() != 4) return value;
  const int64_t channels = value.dim(1), rows = value.dim(2), columns = value.dim(3);
  Array dst(Shape{value.dim(0) * rows * columns, channels});
  auto out = dst.data.begin();
  for (int64_t n = 0; n < value.dim(0); ++n) {
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < columns; ++x) {
        for (int64_t c = 0; c < channels; ++c) *out++ = value.at(n, c, y, x);
      }
    }
  }
  return dst;
}

double relative_error(const Array& a, const Array& b) {
  if (a.shape != b.shape) throw ShapeError(to_string(a.shape) + " against " + to_string(b.shape));
  double error = 0, scale = 0;
  for (size_t i = 0; i < a.data.size(); ++i) {
    if (std::isinf(a.data[i]) && a.data[i] == b.data[i]) continue;
    error += (a.data[i] - b.data[i]) * (a.data[i] - b.data[i]);
    scale += b.data[i] * b.data[i];
  }
  if (!std::isfinite(scale) || !std::isfinite(error)) return std::numeric_limits<double>::infinity();
  return scale > 0 ? std::sqrt(error / scale) : std::sqrt(error);
}

}  // namespace branchsae::reference
