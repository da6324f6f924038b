#include "analysis/branches/decoder_clusters.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Eigen::Index kRowsAtOnce = 256;

/// Rows of norm 1, and which rows of the decoder they are.
struct Directions {
  Matrix rows;
  std::vector<int32_t> row;
};

Directions directions_of(View<const float, 2> decoder, std::span<const uint8_t> wanted) {
  Directions result;
  for (int64_t i = 0; i < decoder.shape[0]; ++i) {
    if (wanted[static_cast<size_t>(i)] == 0) continue;
    for (int64_t c = 0; c < decoder.shape[1]; ++c) {
      if (decoder(i, c) == 0) continue;
      result.row.push_back(static_cast<int32_t>(i));
      break;
    }
  }
  result.rows.resize(static_cast<Eigen::Index>(result.row.size()),
                     static_cast<Eigen::Index>(decoder.shape[1]));
  for (Eigen::Index i = 0; i < result.rows.rows(); ++i) {
    for (Eigen::Index c = 0; c < result.rows.cols(); ++c)
      result.rows(i, c) = decoder(result.row[static_cast<size_t>(i)], c);
    result.rows.row(i).normalize();
  }
  return result;
}

using Edge = std::pair<int32_t, int32_t>;

/// Pairs above the limit of the rows of one block with themselves and those after it.
std::vector<Edge> edges_of(const Matrix& rows, Eigen::Index first, float limit) {
  const Eigen::Index height = std::min(kRowsAtOnce, rows.rows() - first);
  std::vector<Edge> edges;
  for (Eigen::Index other = first; other < rows.rows(); other += kRowsAtOnce) {
    const Eigen::Index width = std::min(kRowsAtOnce, rows.rows() - other);
    const Matrix cosines = rows.middleRows(first, height) * rows.middleRows(other, width).transpose();
    for (Eigen::Index i = 0; i < height; ++i) {
      for (Eigen::Index j = 0; j < width; ++j) {
        if (cosines(i, j) > limit && other + j > first + i)
          edges.emplace_back(static_cast<int32_t>(first + i), static_cast<int32_t>(other + j));
      }
    }
  }
  return edges;
}

int32_t root_of(std::vector<int32_t>& parent, int32_t i) {
  while (parent[static_cast<size_t>(i)] != i) {
    int32_t& up = parent[static_cast<size_t>(i)];
    up = parent[static_cast<size_t>(up)];
    i = up;
  }
  return i;
}

}  // namespace

std::vector<int32_t> decoder_clusters(View<const float, 2> decoder, std::span<const uint8_t> wanted,
                                      double limit, int threads) {
  if (std::ssize(wanted) != decoder.shape[0])
    throw ShapeError(fmt::format("{} flags beside a decoder of {} rows", wanted.size(), decoder.shape[0]));
  const Directions directions = directions_of(decoder, wanted);
  const Eigen::Index count = directions.rows.rows();
  std::vector<std::vector<Edge>> edges(static_cast<size_t>((count + kRowsAtOnce - 1) / kRowsAtOnce));
  on_threads(threads, std::ssize(edges), [&](int64_t block) {
    edges[static_cast<size_t>(block)] =
        edges_of(directions.rows, block * kRowsAtOnce, static_cast<float>(limit));
  });
  std::vector<int32_t> parent(static_cast<size_t>(count));
  std::iota(parent.begin(), parent.end(), 0);
  for (const auto& block : edges) {
    for (const auto& [i, j] : block) {
      const int32_t a = root_of(parent, i), b = root_of(parent, j);
      parent[static_cast<size_t>(std::max(a, b))] = std::min(a, b);  // the lowest stays the root
    }
  }
  std::vector<int32_t> cluster(wanted.size(), -1);
  for (size_t i = 0; i < parent.size(); ++i) {
    const int32_t root = root_of(parent, static_cast<int32_t>(i));
    cluster[static_cast<size_t>(directions.row[i])] = directions.row[static_cast<size_t>(root)];
  }
  return cluster;
}

ClusterCounts count_clusters(std::span<const int32_t> cluster) {
  std::vector<int64_t> size(cluster.size());
  for (const int32_t root : cluster) {
    if (root >= 0) ++size[static_cast<size_t>(root)];
  }
  ClusterCounts counts;
  for (const int64_t members : size) {
    if (members < 2) continue;
    ++counts.clusters;
    counts.members += members;
    counts.largest = std::max(counts.largest, members);
  }
  return counts;
}

}  // namespace branchsae
