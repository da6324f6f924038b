#pragma once
/// The operators that this loader reads, one function each; find_reader() has the table.
#include "loader/onnx_import.h"

namespace branchsae::loader {

// onnx_read_window.cpp
void read_conv(Importer& importer, const NodeView& node);
void read_max_pool(Importer& importer, const NodeView& node);
void read_average_pool(Importer& importer, const NodeView& node);
void read_global_average_pool(Importer& importer, const NodeView& node);
void read_reduce_mean(Importer& importer, const NodeView& node);
void read_pad(Importer& importer, const NodeView& node);

// onnx_read_channel.cpp
void read_relu(Importer& importer, const NodeView& node);
void read_clip(Importer& importer, const NodeView& node);
void read_lrn(Importer& importer, const NodeView& node);
void read_softmax(Importer& importer, const NodeView& node);
void read_batch_normalization(Importer& importer, const NodeView& node);
void read_concat(Importer& importer, const NodeView& node);

// onnx_read_arithmetic.cpp
void read_add(Importer& importer, const NodeView& node);
void read_sub(Importer& importer, const NodeView& node);
void read_mul(Importer& importer, const NodeView& node);
void read_div(Importer& importer, const NodeView& node);
void read_sum(Importer& importer, const NodeView& node);

// onnx_read_linear.cpp
void read_gemm(Importer& importer, const NodeView& node);
void read_mat_mul(Importer& importer, const NodeView& node);

// onnx_read_constant.cpp
void read_constant(Importer& importer, const NodeView& node);
void read_constant_of_shape(Importer& importer, const NodeView& node);
void read_shape(Importer& importer, const NodeView& node);
void read_cast(Importer& importer, const NodeView& node);

// onnx_read_shape.cpp
void read_identity(Importer& importer, const NodeView& node);
void read_dropout(Importer& importer, const NodeView& node);
void read_flatten(Importer& importer, const NodeView& node);
void read_reshape(Importer& importer, const NodeView& node);
void read_transpose(Importer& importer, const NodeView& node);
void read_squeeze(Importer& importer, const NodeView& node);
void read_unsqueeze(Importer& importer, const NodeView& node);

// onnx_read_select.cpp
void read_gather(Importer& importer, const NodeView& node);
void read_slice(Importer& importer, const NodeView& node);

}  // namespace branchsae::loader
