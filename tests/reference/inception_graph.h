#pragma once
/// InceptionV1's structure with seeded random weights, as a graph.
#include "engine/graph.h"

namespace branchsae::test {

struct InceptionGraph {
  Graph graph;
  std::vector<ValueId> blocks;                 ///< the concats, mixed3a ... mixed5b
  std::vector<std::vector<ValueId>> branches;  ///< each block's 1x1, 3x3, 5x5, pool after ReLU
  ValueId logits = kNoValue, prob = kNoValue;
};

/// Channel counts are InceptionV1's divided by `divisor` (at least 1), `classes` outputs. For inputs of any
/// size whose last grid is not empty (from about 32x32): the last pool is global. Source: Szegedy et al.
/// 2014, arXiv:1409.4842, table 1.
InceptionGraph inception_graph(int64_t divisor, int64_t classes, uint64_t seed);

}  // namespace branchsae::test
