#pragma once
/// The network as a typed graph: what is computed, not in which layout. Loaders make it, passes.h rewrites
/// it, backends compile it. Logical shapes are NCHW ([N, C, H, W]) or [N, C]; N, H, W may be kDynamic.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/host_tensor.h"
#include "engine/preprocess.h"

namespace branchsae {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

/// Auto-padding of ONNX: pads follow from the input's size.
enum class AutoPad { kNone, kSameUpper, kSameLower };

/// A sliding window over H and W; index 0 is H, 1 is W.
struct Window {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 2> dilation{1, 1};
  std::array<int64_t, 2> pad_begin{0, 0};
  std::array<int64_t, 2> pad_end{0, 0};
  AutoPad auto_pad = AutoPad::kNone;
};

/// dst = weight * src + bias, then ReLU when fused. weight [O, I/groups, KH, KW], bias [O].
struct ConvOp {
  ConstTensor weight, bias;
  Window window;
  int64_t groups = 1;
  bool relu = false;
};
/// Padding never wins a maximum (it is -inf).
struct MaxPoolOp {
  Window window;
  bool ceil_mode = false;
};
struct AveragePoolOp {
  Window window;
  bool ceil_mode = false;
  bool count_include_pad = false;
};
/// Mean over H and W: [N, C, H, W] -> [N, C, 1, 1].
struct GlobalAveragePoolOp {};
/// Across channels, ONNX's formula: dst = src / (bias + alpha / size * sum of src^2 over `size`
/// channels)^beta.
struct LrnOp {
  int64_t size = 5;
  float alpha = 1e-4F, beta = 0.75F, bias = 1.0F;
};
/// Along channels (axis 1).
struct ConcatOp {};
/// dst = weight * flatten(src) + bias, flattened in NCHW order. weight [O, I], bias [O].
struct LinearOp {
  ConstTensor weight, bias;
  bool relu = false;
};
/// Per channel: dst = scale[c] * src + shift[c]. Batch normalisation that could not be folded, input
/// arithmetic.
struct AffineOp {
  ConstTensor scale, shift;
};
struct ReluOp {};
struct ClipOp {
  float min, max;
};
/// Over channels (axis 1) of [N, C] or [N, C, 1, 1].
struct SoftmaxOp {};
/// [N, C, H, W] -> [N, C*H*W], NCHW order.
struct FlattenOp {};
/// Constant padding of H and W that could not be folded into its reader.
struct PadOp {
  std::array<int64_t, 2> begin{0, 0}, end{0, 0};
  float value = 0.0F;
};
/// Elementwise on two tensors of equal shape.
struct BinaryOp {
  enum class Kind { kAdd, kSub, kMul, kDiv } kind;
};

using Op = std::variant<ConvOp, MaxPoolOp, AveragePoolOp, GlobalAveragePoolOp, LrnOp, ConcatOp, LinearOp,
                        AffineOp, ReluOp, ClipOp, SoftmaxOp, FlattenOp, PadOp, BinaryOp>;

/// "Conv", "MaxPool", ...
const char* op_name(const Op& op);

struct Node {
  std::string name;  ///< the ONNX node's, else its output's
  Op op;
  std::vector<ValueId> inputs;
  ValueId output = kNoValue;
};

struct Value {
  std::string name;  ///< the ONNX tensor's
  Shape shape;       ///< logical NCHW or NC
};

/// One of a block's parallel paths: a channel range of the block's concat.
struct Branch {
  std::string name;    ///< "1x1", "3x3", "5x5", "pool" by place; "branch5" ... beyond four
  int64_t begin = 0;   ///< first channel inside the layer
  int64_t end = 0;     ///< one past the last
  std::string kernel;  ///< the real one, as printed: "1x1", "3x3", "max 3x3 + 1x1"
  /// The branch's output (after ReLU), input of the concat; the block's value where one ReLU follows the
  /// concat, and pre_value then is the concat's output: of both the branch is channels [begin, end).
  ValueId value = kNoValue;
  ValueId pre_value = kNoValue;  ///< before its ReLU; kNoValue when there is none
};

/// An inception block, recognised from the graph's structure (model/inception.h).
struct Block {
  std::string name;          ///< "mixed4c"; "block3" when the names carry no number and there are not nine
  ValueId value = kNoValue;  ///< the concat's output, after the ReLU that may follow it
  std::vector<Branch> branches;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;  ///< in topological order
  ValueId input = kNoValue;
  std::vector<ValueId> outputs;
  /// Further names of values: tensors whose node changed nothing and was dropped (Dropout, Identity, Cast).
  std::map<std::string, ValueId, std::less<>> aliases;
  std::vector<Block> blocks;             ///< in order from input to output
  std::optional<Preprocess> preprocess;  ///< how pixels become the input; unset when undecided
  std::string preprocess_reason;  ///< why it was chosen, or why it is undecided: printed by the commands
  std::string source;             ///< file it came from, for messages
  std::string sha256;             ///< of that file

  const Value& value(ValueId id) const { return values.at(static_cast<size_t>(id)); }
  /// The value of this name or alias; kNoValue when there is none.
  ValueId find_value(std::string_view name) const;
  /// Index into nodes of the one that writes `id`; -1 for the input.
  int producer(ValueId id) const;
  /// Indices into nodes of those that read `id`.
  std::vector<int> consumers(ValueId id) const;
};

}  // namespace branchsae
