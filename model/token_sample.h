#pragma once
/// Which positions of an image train, where not all of them do. Draws depend on seed, epoch and image only,
/// so they are the same wherever the tokens come from and whenever a run is continued.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/view.h"

namespace branchsae {

enum class TokenSampling {
  kUniform,  ///< every position is as likely as any other; taps on one grid give the same positions
  kNorm      ///< in proportion to the Euclidean norm of the position's token, each tap by its own
};

/// "uniform", "norm". parse throws InputError for another name.
std::string to_string(TokenSampling sampling);
TokenSampling parse_token_sampling(std::string_view text);

namespace model {

/// `count` of `total` positions, ascending.
std::vector<int32_t> sample_positions(int64_t count, int64_t total, uint64_t seed, int64_t epoch,
                                      int64_t image);

/// `count` of the positions, ascending, drawn one after the other without replacement, each time with
/// probability proportional to the norms of those that are left; positions of norm 0 come last, uniformly.
/// A norm that is not finite comes first, so that training meets it and says so.
/// Source: Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir", algorithm A: the
/// largest keys u^(1/w), u uniform in (0, 1]; compared by their logarithms.
std::vector<int32_t> sample_by_norm(int64_t count, std::span<const float> norms, uint64_t seed, int64_t epoch,
                                    int64_t image);

/// Euclidean norms of tokens in host memory, summed in double; norms [tokens] (out).
void token_norms(View<const float, 2> tokens, float* norms);

}  // namespace model
}  // namespace branchsae
