#include "apps/timing_table.h"

#include <fmt/format.h>

#include <map>

#include "apps/numbers.h"
#include "apps/table.h"

namespace branchsae::apps {
namespace {

std::string words_for(const std::string& part) {
  static const std::map<std::string, const char*> words = {{"setup", "setting up"},
                                                           {"wait", "waiting for images"},
                                                           {"forward", "network"},
                                                           {"cache", "keeping and shuffling tokens"},
                                                           {"encode", "encode"},
                                                           {"decode_gradient", "decode and gradients"},
                                                           {"update", "update"},
                                                           {"step", "training steps"},
                                                           {"checkpoint", "checkpoints"},
                                                           {"evaluation", "evaluation"},
                                                           {"other", "other"}};
  const auto found = words.find(part);
  return found == words.end() ? part : found->second;
}

}  // namespace

std::string timing_text(const TrainTimings& timings) {
  using enum Table::Align;
  Table table({{"time went to"}, {"s", kRight}, {"share", kRight}});
  const double total = timings.total > 0 ? timings.total : 1;
  for (const auto& [part, seconds] : timed_parts(timings)) {
    if (seconds < 0.0005 * total) continue;  // 0.0 %
    table.row(
        {words_for(part), fmt::format("{:.2f}", seconds), fmt::format("{:.1f} %", 100 * seconds / total)});
  }
  table.row({"total", fmt::format("{:.2f}", timings.total), ""});
  std::string text = table.text();
  text += fmt::format("decoding of images beside it: {:.2f} s of processor time", timings.image_decoding);
  if (timings.peak_memory_bytes > 0)
    text += fmt::format("; peak memory {}", as_bytes(timings.peak_memory_bytes));
  return text + "\n";
}

}  // namespace branchsae::apps
