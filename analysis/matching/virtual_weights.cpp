#include "analysis/matching/virtual_weights.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/parallel.h"
#include "engine/random.h"

namespace branchsae {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Eigen::Index kBlockRows = 128;  // of the table, that a thread holds
constexpr uint64_t kShuffleStream = 61;

Eigen::Map<const Matrix> as_matrix(const HostTensor& tensor) {
  return {tensor.data(), tensor.dim(0), tensor.dim(1)};
}

Matrix rows_of(View<const float, 2> rows) {
  Matrix result(rows.shape[0], rows.shape[1]);
  for (Eigen::Index i = 0; i < result.rows(); ++i) {
    for (Eigen::Index c = 0; c < result.cols(); ++c) result(i, c) = rows(i, c);
  }
  return result;
}

HostTensor unit_rows(const Matrix& rows) {
  HostTensor result({rows.rows(), rows.cols()});
  for (Eigen::Index i = 0; i < rows.rows(); ++i) {
    const double length = rows.row(i).cast<double>().norm();
    for (Eigen::Index c = 0; length > 0 && c < rows.cols(); ++c)
      result[i * rows.cols() + c] = static_cast<float>(static_cast<double>(rows(i, c)) / length);
  }
  return result;
}

}  // namespace

VirtualWeights virtual_weights(View<const float, 2> decoder, View<const float, 2> encoder,
                               const HostTensor& map, std::vector<ChannelGroup> groups) {
  if (map.dim(0) != encoder.shape[1] || map.dim(1) != decoder.shape[1]) {
    throw ShapeError(fmt::format("a map from {} to {} channels between latents of {} and of {}", map.dim(1),
                                 map.dim(0), decoder.shape[1], encoder.shape[1]));
  }
  check_groups(groups, decoder.shape[1]);
  return {.writes = unit_rows(rows_of(decoder)),
          .reads = unit_rows(rows_of(encoder) * as_matrix(map)),
          .groups = std::move(groups)};
}

WeightSimilarity::WeightSimilarity(const VirtualWeights& weights, std::vector<uint8_t> live_a,
                                   std::vector<uint8_t> live_b, std::optional<uint64_t> shuffle)
    : weights_(&weights),
      live_a_(std::move(live_a)),
      live_b_(std::move(live_b)),
      channel_(static_cast<size_t>(weights.writes.dim(1))) {
  if (std::ssize(live_a_) != rows() || std::ssize(live_b_) != columns()) {
    throw ShapeError(fmt::format("virtual weights of {} and {} latents beside flags of {} and {}", rows(),
                                 columns(), live_a_.size(), live_b_.size()));
  }
  std::iota(channel_.begin(), channel_.end(), 0);
  for (const ChannelGroup& group : shuffle ? weights.groups : std::vector<ChannelGroup>{}) {
    const auto first = static_cast<int32_t>(group.begin);
    const auto order =
        random_permutation(group.count, *shuffle, kShuffleStream + static_cast<uint64_t>(first));
    for (int64_t c = 0; c < group.count; ++c)
      channel_[static_cast<size_t>(first + c)] = first + order[static_cast<size_t>(c)];
  }
}

void WeightSimilarity::for_rows(int threads, const Visit& visit) const {
  const auto writes = as_matrix(weights_->writes), reads = as_matrix(weights_->reads);
  on_threads(threads, (rows() + kBlockRows - 1) / kBlockRows, [&](int64_t block) {
    const Eigen::Index first = block * kBlockRows, height = std::min(kBlockRows, writes.rows() - first);
    Matrix written(height, writes.cols());
    for (Eigen::Index i = 0; i < height; ++i) {
      const bool fires = live_a_[static_cast<size_t>(first + i)] != 0;
      for (Eigen::Index c = 0; c < writes.cols(); ++c)
        written(i, c) = fires ? writes(first + i, channel_[static_cast<size_t>(c)]) : 0.0F;
    }
    Matrix similarity = written * reads.transpose();
    for (Eigen::Index i = 0; i < height; ++i) {
      for (Eigen::Index j = 0; j < similarity.cols(); ++j) {
        const float r = std::min(std::abs(similarity(i, j)), 1.0F);
        similarity(i, j) = live_b_[static_cast<size_t>(j)] != 0 ? r : 0.0F;
      }
    }
    visit(first, {similarity.data(), {height, columns()}});
  });
}

}  // namespace branchsae
