#include "apps/run_summary.h"

#include <fmt/format.h>

#include "apps/image_list.h"
#include "apps/numbers.h"
#include "apps/sweep_summary.h"
#include "apps/timing_table.h"
#include "engine/error.h"
#include "engine/files.h"
#include "model/run.h"

namespace branchsae::apps {
namespace {

/// A field of a metrics object as a table shows it; null and absent become "-".
std::string figure(const Json& metrics, const char* name) {
  if (!metrics.is_object() || !metrics.contains(name) || !metrics[name].is_number()) return "-";
  return as_figure(metrics[name].get<double>());
}

std::string percent(const Json& metrics, const char* name) {
  if (!metrics.is_object() || !metrics.contains(name) || !metrics[name].is_number()) return "-";
  return fmt::format("{:.2f} %", 100 * metrics[name].get<double>());
}

Json tap_json(const RunTap& tap, const Json& metrics) {
  return {{"tap", tap.name}, {"folder", tap.folder}, {"d", tap.d},
          {"n", tap.n},      {"k", tap.k},           {"held_out", metrics}};
}

}  // namespace

Json stored_metrics(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder / "eval.json", ignored)) return {};
  const Json stored = Json::parse(read_file(folder / "eval.json", 64 << 20), nullptr, false);
  if (stored.is_discarded())
    throw InputError((folder / "eval.json").string() + ": not JSON; the run is damaged");
  return stored;
}

Table metrics_table(const std::vector<TapLine>& lines) {
  using enum Table::Align;
  Table table({{"tap"},
               {"d", kRight},
               {"n", kRight},
               {"k", kRight},
               {"FVU", kRight},
               {"expl. var.", kRight},
               {"mse", kRight},
               {"l0", kRight},
               {"dead", kRight},
               {"cosine", kRight}});
  for (const TapLine& line : lines) {
    table.row({line.tap, std::to_string(line.d), std::to_string(line.n), std::to_string(line.k),
               figure(line.metrics, "fvu"), figure(line.metrics, "explained_variance"),
               figure(line.metrics, "mse"), figure(line.metrics, "l0"), percent(line.metrics, "dead"),
               figure(line.metrics, "cosine")});
  }
  return table;
}

void summarise_run(const std::filesystem::path& run, Output& out) {
  const RunInfo info = read_run(run);
  std::vector<TapLine> lines;
  Json taps = Json::array();
  for (const RunTap& tap : info.taps) {
    Json metrics = stored_metrics(run / tap.folder);
    taps.push_back(tap_json(tap, metrics));
    lines.push_back({tap.name, tap.d, tap.n, tap.k, std::move(metrics)});
  }
  std::string specs;
  for (const std::string& spec : info.origin.images) specs += (specs.empty() ? "" : ", ") + spec;
  std::string text = fmt::format(
      "run         {}\nstatus      {}, step {} of {}\nmodel       {}\nsha256      {}\npreprocess  {}\nimages "
      "     {} ({} "
      "images, {} skipped)\ndevice      {}\n\n",
      run.string(), info.status, info.step, info.total_steps, info.origin.model_path, info.model_sha256,
      info.preprocess.empty() ? "none, the images are preprocessed" : info.preprocess, specs,
      info.images_count, info.skipped.size(), info.device);
  const std::vector<SweepLine> sweep = sweep_lines(run, info);
  out.text(text + (sweep.empty() ? metrics_table(lines).text() : sweep_text(sweep)));
  Json document = {{"run", run.string()},
                   {"status", info.status},
                   {"step", info.step},
                   {"total_steps", info.total_steps},
                   {"model", info.origin.model_path},
                   {"model_sha256", info.model_sha256},
                   {"preprocess", info.preprocess},
                   {"images", info.origin.images},
                   {"images_count", info.images_count},
                   {"images_fingerprint", info.images_fingerprint},
                   {"device", info.device},
                   {"versions", info.origin.versions}};
  document["options"] = Json::parse(to_json(info.options));
  document["skipped"] = skipped_json(info.skipped);
  document["timings"] = Json::parse(to_json(info.timings));
  document["taps"] = std::move(taps);
  if (!sweep.empty()) document["members"] = sweep_json(sweep, run);
  out.json(std::move(document));
}

std::string train_text(const TrainResult& result, const std::string& run) {
  std::vector<TapLine> lines;
  for (const TapResult& tap : result.taps) {
    lines.push_back({tap.tap.name, tap.tap.d, tap.tap.n, tap.tap.k,
                     tap.held_out ? Json::parse(to_json(*tap.held_out)) : Json()});
  }
  std::string text = result.members.empty() ? metrics_table(lines).text() : sweep_text(sweep_lines(result));
  text.append("\n").append(timing_text(result.timings));
  text += fmt::format(
      "\n{} tokens a tap in {} ({} tokens/s a tap while training); {} training images, {} held out",
      with_separators(result.tokens), as_duration(result.seconds_total),
      with_prefix(result.tokens_per_second), with_separators(result.train_images),
      with_separators(result.held_out_images));
  if (!result.skipped.empty()) text += fmt::format(", {} skipped", result.skipped.size());
  return text + fmt::format("\nrun: {}\n", run);
}

Json train_json(const TrainResult& result, const std::string& run) {
  Json taps = Json::array();
  for (const TapResult& tap : result.taps) {
    Json one = tap_json(tap.tap, tap.held_out ? Json::parse(to_json(*tap.held_out)) : Json());
    one["learning_rate"] = tap.config.learning_rate;
    one["start_norm"] = tap.config.start_norm;
    one["scale"] = tap.scale;
    one["train_fvu"] = tap.last.fvu;
    taps.push_back(std::move(one));
  }
  Json document{{"run", run},
                {"step", result.step},
                {"total_steps", result.total_steps},
                {"tokens", result.tokens},
                {"tokens_per_s", result.tokens_per_second},
                {"train_images", result.train_images},
                {"held_out_images", result.held_out_images},
                {"forward_images", result.forward_images},
                {"seconds",
                 {{"reading", result.seconds_reading},
                  {"training", result.seconds_training},
                  {"evaluating", result.seconds_evaluating},
                  {"total", result.seconds_total}}},
                {"timings", Json::parse(to_json(result.timings))},
                {"skipped", skipped_json(result.skipped)},
                {"taps", std::move(taps)}};
  if (!result.members.empty()) document["members"] = sweep_json(sweep_lines(result), run);
  return document;
}

}  // namespace branchsae::apps
