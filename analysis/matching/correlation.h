#pragma once
/// How alike the latents of two autoencoders are, by what they respond to.
#include <cstdint>
#include <vector>

#include "analysis/features/image_scores.h"
#include "analysis/features/labels.h"
#include "engine/host_tensor.h"
#include "engine/view.h"

namespace branchsae {

/// Pearson's r of f_i and f_j over the same (image, position), for all pairs. Codes are sparse: the cost of a
/// token is k_a x k_b, that of memory 8 n_a n_b bytes. Source: Lan et al., arXiv:2410.06981.
class CodeCorrelation {
 public:
  CodeCorrelation(int64_t latents_a, int64_t latents_b);

  /// The same tokens' codes from both, [tokens, k_a] and [tokens, k_b] as SaeExecutor::encode gives them.
  /// Throws ShapeError when the numbers of tokens differ, InputError for an index beyond the latents.
  void add(View<const float, 2> values_a, View<const int32_t, 2> indices_a, View<const float, 2> values_b,
           View<const int32_t, 2> indices_b);

  int64_t tokens() const { return tokens_; }
  /// [n_a, n_b]; 0 where a latent never varied.
  HostTensor correlations() const;
  static int64_t memory_bytes(int64_t latents_a, int64_t latents_b);

 private:
  struct Moments {
    std::vector<double> sum, squares;
    void add(View<const float, 2> values, View<const int32_t, 2> indices);
    double deviation(int64_t latent, double tokens) const;  ///< sqrt(sum (f - mean)^2)
  };
  Moments a_, b_;
  std::vector<double> products_;  ///< [n_a, n_b] sum f_i f_j
  int64_t tokens_ = 0;
};

/// Cosine of the latents' mean scores per class, each profile centred over the classes: [n_a, n_b], 0 where a
/// profile is flat. Both saw the same images.
HostTensor class_profile_similarity(const ImageScores& a, const ImageScores& b, const ImageSynsets& labels);

}  // namespace branchsae
