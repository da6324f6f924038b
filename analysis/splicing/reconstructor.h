#pragma once
/// Tokens through autoencoders and back, by several numbers of kept latents.
#include <span>
#include <vector>

#include "engine/backend.h"

namespace branchsae {

/// The k largest of one token's selection, ties to the lower index, in ascending index order as they came.
/// values, indices  [most] as SaeExecutor::encode writes them
/// to_values, to_indices  [k] (out; unused slots 0 and -1)
void keep_largest(std::span<const float> values, std::span<const int32_t> indices, std::span<float> to_values,
                  std::span<int32_t> to_indices);

/// Memory for one batch of tokens at a time, shared by autoencoders.
class Reconstructor {
 public:
  /// Up to `rows` tokens, up to `k` latents kept of each, up to `d` channels.
  Reconstructor(Backend& backend, int64_t rows, int64_t k, int64_t d);

  /// Encodes once, keeping `k` latents a token. tokens [rows, d], device.
  void encode(Stream& stream, SaeExecutor& sae, View<const float, 2> tokens, int64_t k);
  /// x_hat [rows, d] of what was encoded, of each token only its `k` largest latents, up to those encoded;
  /// unscaled units, device; overwritten by the next call.
  View<const float, 2> decode(Stream& stream, SaeExecutor& sae, int64_t k);

 private:
  void keep_sync(Stream& stream, int64_t k);

  Backend& backend_;
  DeviceBuffer<float> values_, kept_values_, x_hat_;
  DeviceBuffer<int32_t> indices_, kept_indices_;
  std::vector<float> host_values_, host_kept_values_;
  std::vector<int32_t> host_indices_, host_kept_indices_;
  int64_t rows_ = 0, k_ = 0;  ///< of the last encode()
};

}  // namespace branchsae
