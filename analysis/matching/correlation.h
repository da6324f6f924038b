#pragma once
/// How alike the latents of two autoencoders are, by what they respond to.
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/matching/code_store.h"
#include "analysis/matching/similarity.h"
#include "engine/view.h"

namespace branchsae {

/// Pearson's r of f_i and f_j over the positions of paired images, zeros included, for all pairs of latents.
/// Codes are sparse: time is tokens x k_a x k_b and one pass over n_a x n_b; memory is some rows of the
/// result a thread and the entries of some of a's latents, never n_a x n_b. Sums in double.
/// Source: Lan et al., arXiv:2410.06981. Both stores must outlive it.
class CodeCorrelation final : public LatentSimilarity {
 public:
  /// Throws ShapeError when the stores have different positions, InputError for an image beyond a store.
  CodeCorrelation(const CodeStore& a, const CodeStore& b, const ImagePairing& pairing);

  int64_t rows() const override { return a_->latents(); }
  int64_t columns() const override { return b_->latents(); }
  /// Whether each latent varied over the paired images.
  std::vector<uint8_t> live_a() const override { return varied(moments_a_); }
  std::vector<uint8_t> live_b() const override { return varied(moments_b_); }
  void for_rows(int threads, const Visit& visit) const override;

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

}  // namespace branchsae
