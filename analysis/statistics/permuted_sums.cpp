#include "analysis/statistics/permuted_sums.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

constexpr int64_t kRoundsAtOnce = 64;

/// What is not zero of a weight.
struct SparseWeight {
  std::vector<std::pair<size_t, double>> entries;
  size_t begin = 0, columns = 0;
};

std::vector<SparseWeight> without_zeros(std::span<const PermutedWeight> weights) {
  std::vector<SparseWeight> all;
  for (const PermutedWeight& weight : weights) {
    SparseWeight sparse{
        {}, static_cast<size_t>(weight.begin), static_cast<size_t>(weight.end - weight.begin)};
    for (size_t i = 0; i < weight.weight.size(); ++i) {
      if (weight.weight[i] != 0) sparse.entries.emplace_back(i, weight.weight[i]);
    }
    all.push_back(std::move(sparse));
  }
  return all;
}

void check(const Strata& strata, View<const double, 2> profiles, std::span<const PermutedWeight> weights,
           int64_t rounds) {
  if (rounds < 1) throw InputError(fmt::format("{} permutations: it must be at least 1", rounds));
  if (profiles.shape[0] != strata.size())
    throw ShapeError(fmt::format("{} profiles in strata of {} units", profiles.shape[0], strata.size()));
  for (const PermutedWeight& weight : weights) {
    if (std::ssize(weight.weight) != strata.size() || weight.begin < 0 || weight.end < weight.begin ||
        weight.end > profiles.shape[1]) {
      throw ShapeError(fmt::format("{} weights of columns {} to {} beside {} profiles of {} columns",
                                   weight.weight.size(), weight.begin, weight.end, profiles.shape[0],
                                   profiles.shape[1]));
    }
  }
}

void add_up(std::span<const SparseWeight> weights, View<const double, 2> profiles,
            std::span<const int64_t> order, double* sums) {
  for (const SparseWeight& weight : weights) {
    std::fill_n(sums, weight.columns, 0.0);
    for (const auto& [unit, factor] : weight.entries) {
      const double* row = profiles.row(order[unit]) + weight.begin;
      for (size_t c = 0; c < weight.columns; ++c) sums[c] += factor * row[c];
    }
    sums += weight.columns;
  }
}

}  // namespace

PermutedSums::PermutedSums(const Strata& strata, View<const double, 2> profiles,
                           std::span<const PermutedWeight> weights, int64_t rounds, uint64_t seed,
                           int threads)
    : rounds_(rounds) {
  check(strata, profiles, weights, rounds);
  for (const PermutedWeight& weight : weights) {
    first_.push_back(width_);
    width_ += weight.end - weight.begin;
  }
  sums_.resize(static_cast<size_t>((rounds + 1) * width_));
  const std::vector<SparseWeight> sparse = without_zeros(weights);
  std::vector<int64_t> identity(static_cast<size_t>(strata.size()));
  std::iota(identity.begin(), identity.end(), int64_t{0});
  add_up(sparse, profiles, identity, sums_.data());
  on_threads(threads, (rounds + kRoundsAtOnce - 1) / kRoundsAtOnce, [&](int64_t part) {
    std::vector<int64_t> order = identity;
    for (int64_t r = part * kRoundsAtOnce; r < std::min(rounds, (part + 1) * kRoundsAtOnce); ++r) {
      shuffle_within(strata, seed, r, order);
      add_up(sparse, profiles, order, sums_.data() + (r + 1) * width_);
    }
  });
}

PermutationTest PermutedSums::test(const std::function<double(int64_t round)>& value) const {
  std::vector<double> values;
  for (int64_t round = 1; round <= rounds_; ++round) values.push_back(value(round));
  return summarise_permutations(value(0), values);
}

}  // namespace branchsae
