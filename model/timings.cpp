#include "model/timings.h"

#include <fstream>

#include "model/json.h"

namespace branchsae {

std::vector<std::pair<const char*, double*>> timing_fields(TrainTimings& t) {
  return {{"setup", &t.setup},
          {"wait", &t.wait},
          {"forward", &t.forward},
          {"cache", &t.cache},
          {"encode", &t.encode},
          {"decode_gradient", &t.decode},
          {"update", &t.update},
          {"step", &t.step},
          {"checkpoint", &t.checkpoint},
          {"evaluation", &t.evaluation},
          {"other", &t.other},
          {"total", &t.total},
          {"image_decoding", &t.image_decoding}};
}

std::vector<std::pair<const char*, double>> timed_parts(const TrainTimings& timings) {
  TrainTimings copy = timings;
  std::vector<std::pair<const char*, double>> parts;
  for (const auto& [name, field] : timing_fields(copy)) {
    if (field != &copy.total && field != &copy.image_decoding) parts.emplace_back(name, *field);
  }
  return parts;
}

std::string to_json(const TrainTimings& timings) {
  TrainTimings copy = timings;
  model::Json json;
  for (const auto& [name, field] : timing_fields(copy)) json[name] = *field;
  json["peak_memory_bytes"] = timings.peak_memory_bytes;
  return json.dump();
}

int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace branchsae
