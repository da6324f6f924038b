#pragma once
/// A run's folder while a process trains in it.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/run.h"
#include "model/run_lock.h"
#include "model/sae_file.h"
#include "model/state_file.h"

namespace branchsae::model {

/// What a checkpoint holds of one tap.
struct TapSnapshot {
  SaeFile sae;
  TrainState state;
  std::string config;  ///< config.json
};

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path run) : run_(std::move(run)) {}

  /// Whether there is a run, finished or not.
  static bool holds_run(const std::filesystem::path& path);
  /// create() or open() was called.
  bool is_open() const { return lock_ != nullptr; }

  /// Throws InputError unless a new run can be written there. Changes nothing.
  void check_new() const;
  /// Creates the folder and locks it. Throws InputError when a run appeared there meanwhile.
  void create();
  /// Takes back what create() and the writes since did, when nothing was trained; a folder that is not open
  /// is left alone.
  void discard(const std::vector<RunTap>& taps);

  /// Locks an existing run, reads it, and clears away what a killed process left.
  RunInfo open();
  /// The newest checkpoint that verifies; unset when there is none yet.
  std::optional<Generation> newest_checkpoint();
  TapSnapshot load(const Generation& generation, const RunTap& tap) const;
  const std::optional<Generation>& current() const { return store_->current(); }

  /// Commits a checkpoint, one snapshot per tap, makes it the one that RUN/<tap>/ shows, removes what is
  /// older than the one before.
  void commit(int64_t step, const std::vector<RunTap>& taps, const std::vector<TapSnapshot>& snapshots);
  /// Lets RUN/<tap>/ show the current checkpoint.
  void publish(const std::vector<RunTap>& taps);
  void write_info(const RunInfo& info);

  std::filesystem::path tap_folder(const RunTap& tap) const { return run_ / tap.folder; }
  const std::filesystem::path& path() const { return run_; }

 private:
  std::filesystem::path run_;
  std::filesystem::path created_;  ///< outermost folder that create() made; empty: none
  std::unique_ptr<RunLock> lock_;
  std::optional<CheckpointStore> store_;
};

}  // namespace branchsae::model
