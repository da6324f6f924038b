#include "loader/onnx_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/error.h"
#include "loader/onnx_order.h"
#include "loader/onnx_tensor.h"

namespace branchsae::loader {

namespace {

using ::onnx::ValueInfoProto;

constexpr int64_t kRgb = 3;

bool is_default_domain(const ::onnx::NodeProto& node) {
  return node.domain().empty() || node.domain() == "ai.onnx";
}

/// Declared dimensions; rank 4 and all dynamic when the file says nothing.
Shape declared_shape(const ValueInfoProto& input) {
  if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape()) return Shape(4, kDynamic);
  Shape shape;
  for (const auto& dimension : input.type().tensor_type().shape().dim()) {
    const bool is_known = dimension.has_dim_value() && dimension.dim_value() > 0;
    shape.push_back(is_known ? dimension.dim_value() : kDynamic);
  }
  return shape;
}

/// True when the first thing of note that happens to an input is a Transpose from [N, H, W, C], TensorFlow's
/// order, to [N, C, H, W].
bool is_transposed_first(const ::onnx::GraphProto& graph, const std::string& input) {
  constexpr int kLongestWay = 16;  // type conversion and arithmetic with a mean may come before
  static const std::set<std::string_view> passed = {"Identity", "Cast", "Add", "Sub", "Mul", "Div"};
  const std::vector<int64_t> to_nchw{0, 3, 1, 2};
  std::string_view name = input;
  for (int step = 0; step < kLongestWay; ++step) {
    const auto reader = std::ranges::find_if(graph.node(), [&](const ::onnx::NodeProto& node) {
      return std::ranges::find(node.input(), name) != node.input().end();
    });
    if (reader == graph.node().end() || reader->output_size() == 0) return false;
    if (reader->op_type() == "Transpose") {
      return std::ranges::any_of(reader->attribute(), [&](const ::onnx::AttributeProto& attribute) {
        return attribute.name() == "perm" && std::ranges::equal(attribute.ints(), to_nchw);
      });
    }
    if (!passed.contains(reader->op_type())) return false;
    name = reader->output(0);
  }
  return false;
}

/// True for operators whose output has the H and W of their first input.
bool keeps_grid(const Op& op) {
  return std::holds_alternative<ReluOp>(op) || std::holds_alternative<ClipOp>(op) ||
         std::holds_alternative<LrnOp>(op) || std::holds_alternative<AffineOp>(op) ||
         std::holds_alternative<BinaryOp>(op);
}

}  // namespace

Activation plain(ValueId value, const Shape& shape) {
  Activation activation;
  activation.value = value;
  activation.axes.resize(shape.size());
  std::iota(activation.axes.begin(), activation.axes.end(), 0);
  return activation;
}

ConstTensor make_vector(const std::vector<double>& values) {
  auto tensor = std::make_shared<HostTensor>(Shape{static_cast<int64_t>(values.size())});
  std::ranges::transform(values, tensor->data(), [](double value) { return static_cast<float>(value); });
  return tensor;
}

Importer::Importer(const OnnxFile& file, int64_t max_constant_bytes)
    : file_(file),
      proto_(file.model.graph()),
      file_name_(file.path.string()),
      folder_(file.path.parent_path()),
      budget_(max_constant_bytes) {
  graph_.source = file_name_;
  graph_.sha256 = file.sha256;
}

Graph Importer::run() {
  check_operators();
  const std::vector<int> order = node_order(proto_, file_name_);
  check_initialisers(proto_);
  collect_names(proto_);
  add_graph_input();
  for (const int index : order) convert_node(proto_.node(index));
  add_graph_outputs();
  return std::move(graph_);
}

void Importer::check_operators() const {
  for (const ::onnx::NodeProto& proto : proto_.node()) {
    check_operator(NodeView(proto, file_name_, file_.opset), proto);
  }
}

void Importer::check_operator(const NodeView& node, const ::onnx::NodeProto& proto) const {
  if (is_default_domain(proto) && find_reader(proto.op_type()) != nullptr) return;
  const std::string domain =
      is_default_domain(proto) ? "" : fmt::format(" of domain '{}'", printable(proto.domain()));
  throw InputError(fmt::format("{}: operator {}{} is not supported; supported are {}", node.where(),
                               printable(proto.op_type()), domain, supported_operators()));
}

void Importer::check_initialisers(const ::onnx::GraphProto& graph) {
  if (graph.sparse_initializer_size() > 0) {
    throw InputError(
        fmt::format("{}: sparse initialisers are not supported; export dense weights", file_name_));
  }
  for (const ::onnx::TensorProto& tensor : graph.initializer()) {
    check_tensor(tensor, folder_, fmt::format("{}: initialiser '{}'", file_name_, printable(tensor.name())));
    initialisers_.emplace(tensor.name(), &tensor);
  }
}

void Importer::collect_names(const ::onnx::GraphProto& graph) {
  for (const ::onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) used_names_.insert(input);
    for (const std::string& output : node.output()) tensor_names_.insert(output);
    for (const auto& attribute : node.attribute()) {
      if (attribute.has_g()) collect_names(attribute.g());
    }
  }
  for (const ValueInfoProto& output : graph.output()) used_names_.insert(output.name());
}

bool Importer::is_output_used(const NodeView& node, int index) const {
  return index < node.output_count() && used_names_.contains(node.output(index));
}

/// Channels of an input that declares none: what the first convolution on it expects.
int64_t Importer::guess_input_channels(const std::string& input) const {
  for (const ::onnx::NodeProto& node : proto_.node()) {
    if (node.op_type() != "Conv" || node.input_size() < 2 || node.input(0) != input) continue;
    const auto weight = initialisers_.find(node.input(1));
    if (weight != initialisers_.end() && weight->second->dims_size() == 4) return weight->second->dims(1);
  }
  return kRgb;
}

void Importer::add_graph_input() {
  std::vector<const ValueInfoProto*> inputs;
  for (const ValueInfoProto& input : proto_.input()) {
    if (!initialisers_.contains(input.name())) inputs.push_back(&input);
  }
  if (inputs.size() > 1) {
    std::erase_if(inputs, [&](const auto* input) { return !used_names_.contains(input->name()); });
  }
  if (inputs.size() != 1) {
    std::string names;
    for (const auto* input : inputs) names += (names.empty() ? ": " : ", ") + printable(input->name());
    throw InputError(fmt::format("{}: the graph has {} inputs{}; exactly one, the images, is needed",
                                 file_name_, inputs.size(), names));
  }
  const ValueInfoProto& input = *inputs[0];
  Shape shape = declared_shape(input);
  if (shape.size() != 4) {
    throw InputError(fmt::format("{}: input '{}' has shape {}; images [N, C, H, W] are needed", file_name_,
                                 printable(input.name()), branchsae::to_string(shape)));
  }
  declared_batch_ = shape[0];
  Activation activation;
  activation.value = 0;
  activation.axes = {0, 1, 2, 3};
  if (is_transposed_first(proto_, input.name())) {
    activation.axes = {0, 2, 3, 1};
    shape = {shape[0], shape[3], shape[1], shape[2]};
  }
  shape[0] = kDynamic;
  if (shape[1] == kDynamic) shape[1] = guess_input_channels(input.name());
  for (const int64_t extent : shape) {
    if (extent <= kMaxExtent) continue;
    throw InputError(fmt::format("{}: input '{}' has the absurd shape {}", file_name_,
                                 printable(input.name()), branchsae::to_string(shape)));
  }
  graph_.values.push_back({input.name(), shape});
  graph_.input = 0;
  value_names_.insert(input.name());
  operands_.emplace(input.name(), activation);
}

void Importer::add_graph_outputs() {
  for (const ValueInfoProto& output : proto_.output()) {
    const auto found = operands_.find(output.name());
    if (found == operands_.end() && !initialisers_.contains(output.name())) {
      throw InputError(
          fmt::format("{}: graph output '{}' is written by nothing", file_name_, printable(output.name())));
    }
    if (found == operands_.end()) continue;
    const auto* activation = std::get_if<Activation>(&found->second);
    if (activation != nullptr) add_graph_output(output.name(), *activation);  // constants are no outputs
  }
  if (graph_.outputs.empty()) {
    throw InputError(fmt::format("{}: no output of the graph depends on its input", file_name_));
  }
}

void Importer::add_graph_output(const std::string& name, const Activation& activation) {
  ValueId value = activation.value;
  if (!activation.is_plain()) {
    const auto writes = [&](const ::onnx::NodeProto& node) {
      return std::ranges::find(node.output(), name) != node.output().end();
    };
    const auto writer = std::ranges::find_if(proto_.node(), writes);
    value = materialise(NodeView(*writer, file_name_, file_.opset), activation, name).value;
  }
  if (std::ranges::find(graph_.outputs, value) == graph_.outputs.end()) graph_.outputs.push_back(value);
}

void Importer::convert_node(const ::onnx::NodeProto& proto) {
  const NodeView node(proto, file_name_, file_.opset);
  find_reader(node.op())(*this, node);
}

void Importer::inline_graph(const NodeView& node, const ::onnx::GraphProto& inner) {
  if (inner.output_size() != 1 || node.output_count() != 1)
    node.fail("branches with one output are supported");
  check_initialisers(inner);
  for (const ::onnx::NodeProto& proto : inner.node()) {
    const NodeView inner_node(proto, file_name_, file_.opset);
    check_operator(inner_node, proto);
    if (proto.output_size() == 0 || operands_.contains(proto.output(0))) {
      inner_node.fail("has no output, or one that is written twice");
    }
    convert_node(proto);
  }
  const auto found = operands_.find(inner.output(0).name());
  if (found == operands_.end()) {
    node.fail(
        fmt::format("the branch's output '{}' is written by nothing", printable(inner.output(0).name())));
  }
  const Operand result = found->second;
  std::visit([&](const auto& operand) { bind(node, operand); }, result);
}

const Operand& Importer::operand(const NodeView& node, int index) {
  const std::string& name = node.input(index);
  if (const auto found = operands_.find(name); found != operands_.end()) return found->second;
  const auto tensor = initialisers_.find(name);
  if (tensor == initialisers_.end()) {  // an optional output that its node did not produce
    node.fail(fmt::format("input '{}' is not there, or an output that is not supported", printable(name)));
  }
  const std::string where = fmt::format("{}: initialiser '{}'", file_name_, printable(name));
  return operands_.emplace(name, read_tensor(*tensor->second, folder_, where, budget_)).first->second;
}

bool Importer::is_constant(const NodeView& node, int index) {
  return std::holds_alternative<Constant>(operand(node, index));
}

const Constant& Importer::constant(const NodeView& node, int index) {
  const auto* found = std::get_if<Constant>(&operand(node, index));
  if (found == nullptr) {
    node.fail(fmt::format("input '{}' depends on the images; a constant is needed there",
                          printable(node.input(index))));
  }
  return *found;
}

const Constant& Importer::float_constant(const NodeView& node, int index, const char* role) {
  const Constant& found = constant(node, index);
  if (found.is_integral()) {
    node.fail(fmt::format("{} '{}' holds integers; floating-point numbers are needed", role,
                          printable(node.input(index))));
  }
  return found;
}

std::vector<int64_t> Importer::integer_list(const NodeView& node, int index, const char* role) {
  const Constant& found = constant(node, index);
  if (!found.is_integral() || found.shape.size() > 1) {
    node.fail(fmt::format("{} '{}' of shape {} is not a list of integers", role, printable(node.input(index)),
                          branchsae::to_string(found.shape)));
  }
  std::vector<int64_t> list;
  for (const Extent& extent : found.integers) {
    if (!extent.is_known()) {
      node.fail(fmt::format("{} {} depends on the size of the input", role, to_string(found.integers)));
    }
    list.push_back(extent.value);
  }
  return list;
}

const Activation& Importer::activation(const NodeView& node, int index) {
  const auto* found = std::get_if<Activation>(&operand(node, index));
  if (found == nullptr) {
    node.fail(
        fmt::format("input '{}' is a constant, which is not supported there", printable(node.input(index))));
  }
  return *found;
}

bool Importer::is_lrn_denominator(const NodeView& node, int index) {
  const Activation& found = activation(node, index);
  return found.lrn && !found.lrn->is_square();
}

Activation Importer::elementwise_input(const NodeView& node, int index) {
  const Activation& found = activation(node, index);
  if (found.is_plain()) return found;
  Activation made = materialise(node, found, node.input(index));
  operands_[node.input(index)] = made;
  return made;
}

ValueId Importer::nchw_input(const NodeView& node, int index) {
  const Activation found = elementwise_input(node, index);
  if (found.axes == std::vector<int>{0, 1, 2, 3} && shape(found.value).size() == 4) return found.value;
  node.fail(fmt::format(
      "input '{}' of shape {} is not in the order [N, C, H, W]; {}", printable(node.input(index)),
      to_string(extents(found)),
      found.rank() == 4 ? "export the network in that order" : "only two-dimensional images are supported"));
}

ValueId Importer::matrix_input(const NodeView& node, int index) {
  const Activation found = elementwise_input(node, index);
  if (found.axes == std::vector<int>{0, 1} && shape(found.value).size() == 2) return found.value;
  node.fail(fmt::format("input '{}' has shape {}; [N, features] is needed, so flatten it first",
                        printable(node.input(index)), to_string(extents(found))));
}

/// Values that differ only by elementwise operators share their open sizes.
Extent Importer::open_extent(ValueId value, int axis) const {
  const auto owner = grid_owner_.find(value);
  return Extent::open(int64_t{4} * (owner == grid_owner_.end() ? value : owner->second) + axis);
}

std::vector<Extent> Importer::extents(const Activation& activation) const {
  const Shape& logical = shape(activation.value);
  std::vector<Extent> result;
  for (const int axis : activation.axes) {
    if (axis == kAddedAxis) {
      result.push_back(Extent::known(1));
    } else if (axis == 0) {
      result.push_back(Extent::batch());
    } else if (axis == 1 && activation.is_selection) {
      result.push_back(Extent::known(static_cast<int64_t>(activation.terms.size())));
    } else if (axis == 1 && activation.lrn && activation.lrn->size == 0) {
      result.push_back(Extent::known(logical.at(1) + activation.lrn->pad_begin + activation.lrn->pad_end));
    } else {
      const int64_t extent = logical.at(static_cast<size_t>(axis));
      result.push_back(extent == kDynamic ? open_extent(activation.value, axis) : Extent::known(extent));
    }
  }
  return result;
}

std::string Importer::synthetic_name(const std::string& base) const {
  std::string name = base;
  while (value_names_.contains(name) || tensor_names_.contains(name) || initialisers_.contains(name))
    name += "'";
  return name;
}

ValueId Importer::emit(const NodeView& node, Op op, std::vector<ValueId> inputs, const std::string& output,
                       Shape shape) {
  for (const int64_t extent : shape) {
    if (shape.size() == 4 && extent > kMaxExtent) {
      node.fail(fmt::format("its output has the absurd shape {}", branchsae::to_string(shape)));
    }
  }
  // What a node holds for each channel (bias, scale) is bounded, too.
  if (shape.size() >= 2) budget_.spend(std::max<int64_t>(shape[1], 0), 2 * sizeof(float), node.where());
  const auto id = static_cast<ValueId>(graph_.values.size());
  if (keeps_grid(op)) {
    const auto owner = grid_owner_.find(inputs[0]);
    grid_owner_.emplace(id, owner == grid_owner_.end() ? inputs[0] : owner->second);
  }
  value_names_.insert(output);
  graph_.values.push_back({output, std::move(shape)});
  graph_.nodes.push_back({node.name(), std::move(op), std::move(inputs), id});
  return id;
}

void Importer::emit_output(const NodeView& node, Op op, std::vector<ValueId> inputs, Shape shape) {
  const ValueId id = emit(node, std::move(op), std::move(inputs), node.output(), std::move(shape));
  bind(node, plain(id, this->shape(id)));
}

void Importer::bind(const NodeView& node, Constant constant, int index) {
  budget_.spend(static_cast<int64_t>(constant.integers.size()), sizeof(Extent), node.where());
  operands_.insert_or_assign(node.output(index), Operand(std::move(constant)));
}

void Importer::bind(const NodeView& node, Activation activation, int index) {
  const std::string& name = node.output(index);
  budget_.spend(static_cast<int64_t>(activation.terms.size()), sizeof(ChannelTerm), node.where());
  if (activation.is_plain() && graph_.value(activation.value).name != name) {
    graph_.aliases.emplace(name, activation.value);
  }
  operands_.insert_or_assign(name, Operand(std::move(activation)));
}

}  // namespace branchsae::loader
