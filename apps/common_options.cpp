#include "apps/common_options.h"

#include "apps/messages.h"
#include "engine/error.h"
#include "engine/sync_debug.h"

namespace branchsae::apps {
namespace {

bool is_device(const std::string& text) {
  if (text == "auto" || text == "cpu" || text == "cuda") return true;
  return text.starts_with("cuda:") && text.size() > 5 && text.size() < 9 &&
         text.find_first_not_of("0123456789", 5) == std::string::npos;
}

void add_device(OptionSet& options, std::string& target) {
  OptionSet::Entry entry{"--device",
                         "auto|cpu|cuda",
                         "where to compute; cuda:1 is the second GPU",
                         target,
                         {},
                         [&target] { return Json(target); },
                         false};
  entry.set = [&target](const std::vector<std::string>& values) {
    if (!is_device(values.back())) {
      throw InputError("must be auto, cpu, cuda or cuda:N, not '" + values.back() + "'");
    }
    target = values.back();
  };
  options.custom(std::move(entry));
}

}  // namespace

void add_common_options(OptionSet& options, CommonOptions& common) {
  options.group("Common options");
  add_device(options, common.device);
  options.count("--threads", common.threads, 0, 4096, "host threads; 0: as many as there are cores");
  options.count("--seed", common.seed, 0, INT64_MAX, "seed of everything random");
  options.bytes("--max-memory", common.max_memory, "memory for activations and caches, as 2GiB");
  options.flag("--json", common.json, "print one JSON document instead of tables");
  options.text("--config", common.config, "FILE", "TOML file of options; [train] holds those of one command");
  options.flag("--no-progress", common.no_progress, "no progress on stderr");
  options.flag("--sync-debug", common.sync_debug,
               "a GPU waits after every launch: errors are reported where they arise, slowly");
  options.flag("-v,--verbose", common.verbose, "say more, and give the detail of errors");
  options.flag("-q,--quiet", common.quiet, "only warnings and errors on stderr");
}

Device open_device(const CommonOptions& common) {
  set_sync_debug(common.sync_debug);
  Device device = Device::open(common.device, static_cast<int>(common.threads));
  info("device: " + device.backend().description());
  return device;
}

}  // namespace branchsae::apps
