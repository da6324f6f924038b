#include "model/cache_manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/taps.h"
#include "model/json.h"
#include "model/run_files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "branchsae activations";
constexpr int64_t kVersion = 1, kMostBytes = int64_t{64} << 20;

fs::path manifest_path(const fs::path& folder) {
  return folder / "cache.json";
}

void check_empty(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "lock" || name.starts_with("cache.json.tmp")) continue;
    throw InputError(
        fmt::format("--cache '{}' is no cache of activations: it holds '{}' and no cache.json; give a new or "
                    "empty folder",
                    folder.string(), name));
  }
}

const std::string* find_value(const CacheIdentity& identity, const std::string& name) {
  const auto found = std::ranges::find(identity, name, &std::pair<std::string, std::string>::first);
  return found == identity.end() ? nullptr : &found->second;
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& what, const std::string& theirs,
                         const std::string& ours) {
  throw InputError(
      fmt::format("the cache '{}' is of something else ({}: {} there, {} in this run); give another --cache, "
                  "or delete it",
                  folder.string(), what, theirs, ours));
}

CachedTap parse_tap(const Json& json, const std::string& where) {
  CachedTap tap{json_field<std::string>(json, "tap", where),
                {json_field<int64_t>(json, "positions", where), json_field<int64_t>(json, "width", where)}};
  if (tap.extent.positions > 0 && tap.extent.width > 0) return tap;
  throw InputError(fmt::format("'{}' is damaged: tap '{}' has no size", where, tap.name));
}

bool is_this_version(const Json& json, const std::string& where) {
  return json_field<std::string>(json, "format", where) == kFormat &&
         json_field<int64_t>(json, "version", where) == kVersion;
}

CacheManifest parse_manifest(const Json& json, const std::string& where) {
  CacheManifest manifest;
  manifest.precision = parse_cache_precision(json_field<std::string>(json, "precision", where));
  manifest.images_per_shard = json_field<int64_t>(json, "images_per_shard", where);
  if (manifest.images_per_shard < 1 || manifest.images_per_shard > 1 << 20)
    throw InputError(fmt::format("'{}' is damaged: {} images a shard", where, manifest.images_per_shard));
  const Json identity = json_field<Json>(json, "made_with", where),
             taps = json_field<Json>(json, "taps", where);
  for (const auto& [name, value] : identity.items()) {
    manifest.identity.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  for (const Json& tap : taps) manifest.taps.push_back(parse_tap(tap, where));
  return manifest;
}

}  // namespace

std::optional<CacheManifest> read_manifest(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(manifest_path(folder), error)) {
    check_empty(folder);
    return std::nullopt;
  }
  const std::string where = manifest_path(folder).string(), text = read_file(where, kMostBytes);
  try {
    const Json json = parse_json(text, where);
    if (is_this_version(json, where)) return parse_manifest(json, where);
  } catch (const InputError& damage) {
    throw DamagedManifest(damage.what(), damage.detail());
  }
  throw InputError(fmt::format(
      "'{}' is of another version of the program; give another --cache, or delete the folder", where));
}

void write_manifest(const fs::path& folder, const CacheManifest& manifest) {
  Json identity = Json::object(), taps = Json::array();
  for (const auto& [name, value] : manifest.identity) identity[name] = value;
  for (const CachedTap& tap : manifest.taps) {
    taps.push_back({{"tap", tap.name},
                    {"folder", tap_file_name(tap.name)},
                    {"positions", tap.extent.positions},
                    {"width", tap.extent.width}});
  }
  const Json json{{"format", kFormat},
                  {"version", kVersion},
                  {"precision", to_string(manifest.precision)},
                  {"images_per_shard", manifest.images_per_shard},
                  {"made_with", identity},
                  {"taps", taps}};
  write_text(manifest_path(folder), json.dump(2) + "\n");
}

void check_same_cache(const fs::path& folder, const CacheManifest& found, const CacheManifest& wanted) {
  if (found.precision != wanted.precision) {
    throw InputError(fmt::format(
        "the cache '{}' holds {}, not {}; give --cache-precision {}, or another --cache", folder.string(),
        to_string(found.precision), to_string(wanted.precision), to_string(found.precision)));
  }
  for (const auto& [name, ours] : wanted.identity) {
    const std::string* theirs = find_value(found.identity, name);
    if (theirs == nullptr || *theirs != ours) refuse(folder, name, theirs ? *theirs : "none", ours);
  }
}

bool add_taps(const fs::path& folder, CacheManifest& manifest, const std::vector<CachedTap>& taps) {
  bool added = false;
  for (const CachedTap& tap : taps) {
    const auto same = std::ranges::find_if(manifest.taps, [&](const CachedTap& other) {
      return tap_file_name(other.name) == tap_file_name(tap.name);
    });
    if (same == manifest.taps.end()) {
      manifest.taps.push_back(tap);
      added = true;
      continue;
    }
    if (same->name == tap.name && same->extent == tap.extent) continue;
    refuse(folder, fmt::format("tap in its folder '{}'", tap_file_name(tap.name)),
           fmt::format("'{}', {} x {}", same->name, same->extent.positions, same->extent.width),
           fmt::format("'{}', {} x {}", tap.name, tap.extent.positions, tap.extent.width));
  }
  return added;
}

}  // namespace branchsae::model
