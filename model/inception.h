#pragma once
/// InceptionV1's blocks and branches, found in any graph.
#include "engine/graph.h"

namespace branchsae {

/// Fills graph.blocks from the graph's structure alone.
///
/// A block is a Concat along channels of at least three paths that start at one common value. A path is a
/// chain of nodes with one input each (convolution, ReLU, pool, LRN, padding, per-channel arithmetic, clip);
/// none may be empty (DenseNet joins the common value itself) and at least two must hold a convolution. Two
/// joined convolutions, as in SqueezeNet, are no block.
///
/// Branches  one for each path, in the concat's order, which is that of the channels. Of four the names are
/// by
///           place: 1x1, 3x3, 5x5, pool; of any other count branch1, branch2 ...
/// ReLU      may close each path or follow the concat; in the second case the block's and the branches' value
///           is that ReLU's output, and their pre_value the concat's.
/// Names     the number in the tensors' names makes mixed3a ... mixed5b (inception_4c, inception4c, mixed4c,
///           Mixed_4c -> mixed4c) when every block has one of its own; else nine blocks in order are mixed3a,
///           3b, 4a to 4e, 5a, 5b; else block1, block2 ...
/// Source    Szegedy et al. 2014, arXiv:1409.4842, figure 2b; names after distill.pub/2020/circuits.
void recognise_blocks(Graph& graph);

}  // namespace branchsae
