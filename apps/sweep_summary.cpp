#include "apps/sweep_summary.h"

#include <fmt/format.h>

#include <map>
#include <sstream>

#include "apps/numbers.h"
#include "apps/run_summary.h"
#include "apps/table.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace {

std::optional<double> metric(const SweepLine& line, const char* name) {
  if (!line.metrics.is_object() || !line.metrics.contains(name) || !line.metrics[name].is_number())
    return std::nullopt;
  return line.metrics[name].get<double>();
}

std::string figure(const std::optional<double>& value) {
  return value ? as_figure(*value) : "-";
}

/// By tap: the line with the least FVU.
std::map<std::string, const SweepLine*> best_lines(const std::vector<SweepLine>& lines) {
  std::map<std::string, const SweepLine*> best;
  for (const SweepLine& line : lines) {
    const auto fvu = metric(line, "fvu");
    if (!fvu || !line.failure.empty()) continue;
    const auto [found, is_new] = best.try_emplace(line.tap, &line);
    if (!is_new && *fvu < *metric(*found->second, "fvu")) found->second = &line;
  }
  return best;
}

/// Of the last line of metrics.jsonl, which is what `train` prints. Unset without one.
std::optional<double> last_loss(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  std::istringstream lines(read_file(file));
  std::string last;
  for (std::string line; std::getline(lines, line);) last = std::move(line);
  const Json json = Json::parse(last, nullptr, false);
  if (!json.is_object() || !json.contains("loss") || !json["loss"].is_number()) return std::nullopt;
  return json["loss"].get<double>();
}

}  // namespace

std::vector<SweepLine> sweep_lines(const TrainResult& result) {
  std::vector<SweepLine> lines;
  for (const MemberResult& member : result.members) {
    for (const TapResult& tap : member.taps) {
      lines.push_back({member.name, tap.tap.name, tap.tap.d, tap.tap.n, tap.tap.k,
                       tap.last.tap.empty() ? std::nullopt : std::optional(tap.last.loss),
                       tap.held_out ? Json::parse(to_json(*tap.held_out)) : Json(), member.failure});
    }
  }
  return lines;
}

std::vector<SweepLine> sweep_lines(const std::filesystem::path& run, const RunInfo& info) {
  std::vector<SweepLine> lines;
  for (const SweepState& member : info.members) {
    const std::filesystem::path folder = run / "sweep" / member.name;
    const RunInfo own = read_run(folder);
    for (const RunTap& tap : own.taps) {
      lines.push_back({member.name, tap.name, tap.d, tap.n, tap.k,
                       last_loss(folder / tap.folder / "metrics.jsonl"), stored_metrics(folder / tap.folder),
                       member.failure});
    }
  }
  return lines;
}

std::string sweep_text(const std::vector<SweepLine>& lines) {
  using enum Table::Align;
  Table table({{"member"},
               {"tap"},
               {"n", kRight},
               {"k", kRight},
               {"FVU", kRight},
               {"best"},
               {"dead", kRight},
               {"l0", kRight},
               {"loss", kRight}});
  const auto best = best_lines(lines);
  std::string failures;
  for (const SweepLine& line : lines) {
    const auto mark = best.find(line.tap);
    const auto dead = metric(line, "dead");
    const bool failed = !line.failure.empty();
    table.row({line.member, line.tap, std::to_string(line.n), std::to_string(line.k),
               failed ? "failed" : figure(metric(line, "fvu")),
               mark != best.end() && mark->second == &line ? "*" : "",
               dead ? fmt::format("{:.2f} %", 100 * *dead) : "-", figure(metric(line, "l0")),
               failed ? "-" : figure(line.loss)});
    const std::string reason = fmt::format("{}: {}\n", line.member, line.failure);
    if (failed && !failures.ends_with(reason)) failures += reason;
  }
  return table.text() + (failures.empty() ? "" : "\n" + failures);
}

Json sweep_json(const std::vector<SweepLine>& lines, const std::filesystem::path& run) {
  const auto best = best_lines(lines);
  Json members = Json::array();
  for (const SweepLine& line : lines) {
    if (members.empty() || members.back()["member"] != line.member) {
      members.push_back({{"member", line.member},
                         {"folder", (run / "sweep" / line.member).string()},
                         {"failure", line.failure.empty() ? Json() : Json(line.failure)},
                         {"taps", Json::array()}});
    }
    const auto mark = best.find(line.tap);
    members.back()["taps"].push_back({{"tap", line.tap},
                                      {"d", line.d},
                                      {"n", line.n},
                                      {"k", line.k},
                                      {"train_loss", line.loss ? Json(*line.loss) : Json()},
                                      {"held_out", line.metrics},
                                      {"best", mark != best.end() && mark->second == &line}});
  }
  return members;
}

}  // namespace branchsae::apps
