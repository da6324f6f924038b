#include "loader/onnx_lrn_pattern.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "loader/onnx_node.h"
#include "loader/onnx_tensor.h"

namespace branchsae::loader {
namespace {

using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

struct Lrn {
  std::string source;
  int64_t size = 0;
  float alpha = 0, beta = 0, bias = 0;
};

/// Numbers of channels that a padding puts before and after.
struct ChannelPads {
  int64_t before = 0, after = 0;
};

/// Looks at the graph from a division upwards. Every find_ returns nothing when the graph is not as expected.
class Matcher {
 public:
  explicit Matcher(const OnnxFile& file)
      : file_(file), file_name_(file.path.string()), folder_(file.path.parent_path()) {
    for (const NodeProto& node : file.model.graph().node()) {
      for (const std::string& output : node.output()) writers_.emplace(output, &node);
    }
    for (const TensorProto& tensor : file.model.graph().initializer())
      tensors_.emplace(tensor.name(), &tensor);
  }

  /// x / (k + alpha * mean)^beta
  std::optional<Lrn> find(const NodeProto& division) const {
    const NodeProto* power = division.input_size() == 2 ? writer(division.input(1), "Pow") : nullptr;
    if (power == nullptr || power->input_size() != 2) return std::nullopt;
    const std::optional<float> beta = number(power->input(1));
    const auto sum = with_number(writer(power->input(0), "Add"));
    if (!beta || !sum) return std::nullopt;
    const auto product = with_number(writer(sum->other, "Mul"));
    if (!product) return std::nullopt;
    const std::optional<int64_t> size = find_mean(product->other, division.input(0));
    if (!size) return std::nullopt;
    return Lrn{division.input(0), *size, product->number, *beta, sum->number};
  }

 private:
  struct WithNumber {
    std::string other;
    float number = 0;
  };

  const NodeProto* writer(const std::string& tensor) const {
    const auto found = writers_.find(tensor);
    return found == writers_.end() ? nullptr : found->second;
  }

  const NodeProto* writer(const std::string& tensor, std::string_view op) const {
    const NodeProto* node = writer(tensor);
    return node != nullptr && node->op_type() == op ? node : nullptr;
  }

  NodeView view(const NodeProto& node) const { return {node, file_name_, file_.opset}; }

  /// A constant of at most a dozen numbers.
  std::optional<Constant> constant(const std::string& name) const {
    const TensorProto* tensor = nullptr;
    if (const auto found = tensors_.find(name); found != tensors_.end()) {
      tensor = found->second;
    } else if (const NodeProto* node = writer(name, "Constant")) {
      tensor = view(*node).tensor("value");
    }
    if (tensor == nullptr || tensor->dims_size() > 1) return std::nullopt;
    if (tensor->dims_size() == 1 && (tensor->dims(0) < 1 || tensor->dims(0) > 12)) return std::nullopt;
    MemoryBudget budget(1024);
    try {
      return read_tensor(*tensor, folder_, file_name_, budget);
    } catch (const InputError&) {  // a broken tensor is reported where it is read
      return std::nullopt;
    }
  }

  std::optional<float> number(const std::string& name) const {
    const std::optional<Constant> found = constant(name);
    if (!found || found->is_integral() || found->size() != 1) return std::nullopt;
    return (*found->floats)[0];
  }

  std::optional<std::vector<int64_t>> integers(const std::string& name) const {
    const std::optional<Constant> found = constant(name);
    if (!found || !found->is_integral()) return std::nullopt;
    std::vector<int64_t> values;
    for (const Extent& extent : found->integers) values.push_back(extent.value);
    return values;
  }

  /// A sum or product of a tensor and a number, in either order.
  std::optional<WithNumber> with_number(const NodeProto* node) const {
    if (node == nullptr || node->input_size() != 2) return std::nullopt;
    for (const int side : {0, 1}) {
      if (const auto found = number(node->input(side))) return WithNumber{node->input(1 - side), *found};
    }
    return std::nullopt;
  }

  /// The window of the mean over channels of source's squares.
  std::optional<int64_t> find_mean(const std::string& mean, const std::string& source) const {
    const NodeProto* pool = writer(skip_views(mean), "AveragePool");
    if (pool == nullptr || pool->input_size() != 1) return std::nullopt;
    const std::vector<int64_t> kernel = view(*pool).integers("kernel_shape");
    const std::vector<int64_t> strides = view(*pool).integers("strides", {1, 1, 1});
    const bool moves_by_one = strides == std::vector<int64_t>{1, 1, 1};
    if (kernel.size() != 3 || kernel[0] < 1 || kernel[1] != 1 || kernel[2] != 1 || !moves_by_one) {
      return std::nullopt;
    }
    std::string squares = pool->input(0);
    auto pads = pool_pads(*pool);
    if (const NodeProto* pad = writer(squares, "Pad")) {
      const auto more = pad_amounts(*pad);
      if (!pads || !more || pad->input_size() < 1) return std::nullopt;
      pads = ChannelPads{pads->before + more->before, pads->after + more->after};
      squares = pad->input(0);
    }
    // An odd window only: for even ones PyTorch's and ONNX's centres differ.
    if (!pads || pads->before != pads->after || kernel[0] != 2 * pads->before + 1) return std::nullopt;
    const std::optional<std::string> square = skip_channel_view(squares);
    return square && is_square(*square, source) ? std::optional(kernel[0]) : std::nullopt;
  }

  bool is_square(const std::string& name, const std::string& source) const {
    if (const NodeProto* product = writer(name, "Mul"); product != nullptr && product->input_size() == 2) {
      return product->input(0) == source && product->input(1) == source;
    }
    const NodeProto* power = writer(name, "Pow");
    return power != nullptr && power->input_size() == 2 && power->input(0) == source &&
           number(power->input(1)) == 2.0F;
  }

  /// What only drops the axis of extent 1 or gives [N, C, H, W] back: the sum that reads it is divided into
  /// x, so its shape is x's.
  std::string skip_views(std::string name) const {
    for (int step = 0; step < 8; ++step) {
      const NodeProto* node = writer(name);
      if (node == nullptr) break;
      const std::string& op = node->op_type();
      if (op == "If") {
        const std::string squeezed = squeezed_by_if(*node);
        if (squeezed.empty()) break;
        name = squeezed;
      } else if ((op == "Reshape" || op == "Squeeze") && node->input_size() >= 1) {
        name = node->input(0);
      } else {
        break;
      }
    }
    return name;
  }

  /// The exporter squeezes an axis under the condition that its extent is 1.
  static std::string squeezed_by_if(const NodeProto& conditional) {
    for (const AttributeProto& attribute : conditional.attribute()) {
      if (attribute.name() != "then_branch") continue;
      for (const NodeProto& node : attribute.g().node()) {
        if (node.op_type() == "Squeeze" && node.input_size() >= 1) return node.input(0);
      }
    }
    return "";
  }

  /// Upwards through what makes [N, 1, C, H, W] of [N, C, H, W].
  std::optional<std::string> skip_channel_view(const std::string& name) const {
    const NodeProto* node = writer(name);
    if (node == nullptr || node->input_size() < 1) return std::nullopt;
    if (node->op_type() == "Unsqueeze") {
      const auto axes = node->input_size() > 1 ? integers(node->input(1)) : view(*node).integers("axes");
      if (axes == std::vector<int64_t>{1}) return node->input(0);
    }
    if (node->op_type() != "Reshape" || node->input_size() != 2) return std::nullopt;
    if (const auto shape = integers(node->input(1))) {
      return shape->size() == 5 && shape->at(1) == 1 ? std::optional(node->input(0)) : std::nullopt;
    }
    const NodeProto* shape = writer(node->input(1), "Concat");
    const bool unit =
        shape != nullptr && shape->input_size() == 5 && integers(shape->input(1)) == std::vector<int64_t>{1};
    return unit ? std::optional(node->input(0)) : std::nullopt;
  }

  /// The pool's own padding; only zeros that count keep the mean's divisor at the window's size.
  std::optional<ChannelPads> pool_pads(const NodeProto& pool) const {
    const NodeView node = view(pool);
    const std::vector<int64_t> pads = node.integers("pads", {0, 0, 0, 0, 0, 0});
    const std::string automatic = node.text("auto_pad", "NOTSET");
    if (pads.size() != 6 || (automatic != "NOTSET" && automatic != "VALID")) return std::nullopt;
    for (const size_t other : {1, 2, 4, 5}) {
      if (pads[other] != 0) return std::nullopt;
    }
    const bool counted = node.integer("count_include_pad", 0) == 1;
    if (!counted && (pads[0] != 0 || pads[3] != 0)) return std::nullopt;
    return ChannelPads{pads[0], pads[3]};
  }

  /// A Pad node's, with zeros on the channels of [N, 1, C, H, W] alone.
  std::optional<ChannelPads> pad_amounts(const NodeProto& pad) const {
    const NodeView node = view(pad);
    if (node.text("mode", "constant") != "constant" || node.real("value", 0.0F) != 0.0F ||
        pad.input_size() > 3) {
      return std::nullopt;
    }
    if (pad.input_size() == 3 && !pad.input(2).empty() && number(pad.input(2)) != 0.0F) return std::nullopt;
    if (pad.input_size() == 1) return onnx_amounts(node.integers("pads"));
    if (const auto known = integers(pad.input(1))) return onnx_amounts(*known);
    return computed_amounts(pad.input(1));
  }

  static std::optional<ChannelPads> onnx_amounts(const std::vector<int64_t>& pads) {
    if (pads.size() != 10) return std::nullopt;
    for (const size_t other : {0, 1, 3, 4, 5, 6, 8, 9}) {
      if (pads[other] != 0) return std::nullopt;
    }
    return ChannelPads{pads[2], pads[7]};
  }

  /// The older exporter lets the graph turn PyTorch's list (last axis first, begin and end in pairs) into
  /// ONNX's: appends zeros, folds into pairs, reverses, transposes. The list is the first part of that
  /// Concat.
  std::optional<ChannelPads> computed_amounts(std::string name) const {
    for (const std::string_view op : {"Cast", "Reshape", "Transpose", "Slice", "Reshape"}) {
      const NodeProto* node = writer(name, op);
      if (node == nullptr || node->input_size() < 1) return std::nullopt;
      name = node->input(0);
    }
    const NodeProto* concat = writer(name, "Concat");
    if (concat == nullptr || concat->input_size() != 2) return std::nullopt;
    const auto listed = integers(concat->input(0));
    if (!listed || listed->size() != 6 ||
        !std::all_of(listed->begin(), listed->begin() + 4, [](int64_t pad) { return pad == 0; })) {
      return std::nullopt;
    }
    return ChannelPads{listed->at(4), listed->at(5)};
  }

  const OnnxFile& file_;
  std::string file_name_;
  std::filesystem::path folder_;
  std::unordered_map<std::string_view, const NodeProto*> writers_;
  std::unordered_map<std::string_view, const TensorProto*> tensors_;
};

void write_lrn(const Lrn& lrn, NodeProto& node) {
  node.set_op_type("LRN");
  node.clear_input();
  node.add_input(lrn.source);
  node.clear_attribute();
  AttributeProto* size = node.add_attribute();
  size->set_name("size");
  size->set_type(AttributeProto::INT);
  size->set_i(lrn.size);
  const std::pair<const char*, float> constants[] = {
      {"alpha", lrn.alpha}, {"beta", lrn.beta}, {"bias", lrn.bias}};
  for (const auto& [name, value] : constants) {
    AttributeProto* real = node.add_attribute();
    real->set_name(name);
    real->set_type(AttributeProto::FLOAT);
    real->set_f(value);
  }
}

/// Names that a node reads, in the graphs inside it, too.
void collect_reads(const NodeProto& node, std::vector<std::string>& names, int depth = 0) {
  names.insert(names.end(), node.input().begin(), node.input().end());
  if (depth > 8) return;  // no exporter nests this deep; such a file fails on its control flow anyway
  for (const AttributeProto& attribute : node.attribute()) {
    for (const NodeProto& inner : attribute.g().node()) collect_reads(inner, names, depth + 1);
    for (const auto& output : attribute.g().output()) names.push_back(output.name());
  }
}

/// Removes the nodes that were needed for `tensors` only.
class Sweeper {
 public:
  explicit Sweeper(GraphProto& graph) : graph_(graph), dead_(static_cast<size_t>(graph.node_size()), false) {
    for (int i = 0; i < graph.node_size(); ++i) {
      for (const std::string& output : graph.node(i).output()) writers_[output] = i;
      std::vector<std::string> names;
      collect_reads(graph.node(i), names);
      for (const std::string& name : names) ++reads_[name];
    }
    for (const auto& output : graph.output()) ++reads_[output.name()];
  }

  void sweep(std::vector<std::string> tensors) {
    while (!tensors.empty()) {
      const auto writer = writers_.find(tensors.back());
      tensors.pop_back();
      if (writer == writers_.end() || dead_[static_cast<size_t>(writer->second)]) continue;
      const NodeProto& node = graph_.node(writer->second);
      const bool read = std::any_of(node.output().begin(), node.output().end(),
                                    [&](const std::string& output) { return reads_[output] > 0; });
      if (read) continue;
      dead_[static_cast<size_t>(writer->second)] = true;
      std::vector<std::string> names;
      collect_reads(node, names);
      for (const std::string& name : names) --reads_[name];
      tensors.insert(tensors.end(), names.begin(), names.end());
    }
  }

  void erase() {
    ::google::protobuf::RepeatedPtrField<NodeProto> kept;
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (!dead_[static_cast<size_t>(i)]) kept.Add()->Swap(graph_.mutable_node(i));
    }
    graph_.mutable_node()->Swap(&kept);
  }

 private:
  GraphProto& graph_;
  std::vector<bool> dead_;
  std::unordered_map<std::string, int> writers_;
  std::unordered_map<std::string, int> reads_;
};

}  // namespace

void collapse_lrn(OnnxFile& file) {
  GraphProto& graph = *file.model.mutable_graph();
  std::vector<std::pair<int, Lrn>> found;
  {
    const Matcher matcher(file);
    for (int i = 0; i < graph.node_size(); ++i) {
      if (graph.node(i).op_type() != "Div") continue;
      if (const auto lrn = matcher.find(graph.node(i))) found.emplace_back(i, *lrn);
    }
  }
  if (found.empty()) return;
  std::vector<std::string> unread;
  for (const auto& [index, lrn] : found) {
    unread.push_back(graph.node(index).input(1));
    write_lrn(lrn, *graph.mutable_node(index));
  }
  Sweeper sweeper(graph);
  sweeper.sweep(unread);
  sweeper.erase();
}

}  // namespace branchsae::loader
