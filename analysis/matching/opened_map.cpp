#include "analysis/matching/opened_map.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <memory>
#include <type_traits>
#include <vector>

#include "engine/error.h"

namespace branchsae {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
/// [channels of a value, channels of a]; null where nothing of a arrives.
using Map = std::shared_ptr<const Matrix>;

template <class Op>
constexpr bool kKeepsChannels =
    std::is_same_v<Op, ReluOp> || std::is_same_v<Op, ClipOp> || std::is_same_v<Op, MaxPoolOp> ||
    std::is_same_v<Op, AveragePoolOp> || std::is_same_v<Op, PadOp>;

/// Follows what of a arrives at each value, from a to b.
class OpenedNetwork {
 public:
  OpenedNetwork(const Graph& graph, const Tap& a, const Tap& b)
      : graph_(graph), a_(a), b_(b), source_(graph.values.size()), maps_(graph.values.size()) {
    int64_t first = 0;
    for (const TapPart& part : a.parts) {
      add_source(part, first);
      first += part.end - part.begin;
    }
  }

  HostTensor map() {
    follow();
    HostTensor result({b_.width(), a_.width()});
    int64_t row = 0;
    bool arrives = false;
    for (const TapPart& part : b_.parts) {
      const Map& map = maps_[index(part.value)];
      if (source_[index(part.value)] != 0)
        throw InputError(fmt::format("'{}' and '{}' are of one tensor", a_.name, b_.name));
      arrives = arrives || map;
      for (int64_t c = part.begin; c < part.end; ++c, ++row) {
        for (int64_t from = 0; map && from < a_.width(); ++from)
          result[row * a_.width() + from] = static_cast<float>((*map)(c, from));
      }
    }
    if (!arrives)
      throw InputError(fmt::format("'{}' does not lie before '{}' in the network", a_.name, b_.name));
    return result;
  }

 private:
  static size_t index(ValueId id) { return static_cast<size_t>(id); }

  void add_source(const TapPart& part, int64_t first) {
    auto map = source_[index(part.value)] != 0
                   ? std::make_shared<Matrix>(*maps_[index(part.value)])
                   : std::make_shared<Matrix>(Matrix::Zero(graph_.value(part.value).shape.at(1), a_.width()));
    for (int64_t c = part.begin; c < part.end; ++c) (*map)(c, first + c - part.begin) += 1;
    maps_[index(part.value)] = std::move(map);
    source_[index(part.value)] = 1;
  }

  /// Values that b is computed from, without what lies before a.
  std::vector<uint8_t> needed() const {
    std::vector<uint8_t> needed(graph_.values.size());
    for (const TapPart& part : b_.parts) needed[index(part.value)] = 1;
    for (auto node = graph_.nodes.rbegin(); node != graph_.nodes.rend(); ++node) {
      if (needed[index(node->output)] == 0 || source_[index(node->output)] != 0) continue;
      for (const ValueId input : node->inputs) needed[index(input)] = 1;
    }
    return needed;
  }

  void follow() {
    const std::vector<uint8_t> needed = this->needed();
    for (const Node& node : graph_.nodes) {
      if (needed[index(node.output)] == 0 || source_[index(node.output)] != 0) continue;
      bool arrives = false;
      for (const ValueId input : node.inputs) arrives = arrives || maps_[index(input)];
      if (arrives)
        maps_[index(node.output)] = std::visit([&](const auto& op) { return through(node, op); }, node.op);
    }
  }

  /// What leaves a node at which something of a arrives.
  template <class Op>
  Map through(const Node& node, const Op& op) const {
    if constexpr (kKeepsChannels<Op>) {
      return maps_[index(node.inputs[0])];
    } else if constexpr (std::is_same_v<Op, ConvOp>) {
      return std::make_shared<Matrix>(convolved(op, *maps_[index(node.inputs[0])]));
    } else if constexpr (std::is_same_v<Op, AffineOp>) {
      auto map = std::make_shared<Matrix>(*maps_[index(node.inputs[0])]);
      for (Eigen::Index c = 0; c < map->rows(); ++c) map->row(c) *= static_cast<double>((*op.scale)[c]);
      return map;
    } else if constexpr (std::is_same_v<Op, ConcatOp>) {
      return std::make_shared<Matrix>(joined(node));
    } else {
      throw InputError(fmt::format("node '{}' ({}) between '{}' and '{}' is not linear in its channels",
                                   node.name, op_name(node.op), a_.name, b_.name));
    }
  }

  /// The kernel's sum over its window, times what arrives.
  static Matrix convolved(const ConvOp& op, const Matrix& arriving) {
    const int64_t outputs = op.weight->dim(0), inputs = op.weight->dim(1);
    const int64_t window = op.weight->dim(2) * op.weight->dim(3), outputs_a_group = outputs / op.groups;
    Matrix summed(outputs, inputs);
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t i = 0; i < inputs; ++i) {
        const float* weight = op.weight->data() + (o * inputs + i) * window;
        double sum = 0;
        for (int64_t at = 0; at < window; ++at) sum += static_cast<double>(weight[at]);
        summed(o, i) = sum;
      }
    }
    Matrix result(outputs, arriving.cols());
    for (int64_t group = 0; group < op.groups; ++group) {
      result.middleRows(group * outputs_a_group, outputs_a_group).noalias() =
          summed.middleRows(group * outputs_a_group, outputs_a_group) *
          arriving.middleRows(group * inputs, inputs);
    }
    return result;
  }

  Matrix joined(const Node& node) const {
    Matrix result = Matrix::Zero(graph_.value(node.output).shape.at(1), a_.width());
    Eigen::Index first = 0;
    for (const ValueId input : node.inputs) {
      const auto channels = static_cast<Eigen::Index>(graph_.value(input).shape.at(1));
      if (const Map& map = maps_[index(input)]) result.middleRows(first, channels) = *map;
      first += channels;
    }
    return result;
  }

  const Graph& graph_;
  const Tap& a_;
  const Tap& b_;
  std::vector<uint8_t> source_;  // [values] whether a reads it
  std::vector<Map> maps_;        // [values]
};

}  // namespace

HostTensor opened_map(const Graph& graph, const Tap& a, const Tap& b) {
  return OpenedNetwork(graph, a, b).map();
}

}  // namespace branchsae
