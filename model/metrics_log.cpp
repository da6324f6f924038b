#include "model/metrics_log.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/error.h"
#include "engine/files.h"
#include "model/json.h"
#include "model/run_files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

/// The complete lines of steps up to last_step, in order.
std::string kept_lines(const std::string& text, int64_t last_step) {
  std::string kept;
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) continue;
    if (json["step"].get<int64_t>() <= last_step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

void StepSums::add(const SaeStats& stats) {
  tokens += stats.tokens;
  squared_error += stats.squared_error;
  total_variance += stats.total_variance;
  active += stats.active;
  dead = stats.dead;
}

TapProgress StepSums::progress(const std::string& tap, int64_t n, double learning_rate) const {
  const auto count = static_cast<double>(tokens);
  return {.tap = tap,
          .loss = squared_error / count,
          .fvu = squared_error / total_variance,
          .l0 = active / count,
          .dead = static_cast<double>(dead) / static_cast<double>(n),
          .learning_rate = learning_rate};
}

MetricsLog::MetricsLog(fs::path path, int64_t last_step) : path_(std::move(path)) {
  const std::string old = fs::exists(path_) ? read_file(path_) : "";
  const std::string kept = kept_lines(old, last_step);
  if (kept != old || !fs::exists(path_)) write_text(path_, kept);
}

void MetricsLog::append(int64_t step, int64_t tokens, const TapProgress& progress, double tokens_per_second) {
  const Json line{{"step", step},
                  {"tokens", tokens},
                  {"loss", progress.loss},
                  {"fvu", progress.fvu},
                  {"l0", progress.l0},
                  {"dead", progress.dead},
                  {"lr", progress.learning_rate},
                  {"tokens_per_s", tokens_per_second}};
  before_file_change("append", path_);
  errno = 0;
  std::ofstream stream(path_, std::ios::app | std::ios::binary);
  stream << line.dump() << '\n' << std::flush;
  if (!stream) throw IoError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno)));
}

}  // namespace branchsae::model
