#include "model/run.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/files.h"
#include "model/json.h"
#include "model/run_files.h"

namespace branchsae {
namespace fs = std::filesystem;
namespace {

using model::Json;
using model::json_field;

constexpr int64_t kMostBytes = int64_t{1} << 28;
constexpr int kFormat = 1;

Json tap_json(const RunTap& tap) {
  return {{"name", tap.name}, {"folder", tap.folder}, {"d", tap.d}, {"n", tap.n}, {"k", tap.k}};
}

RunTap parse_tap(const Json& json, const std::string& where) {
  RunTap tap{json_field<std::string>(json, "name", where), json_field<std::string>(json, "folder", where),
             json_field<int64_t>(json, "d", where), json_field<int64_t>(json, "n", where),
             json_field<int64_t>(json, "k", where)};
  if (tap.folder != tap_file_name(tap.folder) || tap.folder.empty() || tap.folder == "." ||
      tap.folder == "..") {
    throw InputError(fmt::format("'{}' is damaged: '{}' is no folder name of a tap", where, tap.folder));
  }
  return tap;
}

TrainTimings parse_timings(const Json& json, const std::string& where) {
  TrainTimings timings;
  for (const auto& [name, field] : timing_fields(timings)) *field = json_field<double>(json, name, where);
  timings.peak_memory_bytes = json_field<int64_t>(json, "peak_memory_bytes", where);
  return timings;
}

Json member_json(const SweepState& member) {
  return {{"name", member.name}, {"status", member.status}, {"failure", member.failure}};
}

SweepState parse_member(const Json& json, const std::string& where) {
  return {json_field<std::string>(json, "name", where), json_field<std::string>(json, "status", where),
          json_field<std::string>(json, "failure", where)};
}

Json skipped_json(const SkippedImage& image) {
  return {{"index", image.index}, {"name", image.name}, {"reason", image.reason}};
}

RunOrigin parse_origin(const Json& json, const std::string& where) {
  const auto model = json_field<Json>(json, "model", where);
  const auto images = json_field<Json>(json, "images", where);
  return {json_field<std::string>(model, "path", where),
          json_field<std::vector<std::string>>(images, "paths", where),
          json_field<std::map<std::string, std::string>>(json, "command_line", where),
          json_field<std::map<std::string, std::string>>(json, "versions", where)};
}

}  // namespace

void write_run(const fs::path& run, const RunInfo& info) {
  Json json{
      {"format", kFormat},
      {"status", info.status},
      {"step", info.step},
      {"total_steps", info.total_steps},
      {"model",
       {{"path", info.origin.model_path}, {"sha256", info.model_sha256}, {"preprocess", info.preprocess}}},
      {"images",
       {{"paths", info.origin.images},
        {"fingerprint", info.images_fingerprint},
        {"count", info.images_count}}},
      {"taps", Json::array()},
      {"options", Json::parse(to_json(info.options))},
      {"round_images", info.round_images},
      {"seed", info.options.seed},
      {"device", info.device},
      {"versions", info.origin.versions},
      {"command_line", info.origin.options},
      {"skipped", Json::array()},
      {"timings", Json::parse(to_json(info.timings))}};
  if (!info.failure.empty()) json["failure"] = info.failure;
  for (const SweepState& member : info.members) json["members"].push_back(member_json(member));
  for (const RunTap& tap : info.taps) json["taps"].push_back(tap_json(tap));
  for (const SkippedImage& image : info.skipped) json["skipped"].push_back(skipped_json(image));
  // File names are bytes, not always UTF-8: what is not becomes a replacement character here.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  model::write_text(run / "run.json", text + "\n");
}

RunInfo read_run(const fs::path& run) {
  const fs::path path = run / "run.json";
  const std::string where = path.string();
  if (!fs::exists(path)) {
    throw InputError(
        fmt::format("'{}' holds no run: there is no run.json; give a folder that train wrote", run.string()));
  }
  const Json json = model::parse_json(read_file(path, kMostBytes), where);
  if (const int format = json_field<int>(json, "format", where); format != kFormat) {
    throw InputError(fmt::format("'{}' has format {}; this program reads format {}", where, format, kFormat));
  }
  RunInfo info;
  info.origin = parse_origin(json, where);
  info.status = json_field<std::string>(json, "status", where);
  info.step = json_field<int64_t>(json, "step", where);
  info.total_steps = json_field<int64_t>(json, "total_steps", where);
  info.model_sha256 = json_field<std::string>(json.at("model"), "sha256", where);
  info.preprocess = json_field<std::string>(json.at("model"), "preprocess", where);
  info.images_fingerprint = json_field<std::string>(json.at("images"), "fingerprint", where);
  info.images_count = json_field<int64_t>(json.at("images"), "count", where);
  info.options = train_options_from_json(json_field<Json>(json, "options", where).dump(), where);
  info.options.out = run;
  info.round_images = json_field<int64_t>(json, "round_images", where);
  info.device = json_field<std::string>(json, "device", where);
  if (json.contains("timings")) info.timings = parse_timings(json["timings"], where);
  if (json.contains("failure")) info.failure = json_field<std::string>(json, "failure", where);
  if (json.contains("members")) {
    for (const Json& member : json["members"]) info.members.push_back(parse_member(member, where));
  }
  for (const Json& tap : json_field<Json>(json, "taps", where)) info.taps.push_back(parse_tap(tap, where));
  for (const Json& image : json_field<Json>(json, "skipped", where)) {
    info.skipped.push_back({json_field<int64_t>(image, "index", where),
                            json_field<std::string>(image, "name", where),
                            json_field<std::string>(image, "reason", where)});
  }
  return info;
}

fs::path sae_path(const fs::path& run, const RunTap& tap) {
  return run / tap.folder / "sae.safetensors";
}

const RunTap& find_tap(const RunInfo& info, std::string_view name) {
  std::string known;
  for (const RunTap& tap : info.taps) {
    if (tap.name == name) return tap;
    known += (known.empty() ? "" : ", ") + tap.name;
  }
  throw InputError(
      fmt::format("the run '{}' has no tap '{}'; it has {}", info.options.out.string(), name, known));
}

void check_same_model(const RunInfo& info, const std::string& model_sha256) {
  if (info.model_sha256 == model_sha256) return;
  throw InputError(fmt::format("the run '{}' belongs to another model: its sha256 is {}, not {}",
                               info.options.out.string(), info.model_sha256, model_sha256));
}

void check_same_images(const RunInfo& info, const std::string& fingerprint) {
  if (info.images_fingerprint == fingerprint) return;
  throw InputError(fmt::format("the run '{}' belongs to other images: their fingerprint is {}, not {}",
                               info.options.out.string(), info.images_fingerprint, fingerprint));
}

}  // namespace branchsae
