#include "apps/common_options.h"

#include "apps/messages.h"

namespace branchsae::apps {

void add_common_options(OptionSet& options, CommonOptions& common) {
  options.group("Common options");
  options.text("--device", common.device, "auto|cpu|cuda", "where to compute; cuda:1 is the second GPU");
  options.count("--threads", common.threads, 0, 4096, "host threads; 0: as many as there are cores");
  options.count("--seed", common.seed, 0, INT64_MAX, "seed of everything random");
  options.bytes("--max-memory", common.max_memory, "memory for activations and caches, as 2GiB");
  options.flag("--json", common.json, "print one JSON document instead of tables");
  options.text("--config", common.config, "FILE", "TOML file of options; [train] holds those of one command");
  options.flag("--no-progress", common.no_progress, "no progress on stderr");
  options.flag("-v,--verbose", common.verbose, "say more, and give the detail of errors");
  options.flag("-q,--quiet", common.quiet, "only warnings and errors on stderr");
}

Device open_device(const CommonOptions& common) {
  Device device = Device::open(common.device, static_cast<int>(common.threads));
  info("device: " + device.backend().description());
  return device;
}

}  // namespace branchsae::apps
