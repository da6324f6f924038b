#include "model/geometric_median.h"

#include <algorithm>
#include <cmath>

namespace branchsae {
namespace {

constexpr int kMostIterations = 200;
constexpr double kTolerance = 1e-7;

double distance_to(const float* token, const std::vector<double>& point) {
  double sum = 0;
  for (size_t c = 0; c < point.size(); ++c) {
    const double difference = token[c] - point[c];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

std::vector<double> mean_of(View<const float, 2> tokens) {
  std::vector<double> mean(static_cast<size_t>(tokens.shape[1]), 0.0);
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    for (size_t c = 0; c < mean.size(); ++c) mean[c] += tokens.row(t)[c];
  }
  for (double& value : mean) value /= static_cast<double>(tokens.shape[0]);
  return mean;
}

struct Pull {
  std::vector<double> weighted;  ///< sum of tokens / distance, those at the point left out
  double weight = 0;             ///< sum of 1 / distance
  double distance = 0;           ///< sum of distances
  int64_t coinciding = 0;        ///< tokens at the point
};

Pull pull_on(const std::vector<double>& point, View<const float, 2> tokens) {
  Pull pull{std::vector<double>(point.size(), 0.0)};
  for (int64_t t = 0; t < tokens.shape[0]; ++t) {
    const float* token = tokens.row(t);
    const double distance = distance_to(token, point);
    pull.distance += distance;
    if (distance == 0) {
      ++pull.coinciding;
      continue;
    }
    pull.weight += 1 / distance;
    for (size_t c = 0; c < point.size(); ++c) pull.weighted[c] += token[c] / distance;
  }
  return pull;
}

/// Vardi and Zhang: tokens at the point hold it back by their number, against the length of the others' pull.
double held_back(const Pull& pull, const std::vector<double>& point) {
  if (pull.coinciding == 0) return 0;
  double squared = 0;
  for (size_t c = 0; c < point.size(); ++c) {
    const double difference = pull.weighted[c] - point[c] * pull.weight;
    squared += difference * difference;
  }
  if (squared == 0) return 1;
  return std::min(1.0, static_cast<double>(pull.coinciding) / std::sqrt(squared));
}

}  // namespace

std::vector<double> geometric_median(View<const float, 2> tokens) {
  std::vector<double> point = mean_of(tokens);
  for (int iteration = 0; iteration < kMostIterations; ++iteration) {
    const Pull pull = pull_on(point, tokens);
    if (pull.weight == 0) break;  // every token is at the point
    const double stay = held_back(pull, point);
    double moved = 0;
    for (size_t c = 0; c < point.size(); ++c) {
      const double next = (1 - stay) * pull.weighted[c] / pull.weight + stay * point[c];
      moved += (next - point[c]) * (next - point[c]);
      point[c] = next;
    }
    if (std::sqrt(moved) <= kTolerance * pull.distance / static_cast<double>(tokens.shape[0])) break;
  }
  return point;
}

}  // namespace branchsae
