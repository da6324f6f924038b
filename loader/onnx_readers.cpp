#include "loader/onnx_readers.h"

#include <map>

namespace branchsae::loader {

namespace {

const std::map<std::string_view, Reader>& readers() {
  static const std::map<std::string_view, Reader> table = {
      {"Add", read_add},
      {"AveragePool", read_average_pool},
      {"BatchNormalization", read_batch_normalization},
      {"Cast", read_cast},
      {"Clip", read_clip},
      {"Concat", read_concat},
      {"Constant", read_constant},
      {"ConstantOfShape", read_constant_of_shape},
      {"Conv", read_conv},
      {"Div", read_div},
      {"Dropout", read_dropout},
      {"Equal", read_equal},
      {"Flatten", read_flatten},
      {"Gather", read_gather},
      {"Gemm", read_gemm},
      {"GlobalAveragePool", read_global_average_pool},
      {"Identity", read_identity},
      {"If", read_if},
      {"LRN", read_lrn},
      {"MatMul", read_mat_mul},
      {"MaxPool", read_max_pool},
      {"Mul", read_mul},
      {"Pad", read_pad},
      {"Pow", read_pow},
      {"ReduceMean", read_reduce_mean},
      {"Relu", read_relu},
      {"Reshape", read_reshape},
      {"Shape", read_shape},
      {"Slice", read_slice},
      {"Softmax", read_softmax},
      {"Squeeze", read_squeeze},
      {"Sub", read_sub},
      {"Sum", read_sum},
      {"Transpose", read_transpose},
      {"Unsqueeze", read_unsqueeze},
  };
  return table;
}

}  // namespace

Reader find_reader(std::string_view op) {
  const auto found = readers().find(op);
  return found == readers().end() ? nullptr : found->second;
}

std::string supported_operators() {
  std::string names;
  for (const auto& [name, reader] : readers()) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

}  // namespace branchsae::loader
