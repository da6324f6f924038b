#pragma once
/// An autoencoder on disk: safetensors with W [n, d], b_enc [n], b_pre [d], W_dec [n, d] when untied;
/// float32, in scaled units; metadata scale, k, tap, tied, model_sha256, preprocess, decoder_norm.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/device.h"
#include "engine/safetensors.h"

namespace branchsae {

struct SaeFile {
  SaeSpec spec;  ///< max_batch, aux_k and precision are not stored
  SaeParameters parameters;
  std::string tap;           ///< as the user wrote it
  std::string model_sha256;  ///< of the network's file
  std::string preprocess;    ///< form of parse_preprocess
};

SafeTensors to_safetensors(const SaeFile& sae);
/// Crash-safe. Throws IoError.
void save_sae(const std::filesystem::path& path, const SaeFile& sae);
/// Throws InputError naming the file: tensors missing, shapes that disagree, k outside 1..n, values that are
/// not finite.
SaeFile load_sae(const std::filesystem::path& path);

/// An executor holding the parameters, for batches of up to max_batch tokens; precision unset:
/// spec.precision.
std::unique_ptr<SaeExecutor> make_executor(const Device& device, const SaeFile& sae, int64_t max_batch = 4096,
                                           std::optional<SaePrecision> precision = std::nullopt);

}  // namespace branchsae
