#pragma once
/// Tokens through autoencoders and back.
#include "engine/backend.h"

namespace branchsae {

/// Memory for one batch of tokens at a time, shared by autoencoders.
class Reconstructor {
 public:
  /// Up to `rows` tokens, up to `k` latents kept of each, up to `d` channels.
  Reconstructor(Backend& backend, int64_t rows, int64_t k, int64_t d);

  /// x_hat [rows, d] of tokens [rows, d], unscaled units, device; what a later call overwrites.
  View<const float, 2> run(Stream& stream, SaeExecutor& sae, View<const float, 2> tokens, int64_t k);

 private:
  DeviceBuffer<float> values_, x_hat_;
  DeviceBuffer<int32_t> indices_;
};

}  // namespace branchsae
