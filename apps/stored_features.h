#pragma once
/// What `features` left behind, for commands that name latents.
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace branchsae::apps {

struct StoredFeature {
  double density = 0;
  std::string label;  ///< empty where it has none
};

/// Latents of a features.json by number. Unset when the file is not there, or is about another autoencoder
/// than the one with this sha256. Throws InputError when it is damaged.
std::optional<std::map<int64_t, StoredFeature>> stored_features(const std::filesystem::path& file,
                                                                const std::string& sae_sha256);

}  // namespace branchsae::apps
