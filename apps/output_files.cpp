#include "apps/output_files.h"

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace fs = std::filesystem;

namespace {

/// Those of the path and its parents that are not there yet, outermost first.
std::vector<fs::path> missing_folders(const fs::path& path) {
  std::vector<fs::path> missing;
  std::error_code ignored;
  for (fs::path at = fs::absolute(path).lexically_normal(); !at.empty() && !fs::exists(at, ignored);
       at = at.parent_path()) {
    if (at.has_filename()) missing.insert(missing.begin(), at);
    if (at == at.parent_path()) break;
  }
  return missing;
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path) : path_(path) {
  if (path.empty()) throw InputError("--out is missing: name the folder to write to");
  made_folders_ = missing_folders(path_);
  make_writable_folder(path_);
}

OutputFolder::~OutputFolder() {
  if (committed_) return;
  std::error_code ignored;
  for (const fs::path& file : files_) {
    if (!before_.contains(file)) fs::remove(file, ignored);
  }
  // Only folders that this command made, and only while they are empty.
  for (auto folder = made_folders_.rbegin(); folder != made_folders_.rend(); ++folder)
    fs::remove(*folder, ignored);
}

fs::path OutputFolder::file(const std::string& name) {
  fs::path path = path_ / name;
  std::error_code ignored;
  if (fs::exists(path, ignored)) before_.insert(path);
  files_.push_back(path);
  return path;
}

}  // namespace branchsae::apps
