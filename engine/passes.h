#pragma once
/// Passes over the graph. Each takes and returns a Graph by value; values listed in `keep` survive with their
/// exact contents (a fused ReLU would destroy a tapped pre-activation), and so do the graph's outputs.
/// ValueIds stay valid across passes; a value that is folded away has no writer any more.
#include <vector>

#include "engine/graph.h"

namespace branchsae {

/// Conv + Affine (batch normalisation), Affine + Affine, Affine(scale) into the next Linear: folded into
/// weights.
Graph fold_affine(Graph graph, const std::vector<ValueId>& keep);
/// Pad into the window of the convolution or pool that reads it, where the result is the same.
Graph fold_pads(Graph graph, const std::vector<ValueId>& keep);
/// Conv + Relu, Linear + Relu.
Graph fuse_relu(Graph graph, const std::vector<ValueId>& keep);
/// Linear flattens what it reads: a Flatten before it goes.
Graph skip_flatten(Graph graph, const std::vector<ValueId>& keep);
/// Drops every node that no value in `wanted` needs: the network stops at the last tap. `wanted` become the
/// graph's outputs. Throws InputError for an id that is no value.
Graph prune(Graph graph, const std::vector<ValueId>& wanted);

/// All of the above, in order. `wanted` are the tapped values.
Graph optimise(Graph graph, const std::vector<ValueId>& wanted);

/// The part of the network behind one value, which becomes its input: what comes after a changed activation.
/// `wanted` become the outputs. Throws InputError when they depend on the old input by a way around the value
/// (one branch of a block; the whole layer's concat is passed by all ways), or for an id that is no value.
Graph resume_at(Graph graph, ValueId start, const std::vector<ValueId>& wanted);

/// Logical shapes for one input size. [values.size()], empty where a value is unused.
/// Throws ShapeError naming node and shapes when the graph does not allow H x W.
std::vector<Shape> infer_shapes(const Graph& graph, int64_t batch, int64_t height, int64_t width);

/// Pads of a window for a concrete input extent along one axis, and the output extent (ONNX's formula;
/// ceil_mode as ONNX Runtime: a last window that would start in the end padding is dropped).
struct WindowExtent {
  int64_t pad_begin, pad_end, out;
};
WindowExtent window_extent(const Window& window, int axis, int64_t in, bool ceil_mode);

}  // namespace branchsae
