#pragma once
/// How alike the latents of two layers are by the network's weights: what one writes, and the other reads.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/branches/shares.h"
#include "analysis/matching/similarity.h"
#include "engine/host_tensor.h"

namespace branchsae {

/// Both layers' latents in the channels of the first.
struct VirtualWeights {
  HostTensor writes = {};  ///< [n_a, C_a] decoder rows of the first layer, of length 1 (0 for a row of zeros)
  HostTensor reads = {};   ///< [n_b, C_a] encoder rows of the second, through the opened network, of length 1
  std::vector<ChannelGroup> groups = {};  ///< branches of the first layer's channels
  std::string missing = {};               ///< why there are none; then nothing else is set
};

/// decoder [n_a, C_a]; encoder [n_b, C_b]; map [C_b, C_a] as opened_map() gives it. Throws ShapeError, and
/// InputError for groups that do not cover the channels.
VirtualWeights virtual_weights(View<const float, 2> decoder, View<const float, 2> encoder,
                               const HostTensor& map, std::vector<ChannelGroup> groups);

/// |V_ij| / (|d_i| |M' e_j|): the virtual weight of latent i on latent j, V_ij = e_j' M d_i, as the cosine of
/// what i writes and what j reads, sign left out. By |V_ij| itself latents of long rows would be like all
/// others. Time is n_a x n_b x C_a.
class WeightSimilarity final : public LatentSimilarity {
 public:
  /// live: [n_a], [n_b] whether each latent fires. shuffle: the null, in which the first layer's channels are
  /// exchanged at random inside each branch, in the same way for all of its latents, so that their lengths,
  /// branch shares and cosines with each other stay. The weights must outlive it. Throws ShapeError.
  WeightSimilarity(const VirtualWeights& weights, std::vector<uint8_t> live_a, std::vector<uint8_t> live_b,
                   std::optional<uint64_t> shuffle = std::nullopt);

  int64_t rows() const override { return weights_->writes.dim(0); }
  int64_t columns() const override { return weights_->reads.dim(0); }
  std::vector<uint8_t> live_a() const override { return live_a_; }
  std::vector<uint8_t> live_b() const override { return live_b_; }
  void for_rows(int threads, const Visit& visit) const override;

 private:
  const VirtualWeights* weights_;
  std::vector<uint8_t> live_a_, live_b_;
  std::vector<int32_t> channel_;  // [C_a] that stands in this one's place
};

}  // namespace branchsae
