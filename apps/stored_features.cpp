#include "apps/stored_features.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace {

using nlohmann::json;

/// Leaves out what takes most of the file's room.
json parse_without_lists(const std::string& text) {
  return json::parse(text, [](int, json::parse_event_t event, json& parsed) {
    if (event != json::parse_event_t::key) return true;
    const auto& key = parsed.get_ref<const std::string&>();
    return key != "top" && key != "quantiles" && key != "neighbours" && key != "histogram" &&
           key != "concepts";
  });
}

}  // namespace

std::optional<std::map<int64_t, StoredFeature>> stored_features(const std::filesystem::path& file,
                                                                const std::string& sae_sha256) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  try {
    const json document = parse_without_lists(read_file(file));
    if (document.at("about").at("sae_sha256") != sae_sha256) return std::nullopt;
    std::map<int64_t, StoredFeature> features;
    for (const json& entry : document.at("features")) {
      StoredFeature& feature = features[entry.at("id").get<int64_t>()];
      feature.density = entry.at("density").get<double>();
      if (const json& label = entry.at("label"); !label.is_null()) feature.label = label.at("name");
    }
    return features;
  } catch (const json::exception& error) {
    throw InputError(
        fmt::format("'{}' is damaged; remove it, or run `branchsae features` again", file.string()),
        error.what());
  }
}

}  // namespace branchsae::apps
