#include "model/run_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "engine/error.h"
#include "engine/files.h"
#include "model/run_files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 3> kTapFiles{"sae.safetensors", "state.safetensors", "config.json"};

/// `path` or the nearest folder above it that exists.
fs::path nearest_existing(const fs::path& path) {
  std::error_code error;
  fs::path place = fs::absolute(path, error).lexically_normal();
  while (!fs::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  return place;
}

/// The outermost folder on the way to `path` that does not exist; empty when all do.
fs::path outermost_missing(const fs::path& path) {
  fs::path missing;
  std::error_code error;
  for (fs::path place = fs::absolute(path, error).lexically_normal(); !fs::exists(place, error);
       place = place.parent_path()) {
    missing = place;
  }
  return missing;
}

[[noreturn]] void refuse_existing(const fs::path& run) {
  throw InputError(
      fmt::format("'{}' already holds a run; go on with it by --resume {}, or give another --out",
                  run.string(), run.string()));
}

void remove_if_empty(const fs::path& folder) {
  std::error_code ignored;
  if (fs::is_directory(folder, ignored) && fs::is_empty(folder, ignored)) fs::remove(folder, ignored);
}

}  // namespace

bool RunFolder::holds_run(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "run.json", error) || fs::exists(path / "checkpoint.json", error);
}

void RunFolder::check_new() const {
  if (run_.empty()) throw InputError("--out is needed: the folder that the run is written to");
  if (holds_run(run_)) refuse_existing(run_);
  const fs::path place = nearest_existing(run_);
  std::error_code error;
  if (!fs::is_directory(place, error)) {
    throw InputError(
        fmt::format("'{}' is a file where a folder is expected; give another --out", place.string()));
  }
  if (::access(place.c_str(), W_OK | X_OK) != 0) {
    throw InputError(fmt::format("the folder '{}' is not writable; give another --out", place.string()));
  }
}

void RunFolder::create() {
  created_ = outermost_missing(run_);
  before_file_change("create folder", run_);
  make_writable_folder(run_);
  lock_ = std::make_unique<RunLock>(run_);
  if (holds_run(run_)) refuse_existing(run_);
  store_.emplace(run_);
}

void RunFolder::discard(const std::vector<RunTap>& taps) {
  if (!is_open()) return;
  std::error_code ignored;
  for (const RunTap& tap : taps) {
    fs::remove(tap_folder(tap) / "metrics.jsonl", ignored);
    fs::remove_all(tap_folder(tap) / "tensorboard", ignored);
    remove_if_empty(tap_folder(tap));
  }
  fs::remove(run_ / "run.json", ignored);
  lock_.reset();
  if (created_.empty()) return;
  fs::path place = fs::absolute(run_, ignored).lexically_normal();
  for (; place != created_.parent_path() && place.has_relative_path(); place = place.parent_path()) {
    remove_if_empty(place);
  }
}

RunInfo RunFolder::open() {
  std::error_code error;
  if (!fs::is_directory(run_, error)) {
    throw InputError(fmt::format("'{}' is no folder; give one that train wrote", run_.string()));
  }
  read_run(run_);  // before a lock file is put into a folder that holds no run
  lock_ = std::make_unique<RunLock>(run_);
  RunInfo info = read_run(run_);
  remove_leftovers(run_);
  for (const RunTap& tap : info.taps) remove_leftovers(tap_folder(tap));
  store_.emplace(run_);
  return info;
}

std::optional<Generation> RunFolder::newest_checkpoint() {
  return store_->choose_verified();
}

TapSnapshot RunFolder::load(const Generation& generation, const RunTap& tap) const {
  const fs::path folder = store_->folder(generation.step) / tap.folder;
  for (const char* name : kTapFiles) {
    const std::string path = tap.folder + "/" + name;
    if (generation.files.contains(path)) continue;
    throw InputError(
        fmt::format("the checkpoint of step {} in '{}' lacks '{}'", generation.step, run_.string(), path));
  }
  TapSnapshot snapshot;
  snapshot.sae = load_sae(folder / "sae.safetensors");
  snapshot.state = load_state(folder / "state.safetensors", snapshot.sae.spec);
  snapshot.config = read_file(folder / "config.json");
  return snapshot;
}

void RunFolder::commit(int64_t step, const std::vector<RunTap>& taps,
                       const std::vector<TapSnapshot>& snapshots) {
  std::vector<CheckpointStore::File> files;
  for (size_t i = 0; i < taps.size(); ++i) {
    const TapSnapshot& snapshot = snapshots[i];
    const std::string folder = taps[i].folder + "/";
    files.push_back({folder + kTapFiles[0], [&](const fs::path& path) {
                       write_tensors(path, branchsae::to_safetensors(snapshot.sae));
                     }});
    files.push_back({folder + kTapFiles[1],
                     [&](const fs::path& path) { write_tensors(path, to_safetensors(snapshot.state)); }});
    files.push_back(
        {folder + kTapFiles[2], [&](const fs::path& path) { write_text(path, snapshot.config); }});
  }
  store_->commit(step, files);
  publish(taps);
  store_->remove_others();
}

void RunFolder::publish(const std::vector<RunTap>& taps) {
  if (!store_->current()) return;
  const fs::path generation = store_->folder(store_->current()->step);
  for (const RunTap& tap : taps) {
    make_folder(tap_folder(tap));
    for (const char* name : {"sae.safetensors", "config.json"}) {
      link_or_copy(generation / tap.folder / name, tap_folder(tap) / name);
    }
  }
}

void RunFolder::write_info(const RunInfo& info) {
  write_run(run_, info);
}

}  // namespace branchsae::model
