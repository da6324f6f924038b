#pragma once
/// Where analyses put what they find: beside the autoencoder that it is about.
#include <filesystem>
#include <string>

#include "apps/run_input.h"

namespace branchsae::apps {

/// The folder of one tap's results: RUN/<tap>, or DIR/<tap> with --out DIR; made when it is missing. Throws
/// InputError when it cannot be written.
std::filesystem::path result_folder(const OpenedRun& run, const RunTap& tap, const std::string& out);

/// "features", or "features-k8" where k is not the number that the tap was trained with.
std::string result_name(const std::string& command, const RunTap& tap, int64_t k);

/// Files of a folder that take the place of an older one all at once. Without commit() nothing remains, and
/// the older folder stays.
class StagedFolder {
 public:
  /// Removes what a killed process left of this folder. Throws IoError.
  explicit StagedFolder(std::filesystem::path folder);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  /// `name` may be in folders below. Throws IoError naming the file (disk full).
  void write(const std::string& name, const std::string& bytes);
  /// Syncs the files and renames the folder.
  void commit();

 private:
  std::filesystem::path folder_, staged_;
  bool committed_ = false;
};

}  // namespace branchsae::apps
