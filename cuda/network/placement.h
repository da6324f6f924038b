#pragma once
/// Where every value of the graph lives: its layout, its buffer, whether it lies inside another value, and
/// which sibling convolutions are computed as one.
#include <map>
#include <vector>

#include "cuda/network/layer.h"
#include "engine/network.h"

namespace branchsae::cuda {

/// In both, sibling 1x1 convolutions of one input become one whose outputs lie side by side, and pools write
/// their branch straight into the concat.
/// kInPlace  so do convolutions; siblings write in front of the concat whose first branch is one of them, and
///           nothing is copied. Needs a library that reads and writes pixels apart from each other.
/// kDense    convolutions write by themselves, one copy joins them in the concat. Siblings are merged where
///           reading their input once saves more than copying the outputs apart costs.
/// kAuto     kInPlace where the library recommends its algorithm for such a problem
enum class Lowering { kAuto, kInPlace, kDense };

/// 1x1 convolutions of one input, in the order of their outputs' channels.
struct ConvSiblings {
  std::vector<const Node*> nodes;
  Slot dst;  ///< all of their outputs; its channels count padding between them
};

class Placement {
 public:
  /// graph: optimised; must outlive this. Adds a buffer to the plan for every value that needs one.
  /// lowering  kInPlace or kDense
  Placement(const Graph& graph, const NetworkOptions& options, Element element, Lowering lowering,
            MemoryPlan& plan);

  const Slot& slot(ValueId value) const { return slots_.at(value); }
  /// Of every value, for a whole batch.
  const std::vector<Shape>& shapes() const { return shapes_; }
  /// Whether this input of a concat is a slice of its output already.
  bool written_in_place(const Node& concat, size_t input) const;
  /// The group that the convolution belongs to; null when it is computed alone.
  const ConvSiblings* siblings(const Node& convolution) const;

 private:
  void find_siblings();
  void group_readers(const std::vector<const Node*>& readers);
  bool merging_pays(const ConvSiblings& group) const;
  const Node* concat_that_takes(ValueId value) const;
  const Node* concat_led_by(ValueId value) const;
  void place(ValueId value);
  void place_group(ConvSiblings& group);
  Slot fresh(const Layout& layout, int64_t channels_before = 0);

  const Graph& graph_;
  Lowering lowering_;
  MemoryPlan& plan_;
  std::vector<Shape> shapes_;
  std::map<ValueId, Layout> layouts_;
  std::map<ValueId, const Node*> producers_;
  std::map<ValueId, std::vector<const Node*>> concats_;  ///< that read the value
  std::vector<ConvSiblings> groups_;
  std::map<ValueId, size_t> group_of_output_;
  std::map<ValueId, size_t> group_before_concat_;  ///< by the concat's output
  std::map<ValueId, Slot> slots_;
};

}  // namespace branchsae::cuda
