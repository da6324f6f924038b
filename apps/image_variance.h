#pragma once
/// Do activations differ from image to image? With the wrong input range they hardly do.
#include <vector>

#include "engine/view.h"

namespace branchsae::apps {

/// For every image the mean of its tokens, m_i [d]; then the ratio
///   sum_c var_i(m_ic) / sum_c mean_i(m_ic^2)
/// of the variance between images (with N - 1) and the energy of those means. 0: all images look alike.
class ImageVariance {
 public:
  /// Tokens of one image, host.
  void add(View<const float, 2> tokens);
  /// NaN for fewer than two images, or where all is zero.
  double ratio() const;
  /// Below this, the network hardly tells images apart; correct input gives about 0.3 in BVLC's mixed4c.
  static constexpr double kSuspicious = 0.1;

 private:
  std::vector<double> sum_, squares_;  ///< over images, by channel
  int64_t images_ = 0;
};

}  // namespace branchsae::apps
