#pragma once
/// A run's folder: what was trained, on what, and how far. Layout:
///   run.json                       RunInfo
///   checkpoint.json                the committed checkpoints (checkpoint.h)
///   checkpoints/<step>/<tap>/      sae.safetensors, state.safetensors, config.json
///   <tap>/                         sae.safetensors and config.json of the current one, metrics.jsonl,
///   eval.json lock                           names the process that owns the folder, while one does
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/timings.h"
#include "model/train_options.h"

namespace branchsae {

struct SkippedImage {
  int64_t index = 0;
  std::string name, reason;
};

struct RunTap {
  std::string name;    ///< as the user wrote it
  std::string folder;  ///< under the run
  int64_t d = 0, n = 0, k = 0;
};

/// Where model and images came from: for later commands, and for the record. The program fills it in.
struct RunOrigin {
  std::string model_path;                       ///< absolute
  std::vector<std::string> images;              ///< as given, made absolute
  std::map<std::string, std::string> options;   ///< all resolved command-line options
  std::map<std::string, std::string> versions;  ///< "branchsae", "compiler", ...
};

/// One member of a sweep, as the sweep's run.json tells of it.
struct SweepState {
  std::string name;     ///< its folder is RUN/sweep/<name>
  std::string status;   ///< as RunInfo::status
  std::string failure;  ///< why it takes no part any more; empty: it does
};

struct RunInfo {
  RunOrigin origin;
  std::string model_sha256;
  std::string preprocess;  ///< form of parse_preprocess; empty for images that are preprocessed already
  std::string images_fingerprint;  ///< ImageSource::fingerprint()
  int64_t images_count = 0;
  TrainOptions options;      ///< `out` is the folder it was read from
  std::vector<RunTap> taps;  ///< none in a sweep's: each member has its own
  int64_t round_images = 0;  ///< images per shuffled buffer
  int64_t total_steps = 0;
  std::string status;               ///< "running", "stopped", "failed" or "finished"
  std::string failure;              ///< of a sweep's member that met NaN: why it is out; empty otherwise
  std::vector<SweepState> members;  ///< of a sweep, which has no taps of its own; empty otherwise
  int64_t step = 0;                 ///< when it was last written
  std::string device;               ///< description of the latest process's device
  std::vector<SkippedImage> skipped;
  TrainTimings timings;  ///< of the latest process
};

/// Throws InputError when `run` holds no run or a damaged one.
RunInfo read_run(const std::filesystem::path& run);
/// Crash-safe.
void write_run(const std::filesystem::path& run, const RunInfo& info);

/// RUN/<tap's folder>/sae.safetensors.
std::filesystem::path sae_path(const std::filesystem::path& run, const RunTap& tap);
/// The run's tap of this name. Throws InputError listing the taps there are.
const RunTap& find_tap(const RunInfo& info, std::string_view name);

/// Throws InputError, naming both, unless graph and images are those of the run.
void check_same_model(const RunInfo& info, const std::string& model_sha256);
void check_same_images(const RunInfo& info, const std::string& fingerprint);

}  // namespace branchsae
