#pragma once
/// Latents of two autoencoders paired by similarity.
#include <cstdint>
#include <span>
#include <vector>

namespace branchsae {

struct LatentPair {
  int32_t a = 0, b = 0;
  float similarity = 0;
  bool operator==(const LatentPair&) const = default;
};

/// One-to-one pairs of the largest total similarity, out of `candidates`; latents may stay alone, and
/// candidates that are not positive are never taken. By ascending a. Exact. Time grows with the candidates
/// that compete for the same latents, not with n^3: components that share none are independent.
/// Source: Kuhn 1955; Jonker and Volgenant 1987 for shortest augmenting paths. Throws InputError for a latent
/// beyond rows or columns, or a similarity that is not finite.
std::vector<LatentPair> one_to_one(std::span<const LatentPair> candidates, int64_t rows, int64_t columns);

}  // namespace branchsae
