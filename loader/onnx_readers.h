#pragma once
/// The operators that this loader reads, one function each; find_reader() has the table.
#include "loader/onnx_fold.h"
#include "loader/onnx_import.h"

namespace branchsae::loader {

// onnx_read_window.cpp
void read_conv(Importer& importer, const NodeView& node);
void read_max_pool(Importer& importer, const NodeView& node);
void read_average_pool(Importer& importer, const NodeView& node);
void read_global_average_pool(Importer& importer, const NodeView& node);
void read_reduce_mean(Importer& importer, const NodeView& node);

// onnx_read_pad.cpp
void read_pad(Importer& importer, const NodeView& node);

// onnx_read_lrn.cpp
void read_pow(Importer& importer, const NodeView& node);
/// The first output is this activation's square.
void bind_square(Importer& importer, const NodeView& node, Activation root);
/// Average pooling over channels of a square; false when the node is something else.
bool read_lrn_mean(Importer& importer, const NodeView& node);
/// Arithmetic of a constant with the input at `activation_index`, whose Activation::lrn is set.
void scale_lrn_denominator(Importer& importer, const NodeView& node, Arithmetic kind, int activation_index);
/// Div whose second input's Activation::lrn is set.
void divide_by_lrn_denominator(Importer& importer, const NodeView& node);

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
/// `term` (kind) value, or the reverse: still scale * x + shift.
ChannelTerm scale_term(const NodeView& node, Arithmetic kind, ChannelTerm term, double value,
                       bool is_reversed);

// onnx_read_linear.cpp
void read_gemm(Importer& importer, const NodeView& node);
void read_mat_mul(Importer& importer, const NodeView& node);

// onnx_read_constant.cpp
void read_constant(Importer& importer, const NodeView& node);
void read_constant_of_shape(Importer& importer, const NodeView& node);
void read_shape(Importer& importer, const NodeView& node);
void read_cast(Importer& importer, const NodeView& node);
void read_equal(Importer& importer, const NodeView& node);
void read_if(Importer& importer, const NodeView& node);

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
