// Fully connected layers: Gemm and MatMul with constant weights.
#include <fmt/format.h>

#include <cmath>

#include "loader/onnx_fold.h"
#include "loader/onnx_readers.h"

namespace branchsae::loader {

namespace {

void check_fits(const NodeView& node, int64_t features, const Shape& weight, int64_t inputs) {
  if (features == kDynamic || features == inputs) return;  // an unknown size is checked by the engine
  node.fail(fmt::format("weight of shape {} takes {} features, the input has {}",
                        branchsae::to_string(weight), inputs, features));
}

/// The weight as [O, I], whichever way the file has it.
ConstTensor weight_rows(Importer& importer, const NodeView& node, const Constant& weight, bool is_rows) {
  if (is_rows) return weight.floats;
  const std::vector<int64_t> swapped{1, 0};
  return fold_transpose(node, weight, swapped, importer.budget()).floats;
}

const Constant& matrix_weight(Importer& importer, const NodeView& node) {
  const Constant& weight = importer.float_constant(node, 1, "weight");
  if (weight.shape.size() != 2 || weight.shape[0] < 1 || weight.shape[1] < 1) {
    node.fail(fmt::format("weight of shape {} is not a matrix", branchsae::to_string(weight.shape)));
  }
  return weight;
}

ConstTensor scaled(Importer& importer, const NodeView& node, const ConstTensor& weight, float factor) {
  if (factor == 1.0F) return weight;
  importer.budget().spend(weight->size(), 4, node.where() + ": the scaled weight");
  auto result = std::make_shared<HostTensor>(weight->clone());
  for (float& value : result->values()) value *= factor;
  return result;
}

/// C of Gemm, broadcast over the batch to [O].
ConstTensor gemm_bias(Importer& importer, const NodeView& node, int64_t outputs, float beta) {
  std::vector<double> bias(static_cast<size_t>(outputs), 0.0);
  if (node.has_input(2) && beta != 0) {
    const Constant& added = importer.float_constant(node, 2, "bias");
    const int64_t last = added.shape.empty() ? 1 : added.shape.back();
    if (added.size() != last || (last != 1 && last != outputs)) {
      node.fail(fmt::format("bias of shape {} does not fit {} outputs", branchsae::to_string(added.shape),
                            outputs));
    }
    for (int64_t o = 0; o < outputs; ++o) {
      bias[static_cast<size_t>(o)] = static_cast<double>(beta) * (*added.floats)[last == 1 ? 0 : o];
    }
  }
  return make_vector(bias);
}

}  // namespace

void read_gemm(Importer& importer, const NodeView& node) {
  if (node.integer("transA", 0) != 0) node.fail("transA is set: the batch would be multiplied away");
  const ValueId input = importer.matrix_input(node, 0);
  const Constant& weight = matrix_weight(importer, node);
  const bool is_rows = node.integer("transB", 0) != 0;
  const int64_t outputs = weight.shape[is_rows ? 0 : 1];
  check_fits(node, importer.shape(input)[1], weight.shape, weight.shape[is_rows ? 1 : 0]);
  LinearOp linear;
  linear.weight =
      scaled(importer, node, weight_rows(importer, node, weight, is_rows), node.real("alpha", 1.0F));
  linear.bias = gemm_bias(importer, node, outputs, node.real("beta", 1.0F));
  importer.emit_output(node, std::move(linear), {input}, {kDynamic, outputs});
}

void read_mat_mul(Importer& importer, const NodeView& node) {
  const ValueId input = importer.matrix_input(node, 0);
  const Constant& weight = matrix_weight(importer, node);
  check_fits(node, importer.shape(input)[1], weight.shape, weight.shape[0]);
  LinearOp linear;
  linear.weight = weight_rows(importer, node, weight, false);
  linear.bias = std::make_shared<HostTensor>(Shape{weight.shape[1]});
  importer.emit_output(node, std::move(linear), {input}, {kDynamic, weight.shape[1]});
}

}  // namespace branchsae::loader
