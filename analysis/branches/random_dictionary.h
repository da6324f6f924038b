#pragma once
/// The control beside a trained autoencoder: directions that nobody learned.
#include <cstdint>

#include "model/sae_file.h"

namespace branchsae {

/// Its sizes: min(rows, n) latents; of every n / k as many are kept as of the autoencoder's, at least one, so
/// that a latent fires as often on average.
SaeSpec random_dictionary_spec(const SaeSpec& spec, int64_t rows);

/// Latents of independent normal directions with the norms of the autoencoder's rows (spread
/// over them evenly), its b_pre and scale, no b_enc, tied.
SaeFile random_dictionary(const SaeFile& sae, int64_t rows, uint64_t seed);

}  // namespace branchsae
