#pragma once
/// Tokens of a known dictionary: every atom lies in one branch, every token is a sum of a few atoms.
#include <algorithm>
#include <cmath>
#include <vector>

#include "analysis/branches/shares.h"
#include "engine/host_tensor.h"
#include "engine/random.h"

namespace branchsae::test {

struct Planted {
  static constexpr int64_t kAtomsEach = 10, kPositions = 16, kActive = 3;
  std::vector<ChannelGroup> groups{{"1x1", 0, 24}, {"3x3", 24, 36}, {"5x5", 60, 18}, {"pool", 78, 18}};
  int64_t d = 96, images = 400;
  std::vector<std::vector<float>> atoms;  ///< norm 1
  std::vector<size_t> branch;             ///< of each atom
  std::vector<uint8_t> shown;             ///< [images] whether it shows the concept
  HostTensor tokens;                      ///< [images * kPositions, d]

  /// Share of the active atoms that are of 5x5 in images of the concept, and elsewhere. A mean of 0.25 lets
  /// all atoms fire equally often, so that density tells nothing.
  struct Link {
    double shown = 0.25, elsewhere = 0.25;
  };
  Planted(uint64_t seed, const Link& link) : tokens({images * kPositions, d}) {
    Random random(seed, 0);
    for (size_t b = 0; b < groups.size(); ++b) {
      for (int64_t a = 0; a < kAtomsEach; ++a) add_atom(b, random);
    }
    for (int64_t image = 0; image < images; ++image) {
      shown.push_back(image % 2 == 0 ? 1 : 0);
      const double share = shown.back() != 0 ? link.shown : link.elsewhere;
      for (int64_t p = 0; p < kPositions; ++p) {
        for (int64_t active = 0; active < kActive; ++active)
          add(random, draw(random, share), image * kPositions + p);
      }
    }
  }
  View<const float, 2> rows() const { return tokens.matrix(); }

 private:
  void add_atom(size_t b, Random& random) {
    std::vector<float> atom(static_cast<size_t>(d));
    double norm = 0;
    for (int64_t c = groups[b].begin; c < groups[b].begin + groups[b].count; ++c) {
      const double value = random.normal();
      atom[static_cast<size_t>(c)] = static_cast<float>(value);
      norm += value * value;
    }
    for (float& value : atom) value = static_cast<float>(static_cast<double>(value) / std::sqrt(norm));
    atoms.push_back(std::move(atom));
    branch.push_back(b);
  }
  size_t draw(Random& random, double share) const {
    const auto each = static_cast<uint64_t>(kAtomsEach);
    if (random.uniform() < share) return 2 * each + random.below(each);
    const uint64_t other = random.below(3);
    return (other == 2 ? 3 : other) * each + random.below(each);
  }
  void add(Random& random, size_t atom, int64_t row) {
    const auto strength = static_cast<float>(0.5 + random.uniform());
    for (int64_t c = 0; c < d; ++c) tokens[row * d + c] += strength * atoms[atom][static_cast<size_t>(c)];
  }
};

}  // namespace branchsae::test
