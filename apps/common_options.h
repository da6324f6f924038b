#pragma once
/// The options every command has.
#include <cstdint>
#include <string>

#include "apps/option_set.h"
#include "engine/device.h"

namespace branchsae::apps {

struct CommonOptions {
  std::string device = "auto";
  int64_t threads = 0;  ///< 0: all cores
  int64_t seed = 0;
  int64_t max_memory = 0;  ///< bytes; 0: the command's own choice
  std::string config;
  bool json = false, no_progress = false, sync_debug = false, verbose = false, quiet = false;

  bool progress() const { return !no_progress && !quiet; }
};

void add_common_options(OptionSet& options, CommonOptions& common);

/// Opens --device with --threads and says which it is.
Device open_device(const CommonOptions& common);

}  // namespace branchsae::apps
