#pragma once
/// Codes of tokens, on the host.
#include <memory>
#include <vector>

#include "engine/device.h"
#include "model/sae_file.h"

namespace branchsae {

/// The k' < k largest of every token of a selection of k: values and indices [tokens, k], each token's
/// indices ascending, -1 in unused slots. By the selection contract (engine/sae.h) this is what encoding with
/// k' itself gives. `values` and `indices` (out) are [tokens, k'].
void keep_largest(View<const float, 2> values, View<const int32_t, 2> indices, View<float, 2> kept_values,
                  View<int32_t, 2> kept_indices);

/// One autoencoder that encodes up to max_rows tokens and keeps the codes of the latest.
class TokenEncoder {
 public:
  /// ks: each in 1..n, none twice. One product of tokens and encoder serves them all. Throws InputError.
  TokenEncoder(const Device& device, const SaeFile& sae, std::vector<int64_t> ks, int64_t max_rows,
               SaePrecision precision);

  /// tokens [rows, d], unscaled, device. Blocking.
  void encode_sync(Stream& stream, View<const float, 2> tokens);

  const std::vector<int64_t>& ks() const { return ks_; }
  /// Of the latest tokens, for ks()[which]; host, [rows, k]. Valid until the next encode_sync().
  View<const float, 2> values(size_t which) const;
  View<const int32_t, 2> indices(size_t which) const;

 private:
  struct Codes {
    std::vector<float> values;
    std::vector<int32_t> indices;
  };
  Backend& backend_;
  std::vector<int64_t> ks_;
  int64_t most_, rows_ = 0;
  std::unique_ptr<SaeExecutor> sae_;
  DeviceBuffer<float> values_;
  DeviceBuffer<int32_t> indices_;
  std::vector<Codes> codes_;  ///< by k
};

}  // namespace branchsae
