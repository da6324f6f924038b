#pragma once
/// The files of one command: all of them are there at the end, or none.
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace branchsae::apps {

/// Removes what was made under its folder unless commit() was called.
class OutputFolder {
 public:
  /// Makes the folder. Throws InputError when it cannot be written, or `path` is empty ("--out is missing").
  explicit OutputFolder(const std::string& path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  /// Path of a file that is about to be completed; removed with the rest on failure.
  std::filesystem::path file(const std::string& name);
  void commit() { committed_ = true; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_folders_;  ///< outermost first
  std::set<std::filesystem::path> before_;           ///< files of ours that an earlier command left there
  std::vector<std::filesystem::path> files_;
  bool committed_ = false;
};

}  // namespace branchsae::apps
