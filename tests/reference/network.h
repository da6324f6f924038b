#pragma once
/// Runs a graph op by op in double precision with plain loops, from the definitions in engine/graph.h (which
/// are ONNX's). For tests: what backends and passes are compared with. Nothing here is fast on purpose.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/graph.h"

namespace branchsae::reference {

/// Row-major doubles, NCHW or NC.
struct Array {
  Shape shape;
  std::vector<double> data;

  Array() = default;
  /// Zeros.
  explicit Array(Shape dims);
  /// Throws ShapeError when the count does not fit the shape.
  Array(Shape dims, std::span<const float> values);
  Array(Shape dims, std::vector<double> values);

  int64_t dim(size_t axis) const { return shape.at(axis); }
  double& at(int64_t n, int64_t c, int64_t y, int64_t x) { return data[offset(n, c, y, x)]; }
  double at(int64_t n, int64_t c, int64_t y, int64_t x) const { return data[offset(n, c, y, x)]; }

 private:
  size_t offset(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return static_cast<size_t>(((n * shape[1] + c) * shape[2] + y) * shape[3] + x);
  }
};

/// Every value of the graph, by ValueId; empty where nothing computes it. images: [N, C, H, W], preprocessed.
/// Throws ShapeError when the graph does not take them.
std::vector<Array> run_network(const Graph& graph, const Array& images);

/// One value in token layout: [N, C, H, W] -> [N*H*W, C], row (n*H + y)*W + x; [N, C] stays as it is.
Array tokens(const Array& value);

/// |a - b| / |b| (Euclidean norms); |a - b| where b is zero. Equal infinities agree and count in neither
/// norm; any other Inf or NaN gives +Inf. Throws ShapeError when shapes differ.
double relative_error(const Array& a, const Array& b);

}  // namespace branchsae::reference
