#include <fmt/format.h>

#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae {

Graph prune(Graph graph, const std::vector<ValueId>& wanted) {
  std::vector<bool> needed(graph.values.size(), false);
  for (const ValueId id : wanted) {
    if (id < 0 || static_cast<size_t>(id) >= needed.size()) {
      throw InputError(fmt::format("value {} is wanted but the graph has only {}", id, needed.size()));
    }
    needed[static_cast<size_t>(id)] = true;
  }
  std::vector<Node> nodes;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (!needed.at(static_cast<size_t>(node->output))) continue;
    for (const ValueId id : node->inputs) needed.at(static_cast<size_t>(id)) = true;
    nodes.push_back(std::move(*node));
  }
  graph.nodes.assign(std::make_move_iterator(nodes.rbegin()), std::make_move_iterator(nodes.rend()));
  std::vector<bool> listed(graph.values.size(), false);
  graph.outputs.clear();
  for (const ValueId id : wanted) {
    if (!listed[static_cast<size_t>(id)]) graph.outputs.push_back(id);
    listed[static_cast<size_t>(id)] = true;
  }
  return graph;
}

Graph optimise(Graph graph, const std::vector<ValueId>& wanted) {
  graph = prune(std::move(graph), wanted);
  graph = skip_flatten(std::move(graph), wanted);
  graph = fold_affine(std::move(graph), wanted);
  graph = fold_pads(std::move(graph), wanted);
  return fuse_relu(std::move(graph), wanted);
}

}  // namespace branchsae
