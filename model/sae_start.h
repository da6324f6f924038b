#pragma once
/// Starting values of an autoencoder, from data.
#include <array>

#include "engine/sae.h"
#include "model/sae_trainer.h"

namespace branchsae {

/// Norm of W's rows that belongs to auto_learning_rate: the two were measured together (docs/training.md).
inline constexpr double kAutoStartNorm = 1.0;

/// Norms that `auto` tries on the first batch when the learning rate is given. What the best one is depends
/// on how sparse the tokens are; a wrong one costs far more than any later choice (held-out FVU 0.064 against
/// 0.093 on one branch at a rate of 1e-3, all else equal).
inline constexpr std::array<double, 5> kStartNorms{0.1, 0.2, 0.3, 0.5, 1.0};

/// Tokens that scale and b_pre are estimated from.
inline constexpr int64_t kStartSample = 65'536;

/// s = sqrt(d / mean |x|^2), not centred: scaled tokens have mean square 1 per channel. 1 when all tokens are
/// 0. Throws NumericError when a value is not finite.
double start_scale(View<const float, 2> tokens);

/// [d], in scaled units.
HostTensor start_centre(View<const float, 2> tokens, double scale, CentreStart kind);

/// [n, d] directions uniform on the sphere, norm 1.
HostTensor random_directions(int64_t n, int64_t d, uint64_t seed, uint64_t stream);

/// Rows `directions` times `norm`; untied: W_dec = W; b_enc = 0.
SaeParameters start_parameters(const HostTensor& directions, double norm, const HostTensor& centre,
                               double scale, bool tied);

}  // namespace branchsae
