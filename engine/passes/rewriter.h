#pragma once
/// Editing a graph in place: who writes and who reads a value, kept up to date while nodes merge.
#include <vector>

#include "engine/graph.h"

namespace branchsae::engine {

/// One pass over one graph. Node positions are stable until take(); merged nodes are skipped by alive().
class Rewriter {
 public:
  /// Values in `keep` and the graph's outputs survive. Throws InputError when the graph is not valid.
  Rewriter(Graph graph, const std::vector<ValueId>& keep);

  size_t size() const { return graph_.nodes.size(); }
  bool alive(size_t node) const { return alive_[node]; }
  Node& node(size_t index) { return graph_.nodes[index]; }
  /// Of a node's first (mostly only) input; -1 for the network's input.
  int writer_of_input(size_t node) const { return writer(graph_.nodes[node].inputs.front()); }
  int writer(ValueId id) const { return writers_[static_cast<size_t>(id)]; }
  /// Node positions, one entry per reading input slot.
  std::vector<int> readers(ValueId id) const { return readers_[static_cast<size_t>(id)]; }
  /// Whether one node alone reads the value and nobody asked for it: it may vanish.
  bool is_private(ValueId id) const { return !kept_[static_cast<size_t>(id)] && readers(id).size() == 1; }

  /// `second` reads only what `first` writes and its work has been moved there: `first` now writes second's
  /// output. The value between them must be private.
  void merge(size_t first, size_t second);
  /// `reader` reads what `node` reads instead of what it writes; `node` dies when nobody is left who wants
  /// it.
  void bypass(size_t reader, size_t node);

  /// The graph without its dead nodes.
  Graph take();

 private:
  Graph graph_;
  std::vector<bool> alive_, kept_;
  std::vector<int> writers_;
  std::vector<std::vector<int>> readers_;
};

}  // namespace branchsae::engine
