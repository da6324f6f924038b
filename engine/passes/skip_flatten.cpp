#include "engine/passes.h"
#include "engine/passes/rewriter.h"

namespace branchsae {

Graph skip_flatten(Graph graph, const std::vector<ValueId>& keep) {
  engine::Rewriter rewriter(std::move(graph), keep);
  for (size_t i = 0; i < rewriter.size(); ++i) {
    if (!std::holds_alternative<FlattenOp>(rewriter.node(i).op)) continue;
    for (const int reader : rewriter.readers(rewriter.node(i).output)) {
      const auto r = static_cast<size_t>(reader);
      const Op& op = rewriter.node(r).op;
      if (std::holds_alternative<LinearOp>(op) || std::holds_alternative<FlattenOp>(op))
        rewriter.bypass(r, i);
    }
  }
  return rewriter.take();
}

}  // namespace branchsae
