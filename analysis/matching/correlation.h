#pragma once
/// How alike the latents of two autoencoders are, by what they respond to.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "analysis/matching/code_store.h"
#include "engine/view.h"

namespace branchsae {

/// Pearson's r of f_i and f_j over the positions of paired images, zeros included, for all pairs of latents.
/// Codes are sparse: time is tokens x k_a x k_b and one pass over n_a x n_b; memory is some rows of the
/// result a thread and the entries of some of a's latents, never n_a x n_b. Sums in double.
/// Source: Lan et al., arXiv:2410.06981. Both stores must outlive it.
class CodeCorrelation {
 public:
  /// Throws ShapeError when the stores have different positions, InputError for an image beyond a store.
  CodeCorrelation(const CodeStore& a, const CodeStore& b, const ImagePairing& pairing);

  int64_t rows() const { return a_->latents(); }
  int64_t columns() const { return b_->latents(); }
  /// Whether each latent varied over the paired images: [n_a], [n_b]. The others have r = 0 throughout.
  std::vector<uint8_t> live_a() const { return varied(moments_a_); }
  std::vector<uint8_t> live_b() const { return varied(moments_b_); }

  /// Rows first .. first + r.shape[0] - 1 of the result, [some rows, n_b].
  using Visit = std::function<void(int64_t first, View<const float, 2> r)>;
  /// Visits every row once, several at a time on several threads; the same numbers for any number of them.
  void for_rows(int threads, const Visit& visit) const;

 private:
  struct Moments {
    double mean = 0, deviation = 0;  ///< sqrt(sum (f - mean)^2)
  };
  class Columns;
  std::vector<Moments> moments(const CodeStore& codes, std::span<const int32_t> images) const;
  static std::vector<uint8_t> varied(const std::vector<Moments>& moments);
  void fill_row(int64_t latent, const Columns& entries, std::vector<double>& products, float* r) const;

  const CodeStore* a_;
  const CodeStore* b_;
  ImagePairing pairing_;
  std::vector<Moments> moments_a_, moments_b_;
};

/// The value that a share q of all r of live rows and columns does not exceed, to 2^-17. NaN when there is
/// none.
double correlation_quantile(const CodeCorrelation& correlation, int threads, double q);

}  // namespace branchsae
