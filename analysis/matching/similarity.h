#pragma once
/// How alike the latents of two autoencoders are: a table of numbers between -1 and 1 that is never stored.
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/view.h"

namespace branchsae {

/// The table of every latent of a (rows) with every latent of b (columns).
class LatentSimilarity {
 public:
  LatentSimilarity() = default;
  LatentSimilarity(const LatentSimilarity&) = delete;
  LatentSimilarity& operator=(const LatentSimilarity&) = delete;
  virtual ~LatentSimilarity() = default;

  virtual int64_t rows() const = 0;
  virtual int64_t columns() const = 0;
  /// Which latents can be like others at all: [rows], [columns]. The others have 0 throughout.
  virtual std::vector<uint8_t> live_a() const = 0;
  virtual std::vector<uint8_t> live_b() const = 0;

  /// Rows first .. first + r.shape[0] - 1 of the table, [some rows, columns].
  using Visit = std::function<void(int64_t first, View<const float, 2> r)>;
  /// Visits every row once, several at a time on several threads; the same numbers for any number of them.
  virtual void for_rows(int threads, const Visit& visit) const = 0;
};

/// The value that a share q of the table's live rows and columns does not exceed, to 2^-17. NaN when there
/// are none.
double similarity_quantile(const LatentSimilarity& similarity, int threads, double q);

}  // namespace branchsae
