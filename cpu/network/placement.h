#pragma once
/// Where every value of the graph lives: its layout, its buffer, and whether it lies inside another value.
#include <map>
#include <vector>

#include "cpu/network/layer.h"
#include "engine/network.h"

namespace branchsae::cpu {

class Placement {
 public:
  /// graph: optimised; must outlive this. Adds a buffer to the plan for every value that needs one.
  Placement(const Graph& graph, const NetworkOptions& options, int64_t images, MemoryPlan& plan);

  /// Of every value, for one chunk.
  const std::vector<Shape>& shapes() const { return shapes_; }
  const Slot& slot(ValueId value) const { return slots_.at(value); }
  /// A dense temporary of the same logical shape.
  Slot fresh(Layout layout, int64_t block);
  /// Whether this input of a concat is a slice of its output already.
  bool written_in_place(const Node& concat, size_t input) const;

 private:
  void choose_layouts();
  bool stays_plain(const Node& node) const;
  void place(ValueId value);
  const Node* concat_that_takes(ValueId value) const;

  const Graph& graph_;
  const NetworkOptions& options_;
  int64_t images_;
  MemoryPlan& plan_;
  std::vector<Shape> shapes_;
  std::map<ValueId, std::vector<const Node*>> concats_;  ///< that read the value
  std::map<ValueId, Layout> layouts_;
  std::map<ValueId, Slot> slots_;
};

}  // namespace branchsae::cpu
