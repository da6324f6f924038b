#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/passes.h"

namespace branchsae {
namespace {

/// Of a block only what lies behind the new input, itself included, can still be named.
void drop_blocks_before(Graph& graph) {
  std::vector<bool> written(graph.values.size(), false);
  written[static_cast<size_t>(graph.input)] = true;
  for (const Node& node : graph.nodes) written[static_cast<size_t>(node.output)] = true;
  const auto is_gone = [&](ValueId id) { return id != kNoValue && !written[static_cast<size_t>(id)]; };
  std::erase_if(graph.blocks, [&](const Block& block) {
    return is_gone(block.value) ||
           std::ranges::any_of(block.branches, [&](const Branch& b) { return is_gone(b.value); });
  });
}

}  // namespace

Graph resume_at(Graph graph, ValueId start, const std::vector<ValueId>& wanted) {
  if (start < 0 || static_cast<size_t>(start) >= graph.values.size())
    throw InputError(fmt::format("value {} is no value of the graph", start));
  // Without its writer, `start` is an input; what is needed then and written by nobody is a way around it.
  std::erase_if(graph.nodes, [start](const Node& node) { return node.output == start; });
  const ValueId old_input = graph.input;
  graph.input = start;
  graph = prune(std::move(graph), wanted);
  for (const Node& node : graph.nodes) {
    const bool around = start != old_input && std::ranges::find(node.inputs, old_input) != node.inputs.end();
    if (!around) continue;
    throw InputError(fmt::format(
        "the network cannot go on from '{}' alone: '{}' comes from the input by another way; replace a whole "
        "layer",
        graph.value(start).name, graph.value(node.output).name));
  }
  drop_blocks_before(graph);
  if (start != old_input) graph.preprocess.reset();
  return graph;
}

}  // namespace branchsae
