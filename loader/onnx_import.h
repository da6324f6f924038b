#pragma once
/// State while ONNX nodes become graph nodes: what each tensor name stands for, and the graph so far.
#include <onnx/onnx_pb.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "engine/graph.h"
#include "loader/onnx_constant.h"
#include "loader/onnx_file.h"
#include "loader/onnx_node.h"

namespace branchsae::loader {

/// One channel of a selection: scale * source[channel] + shift.
struct ChannelTerm {
  int64_t channel = 0;
  double scale = 1, shift = 0;
};

/// A logical axis of a graph value (0 N, 1 C, 2 H, 3 W), or an axis of extent 1 that it does not have.
inline constexpr int kAddedAxis = -1;

/// A step on the way to local response normalisation where a file spells it out: PyTorch exports
/// (scale * mean over channels of x^2 + shift)^power, by which x is divided. The value is x.
struct LrnDenominator {
  int64_t pad_begin = 0, pad_end = 0;  ///< zero channels added before the mean
  int64_t size = 0;                    ///< channels under the mean; 0 before it
  double scale = 1, shift = 0;
  double power = 1;
  bool has_power = false;

  /// Nothing but x^2 so far: may still turn out to be a product and no more.
  bool is_square() const { return size == 0 && pad_begin == 0 && pad_end == 0; }
};

/// A tensor that depends on the input, as the ONNX file sees it: a graph value under an order of axes
/// (Transpose, Squeeze and Unsqueeze only change that). Two kinds are no tensor yet but become a node once it
/// is clear which: channels picked and scaled one by one (torchvision's input arithmetic), and the
/// denominator of LRN.
struct Activation {
  ValueId value = kNoValue;
  std::vector<int> axes;      ///< ONNX axis -> logical axis; logical axes of extent 1 may be missing
  bool is_selection = false;  ///< `terms` are its channels; else all of the value's
  std::vector<ChannelTerm> terms;
  std::optional<LrnDenominator> lrn;

  int rank() const { return static_cast<int>(axes.size()); }
  bool is_plain() const { return !is_selection && !lrn; }
};

using Operand = std::variant<Constant, Activation>;

class Importer {
 public:
  Importer(const OnnxFile& file, int64_t max_constant_bytes);
  Graph run();

  // ---- What an operator's reader asks for; all throw InputError naming the node.

  /// The operand at an input; decodes an initialiser on first use.
  const Operand& operand(const NodeView& node, int index);
  bool is_constant(const NodeView& node, int index);
  const Constant& constant(const NodeView& node, int index);
  /// A constant of floats; `role` names it in errors ("weight").
  const Constant& float_constant(const NodeView& node, int index, const char* role);
  /// A constant of integers, all known, of rank 0 or 1.
  std::vector<int64_t> integer_list(const NodeView& node, int index, const char* role);
  const Activation& activation(const NodeView& node, int index);
  /// True inside a spelled-out LRN, beyond the square.
  bool is_lrn_denominator(const NodeView& node, int index);
  /// Any order of axes, no pending selection: what elementwise operators need.
  Activation elementwise_input(const NodeView& node, int index);
  /// A value in the order [N, C, H, W].
  ValueId nchw_input(const NodeView& node, int index);
  /// A value of shape [N, C].
  ValueId matrix_input(const NodeView& node, int index);

  /// Extents as the ONNX file sees them.
  std::vector<Extent> extents(const Activation& activation) const;
  const Shape& shape(ValueId value) const { return graph_.value(value).shape; }
  /// The batch size that the file's input declares; kDynamic when it declares none.
  int64_t declared_batch() const { return declared_batch_; }
  MemoryBudget& budget() { return budget_; }
  const std::filesystem::path& folder() const { return folder_; }
  /// True when a node or the graph's outputs read this output of the node.
  bool is_output_used(const NodeView& node, int index) const;

  // ---- What it produces.

  /// A name for a value that the file does not have: `base`, made different from every tensor's.
  std::string synthetic_name(const std::string& base) const;
  /// Adds a node whose output is called `output`: a tensor's name in the file, or a synthetic one.
  ValueId emit(const NodeView& node, Op op, std::vector<ValueId> inputs, const std::string& output,
               Shape shape);
  /// emit() for the node's first output, in the order [N, C, H, W] or [N, C].
  void emit_output(const NodeView& node, Op op, std::vector<ValueId> inputs, Shape shape);
  /// Lets the node's output `index` stand for a constant or an activation.
  void bind(const NodeView& node, Constant constant, int index = 0);
  void bind(const NodeView& node, Activation activation, int index = 0);
  /// Binds the first output to an activation whose axes changed, in its simplest form: added axes take the
  /// place of missing ones, and [N, C, 1, 1] seen through axes {N, C} becomes a Flatten.
  void bind_view(const NodeView& node, Activation activation);
  /// Reads the nodes of a graph inside `node` (a branch of If); its only output is bound to the node's.
  void inline_graph(const NodeView& node, const ::onnx::GraphProto& inner);
  /// Turns a selection into an Affine, a 1x1 Conv or nothing, and a square into a product. Throws for what
  /// is inside a local response normalisation.
  Activation materialise(const NodeView& node, const Activation& pending, const std::string& name);

 private:
  void check_initialisers(const ::onnx::GraphProto& graph);
  void add_graph_input();
  void add_graph_outputs();
  void add_graph_output(const std::string& name, const Activation& activation);
  void collect_names(const ::onnx::GraphProto& graph);
  void convert_node(const ::onnx::NodeProto& proto);
  void check_operators() const;
  void check_operator(const NodeView& node, const ::onnx::NodeProto& proto) const;
  Extent open_extent(ValueId value, int axis) const;
  int64_t guess_input_channels(const std::string& input) const;

  const OnnxFile& file_;
  const ::onnx::GraphProto& proto_;
  std::string file_name_;
  std::filesystem::path folder_;
  MemoryBudget budget_;
  Graph graph_;
  int64_t declared_batch_ = kDynamic;
  std::unordered_map<std::string, const ::onnx::TensorProto*> initialisers_;
  std::unordered_map<std::string, Operand> operands_;
  std::unordered_map<ValueId, ValueId> grid_owner_;      ///< value -> the first one with the same H and W
  std::unordered_map<ValueId, ValueId> flatten_source_;  ///< output of a Flatten of [N, C, 1, 1] -> its input
  std::unordered_set<std::string> value_names_;
  std::unordered_set<std::string_view> tensor_names_;  ///< written in the file
  std::unordered_set<std::string_view> used_names_;    ///< read in the file
};

/// Reads one ONNX node into the importer.
using Reader = void (*)(Importer&, const NodeView&);
/// nullptr when the operator is not supported.
Reader find_reader(std::string_view op);
/// "Add, AveragePool, ..."
std::string supported_operators();

/// [C] float tensor.
ConstTensor make_vector(const std::vector<double>& values);
Activation plain(ValueId value, const Shape& shape);

}  // namespace branchsae::loader
