#include "engine/passes/rewriter.h"

#include <algorithm>
#include <utility>

#include "engine/validate.h"

namespace branchsae::engine {

Rewriter::Rewriter(Graph graph, const std::vector<ValueId>& keep)
    : graph_(std::move(graph)),
      alive_(graph_.nodes.size(), true),
      kept_(graph_.values.size(), false),
      writers_(graph_.values.size(), -1),
      readers_(graph_.values.size()) {
  validate(graph_);
  for (const std::vector<ValueId>* ids : {&keep, &std::as_const(graph_.outputs)}) {
    for (const ValueId id : *ids) kept_.at(static_cast<size_t>(id)) = true;
  }
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    writers_[static_cast<size_t>(graph_.nodes[i].output)] = static_cast<int>(i);
    for (const ValueId id : graph_.nodes[i].inputs) {
      readers_[static_cast<size_t>(id)].push_back(static_cast<int>(i));
    }
  }
}

void Rewriter::merge(size_t first, size_t second) {
  const auto between = static_cast<size_t>(node(first).output);
  const ValueId output = node(second).output;
  readers_[between].clear();
  writers_[between] = -1;
  writers_[static_cast<size_t>(output)] = static_cast<int>(first);
  node(first).output = output;
  alive_[second] = false;
}

void Rewriter::bypass(size_t reader, size_t skipped) {
  const ValueId from = node(skipped).output;
  const ValueId to = node(skipped).inputs.front();
  std::ranges::replace(node(reader).inputs, from, to);
  std::vector<int>& old_readers = readers_[static_cast<size_t>(from)];
  std::vector<int>& new_readers = readers_[static_cast<size_t>(to)];
  const auto moved = std::erase(old_readers, static_cast<int>(reader));
  new_readers.insert(new_readers.end(), moved, static_cast<int>(reader));
  if (old_readers.empty() && !kept_[static_cast<size_t>(from)]) {
    alive_[skipped] = false;
    std::erase(new_readers, static_cast<int>(skipped));
  }
}

Graph Rewriter::take() {
  std::vector<Node> nodes;
  nodes.reserve(graph_.nodes.size());
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (alive_[i]) nodes.push_back(std::move(graph_.nodes[i]));
  }
  graph_.nodes = std::move(nodes);
  return std::move(graph_);
}

}  // namespace branchsae::engine
