#pragma once
/// The order in which a graph's nodes can be read.
#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

namespace branchsae::loader {

/// Indices into graph.node() such that every node follows what it reads; the file's own order where that is
/// already so, as ONNX demands.
/// Throws InputError naming file, nodes and tensors: a name written twice, a tensor that nothing writes, a
/// node without output, a cycle, a name that is not UTF-8.
std::vector<int> node_order(const ::onnx::GraphProto& graph, const std::string& file);

}  // namespace branchsae::loader
