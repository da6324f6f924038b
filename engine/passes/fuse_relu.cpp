#include <cfloat>

#include "engine/passes.h"
#include "engine/passes/rewriter.h"

namespace branchsae {
namespace {

/// Relu itself, and a clip that only clips below.
bool is_relu(const Op& op) {
  if (const auto* clip = std::get_if<ClipOp>(&op)) return clip->min == 0.0F && clip->max >= FLT_MAX;
  return std::holds_alternative<ReluOp>(op);
}

/// Null when this op has no fused ReLU.
bool* fused_relu(Op& op) {
  if (auto* conv = std::get_if<ConvOp>(&op)) return &conv->relu;
  if (auto* linear = std::get_if<LinearOp>(&op)) return &linear->relu;
  return nullptr;
}

}  // namespace

Graph fuse_relu(Graph graph, const std::vector<ValueId>& keep) {
  engine::Rewriter rewriter(std::move(graph), keep);
  for (size_t i = 0; i < rewriter.size(); ++i) {
    const int writer = rewriter.writer_of_input(i);
    if (!is_relu(rewriter.node(i).op) || writer < 0) continue;
    bool* relu = fused_relu(rewriter.node(static_cast<size_t>(writer)).op);
    if (relu == nullptr || !rewriter.is_private(rewriter.node(i).inputs.front())) continue;
    *relu = true;
    rewriter.merge(static_cast<size_t>(writer), i);
  }
  return rewriter.take();
}

}  // namespace branchsae
