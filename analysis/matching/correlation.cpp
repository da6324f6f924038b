#include "analysis/matching/correlation.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "engine/error.h"

namespace branchsae {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void check_codes(View<const float, 2> values, View<const int32_t, 2> indices, int64_t tokens,
                 size_t latents) {
  if (values.shape != indices.shape || values.shape[0] != tokens) {
    throw ShapeError(fmt::format("codes of {} tokens: values {} x {}, indices {} x {}", tokens,
                                 values.shape[0], values.shape[1], indices.shape[0], indices.shape[1]));
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < indices.shape[1]; ++i) {
      if (indices(t, i) >= static_cast<int64_t>(latents))
        throw InputError(fmt::format("code of latent {}: there are {} only", indices(t, i), latents));
    }
  }
}

/// Rows of unit length around 0; a row that does not vary becomes zeros.
Matrix centred_profiles(const ImageScores& scores, const ImageSynsets& labels) {
  std::unordered_map<int32_t, Eigen::Index> columns;
  std::vector<float> images_of;
  for (int32_t image = 0; image < static_cast<int32_t>(labels.images()); ++image) {
    const int32_t synset = labels.synset(image);
    if (synset < 0) continue;
    const auto [place, added] = columns.try_emplace(synset, static_cast<Eigen::Index>(images_of.size()));
    if (added) images_of.push_back(0);
    images_of[static_cast<size_t>(place->second)] += 1;
  }
  Matrix profiles = Matrix::Zero(scores.latents(), static_cast<Eigen::Index>(images_of.size()));
  for (int64_t latent = 0; latent < scores.latents(); ++latent) {
    for (const ImageScore& score : scores.activity(latent).images) {
      const auto place = columns.find(labels.synset(score.image));
      if (place == columns.end()) continue;
      profiles(latent, place->second) += score.max / images_of[static_cast<size_t>(place->second)];
    }
    auto row = profiles.row(latent);
    const float least = row.size() > 0 ? row.minCoeff() : 0, most = row.size() > 0 ? row.maxCoeff() : 0;
    if (least == most) {
      row.setZero();
      continue;
    }
    row.array() -= row.mean();
    row /= row.norm();
  }
  return profiles;
}

}  // namespace

void CodeCorrelation::Moments::add(View<const float, 2> values, View<const int32_t, 2> indices) {
  for (int64_t t = 0; t < values.shape[0]; ++t) {
    for (int64_t i = 0; i < values.shape[1]; ++i) {
      if (indices(t, i) < 0) continue;
      const auto latent = static_cast<size_t>(indices(t, i));
      const auto value = static_cast<double>(values(t, i));
      sum[latent] += value;
      squares[latent] += value * value;
    }
  }
}

double CodeCorrelation::Moments::deviation(int64_t latent, double tokens) const {
  const auto i = static_cast<size_t>(latent);
  return std::sqrt(std::max(0.0, squares[i] - sum[i] * sum[i] / tokens));
}

CodeCorrelation::CodeCorrelation(int64_t latents_a, int64_t latents_b) {
  if (latents_a < 1 || latents_b < 1)
    throw InputError(fmt::format("correlation of {} and {} latents", latents_a, latents_b));
  a_ = {std::vector<double>(static_cast<size_t>(latents_a)),
        std::vector<double>(static_cast<size_t>(latents_a))};
  b_ = {std::vector<double>(static_cast<size_t>(latents_b)),
        std::vector<double>(static_cast<size_t>(latents_b))};
  products_.resize(static_cast<size_t>(latents_a * latents_b));
}

void CodeCorrelation::add(View<const float, 2> values_a, View<const int32_t, 2> indices_a,
                          View<const float, 2> values_b, View<const int32_t, 2> indices_b) {
  check_codes(values_a, indices_a, values_a.shape[0], a_.sum.size());
  check_codes(values_b, indices_b, values_a.shape[0], b_.sum.size());
  a_.add(values_a, indices_a);
  b_.add(values_b, indices_b);
  tokens_ += values_a.shape[0];
  for (int64_t t = 0; t < values_a.shape[0]; ++t) {
    for (int64_t i = 0; i < values_a.shape[1]; ++i) {
      if (indices_a(t, i) < 0) continue;
      const auto value = static_cast<double>(values_a(t, i));
      double* row = products_.data() + static_cast<size_t>(indices_a(t, i)) * b_.sum.size();
      for (int64_t j = 0; j < values_b.shape[1]; ++j) {
        if (indices_b(t, j) >= 0) row[indices_b(t, j)] += value * static_cast<double>(values_b(t, j));
      }
    }
  }
}

HostTensor CodeCorrelation::correlations() const {
  const auto rows = static_cast<int64_t>(a_.sum.size()), columns = static_cast<int64_t>(b_.sum.size());
  HostTensor result({rows, columns});
  const auto tokens = static_cast<double>(tokens_);
  std::vector<double> deviations;
  for (int64_t j = 0; j < columns; ++j) deviations.push_back(b_.deviation(j, tokens));
  for (int64_t i = 0; i < rows; ++i) {
    const double deviation = a_.deviation(i, tokens), mean = a_.sum[static_cast<size_t>(i)] / tokens;
    for (int64_t j = 0; j < columns; ++j) {
      const auto other = static_cast<size_t>(j);
      const double spread = deviation * deviations[other];
      const double covariance = products_[static_cast<size_t>(i * columns + j)] - mean * b_.sum[other];
      result.data()[i * columns + j] = spread > 0 ? static_cast<float>(covariance / spread) : 0.0F;
    }
  }
  return result;
}

int64_t CodeCorrelation::memory_bytes(int64_t latents_a, int64_t latents_b) {
  return static_cast<int64_t>(sizeof(double)) * (latents_a * latents_b + 2 * (latents_a + latents_b));
}

HostTensor class_profile_similarity(const ImageScores& a, const ImageScores& b, const ImageSynsets& labels) {
  const Matrix left = centred_profiles(a, labels), right = centred_profiles(b, labels);
  HostTensor result({a.latents(), b.latents()});
  Eigen::Map<Matrix>(result.data(), a.latents(), b.latents()).noalias() = left * right.transpose();
  return result;
}

}  // namespace branchsae
