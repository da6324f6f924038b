#include "engine/validate.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/error.h"

namespace branchsae {
namespace {

/// Far above any real window; the product of two and its sum with any extent stay far below 2^63.
constexpr int64_t kWindowLimit = int64_t{1} << 16;

[[noreturn]] void fail(const Node& node, const std::string& what) {
  throw InputError(fmt::format("node \"{}\" ({}): {}", node.name, op_name(node.op), what));
}

void require(bool good, const Node& node, const std::string& what) {
  if (!good) fail(node, what);
}

void check_window(const Node& node, const Window& window, bool pool) {
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t kernel = window.kernel[axis], stride = window.stride[axis],
                  dilation = window.dilation[axis];
    const int64_t begin = window.pad_begin[axis], end = window.pad_end[axis];
    for (const int64_t size : {kernel, stride, dilation}) {
      require(size >= 1 && size <= kWindowLimit, node,
              fmt::format("kernel {}, stride {} or dilation {} is out of range", kernel, stride, dilation));
    }
    for (const int64_t pad : {begin, end}) {
      require(pad >= 0 && pad <= kWindowLimit, node, fmt::format("padding {} is out of range", pad));
    }
    const int64_t reach = dilation * (kernel - 1) + 1;
    require(!pool || (begin < reach && end < reach), node,
            fmt::format("padding {}, {} reaches the pooling window's extent {}", begin, end, reach));
  }
}

void check_bias(const Node& node, const ConstTensor& weight, const ConstTensor& bias, size_t rank) {
  require(weight && bias, node, "weight or bias is missing");
  require(weight->shape().size() == rank && weight->size() > 0, node,
          fmt::format("weight {} must have {} dimensions, none of them 0", to_string(weight->shape()), rank));
  require(
      bias->shape() == Shape{weight->dim(0)}, node,
      fmt::format("bias {} does not fit weight {}", to_string(bias->shape()), to_string(weight->shape())));
}

struct CheckOp {
  const Node& node;

  void operator()(const ConvOp& op) const {
    check_bias(node, op.weight, op.bias, 4);
    check_window(node, op.window, false);
    require(op.weight->dim(2) == op.window.kernel[0] && op.weight->dim(3) == op.window.kernel[1], node,
            fmt::format("kernel {}x{} does not fit weight {}", op.window.kernel[0], op.window.kernel[1],
                        to_string(op.weight->shape())));
    require(op.groups >= 1 && op.weight->dim(0) % op.groups == 0, node,
            fmt::format("{} groups do not divide weight {}", op.groups, to_string(op.weight->shape())));
  }
  void operator()(const MaxPoolOp& op) const { check_window(node, op.window, true); }
  void operator()(const AveragePoolOp& op) const { check_window(node, op.window, true); }
  void operator()(const LrnOp& op) const {
    require(op.size >= 1, node, fmt::format("size {} must be at least 1", op.size));
    require(std::isfinite(op.alpha) && std::isfinite(op.beta) && std::isfinite(op.bias), node,
            fmt::format("alpha {}, beta {}, bias {} must be finite", op.alpha, op.beta, op.bias));
  }
  void operator()(const LinearOp& op) const { check_bias(node, op.weight, op.bias, 2); }
  void operator()(const AffineOp& op) const {
    require(op.scale && op.shift && op.scale->shape().size() == 1 && op.scale->shape() == op.shift->shape(),
            node, "scale and shift must be vectors of one length");
  }
  void operator()(const ClipOp& op) const {
    require(op.min <= op.max, node, fmt::format("min {} is above max {}", op.min, op.max));
  }
  void operator()(const PadOp& op) const {
    for (const auto& pads : {op.begin, op.end}) {
      for (const int64_t pad : pads) {
        require(pad >= -kWindowLimit && pad <= kWindowLimit, node,
                fmt::format("padding {} is out of range", pad));
      }
    }
  }
  template <class Other>
  void operator()(const Other&) const {}
};

void check_arity(const Node& node) {
  const size_t count = node.inputs.size();
  if (std::holds_alternative<ConcatOp>(node.op)) {
    require(count >= 1, node, "takes at least one input, has none");
    return;
  }
  const size_t expected = std::holds_alternative<BinaryOp>(node.op) ? 2 : 1;
  require(count == expected, node, fmt::format("takes {} input(s), has {}", expected, count));
}

void check_blocks(const Graph& graph) {
  const auto id_ok = [&](ValueId id) { return id >= 0 && static_cast<size_t>(id) < graph.values.size(); };
  for (const Block& block : graph.blocks) {
    bool good = id_ok(block.value);
    for (const Branch& branch : block.branches) {
      good = good && id_ok(branch.value) && (branch.pre_value == kNoValue || id_ok(branch.pre_value)) &&
             branch.begin >= 0 && branch.begin <= branch.end;
    }
    if (!good)
      throw InputError(fmt::format("block \"{}\" refers to a value that does not exist", block.name));
  }
}

}  // namespace

void validate(const Graph& graph) {
  const auto id_ok = [&](ValueId id) { return id >= 0 && static_cast<size_t>(id) < graph.values.size(); };
  if (!id_ok(graph.input)) throw InputError("the graph has no input");
  std::vector<bool> written(graph.values.size(), false);
  written[static_cast<size_t>(graph.input)] = true;
  for (const Node& node : graph.nodes) {
    check_arity(node);
    std::visit(CheckOp{node}, node.op);
    for (const ValueId id : node.inputs) {
      require(id_ok(id), node, fmt::format("reads value {}, which does not exist", id));
      require(written[static_cast<size_t>(id)], node,
              fmt::format("reads \"{}\" before anything writes it", graph.value(id).name));
    }
    require(id_ok(node.output), node, fmt::format("writes value {}, which does not exist", node.output));
    require(
        !written[static_cast<size_t>(node.output)], node,
        fmt::format("writes \"{}\", which is the input or already written", graph.value(node.output).name));
    written[static_cast<size_t>(node.output)] = true;
  }
  for (const ValueId id : graph.outputs) {
    if (!id_ok(id) || !written[static_cast<size_t>(id)]) {
      throw InputError(fmt::format("nothing computes the graph's output {}",
                                   id_ok(id) ? "\"" + graph.value(id).name + "\"" : std::to_string(id)));
    }
  }
  check_blocks(graph);
}

}  // namespace branchsae
