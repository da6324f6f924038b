#pragma once
/// DIR/cache.json: what a disk cache holds, and of what.
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "model/activation_cache.h"
#include "model/cache_numbers.h"

namespace branchsae::model {

/// All that the bits of a token depend on, as names and values for people.
using CacheIdentity = std::vector<std::pair<std::string, std::string>>;

struct CachedTap {
  std::string name;  ///< as the user writes it; its folder is tap_file_name(name)
  TapExtent extent;
};

struct CacheManifest {
  CachePrecision precision = CachePrecision::kF32;
  int64_t images_per_shard = 0;
  CacheIdentity identity;
  std::vector<CachedTap> taps;
};

/// The manifest cannot be read, so that nobody knows what the shards beside it are of.
class DamagedManifest : public InputError {
 public:
  using InputError::InputError;
};

/// Unset when the folder is empty but for a lock. Throws DamagedManifest; InputError when the folder holds
/// something else, or the cache of another version.
std::optional<CacheManifest> read_manifest(const std::filesystem::path& folder);
/// Crash-safe. Throws IoError.
void write_manifest(const std::filesystem::path& folder, const CacheManifest& manifest);

/// Throws InputError naming the first thing that differs, both values and what to do.
void check_same_cache(const std::filesystem::path& folder, const CacheManifest& found,
                      const CacheManifest& wanted);
/// Adds the taps that are missing; true when there were any. Throws InputError when one would need the folder
/// of another.
bool add_taps(const std::filesystem::path& folder, CacheManifest& manifest,
              const std::vector<CachedTap>& taps);

}  // namespace branchsae::model
