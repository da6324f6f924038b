#pragma once
/// How much of a latent's activation comes from each branch: by the encoder's sum, and by taking the branch
/// away.
#include <memory>
#include <span>
#include <vector>

#include "analysis/branches/shares.h"
#include "engine/device.h"
#include "model/sae_file.h"

namespace branchsae {

/// [latents, branches]; NaN for a latent that never fired.
struct LatentBranchValues {
  int64_t branches = 0;
  std::vector<double> values;
  double at(size_t latent, size_t branch) const {
    return values[latent * static_cast<size_t>(branches) + branch];
  }
};

/// Evidence g_ib = E[e_ib . (a_b - b_pre,b) | f_i > 0] / E[e_i . (a - b_pre) | f_i > 0], e_i the encoder's
/// row: sums to 1 over the branches, may be negative. NaN where the whole is 0.
class EvidenceSums {
 public:
  /// `sae` outlives it.
  EvidenceSums(const SaeFile& sae, std::vector<ChannelGroup> groups, int threads);
  /// tokens [rows, d] as the network computes them, and their codes [rows, k]; all on the host. Same sums for
  /// any number of threads. Throws ShapeError.
  void add(View<const float, 2> tokens, View<const float, 2> values, View<const int32_t, 2> indices);
  LatentBranchValues shares() const;

 private:
  /// Of latents [begin, end).
  void add_parts(View<const float, 2> values, View<const int32_t, 2> indices, int64_t begin, int64_t end);

  const SaeFile& sae_;
  std::vector<ChannelGroup> groups_;
  int threads_;
  std::vector<double> parts_;  ///< of a batch, [rows, k, branches]
  std::vector<double> sums_;   ///< [latents, branches]
  std::vector<int64_t> fired_;
};

/// Causal share k_ib = 1 - E[f_i(a with branch b at its mean) | f_i > 0] / E[f_i | f_i > 0]: the tokens are
/// encoded again with the branch's channels at their means, TopK included. 1: without the branch the latent
/// is silent; 0: it does not need it; below 0: it fires more. Need not sum to 1.
class CausalSums {
 public:
  /// means [d]: of the channels over all tokens, unscaled. Batches of up to max_rows tokens.
  CausalSums(const Device& device, const SaeFile& sae, int64_t k, std::vector<ChannelGroup> groups,
             std::vector<float> means, int64_t max_rows, SaePrecision precision);
  /// As EvidenceSums::add. Blocking.
  void add_sync(Stream& stream, View<const float, 2> tokens, View<const float, 2> values,
                View<const int32_t, 2> indices);
  LatentBranchValues shares() const;

 private:
  void encode_without(Stream& stream, const ChannelGroup& group, View<const float, 2> tokens);

  Backend& backend_;
  std::unique_ptr<SaeExecutor> sae_;
  int64_t k_;
  std::vector<ChannelGroup> groups_;
  std::vector<float> means_;
  DeviceBuffer<float> tokens_, values_;
  DeviceBuffer<int32_t> indices_;
  std::vector<float> host_tokens_, host_values_;
  std::vector<int32_t> host_indices_;
  std::vector<double> kept_;   ///< [latents, branches] sum of f without the branch
  std::vector<double> whole_;  ///< [latents] sum of f
};

}  // namespace branchsae
