#include "apps/result_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace fs = std::filesystem;

namespace {

/// What processes that were killed left of a folder; what others write just now stays.
void remove_leftovers(const fs::path& folder) {
  const std::string prefix = folder.filename().string() + ".tmp";
  std::error_code ignored;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.rfind(".tmp") + 4 == prefix.size() && is_leftover(name))
      left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove_all(path, ignored);
}

[[noreturn]] void fail(const char* what, const fs::path& path, int code) {
  throw IoError(fmt::format("cannot {} '{}': {}", what, path.string(), std::strerror(code)));
}

/// Everything written to the file system that the folder is on: one call for thousands of small files.
void sync_file_system(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) fail("open", folder, errno);
  const int result = ::syncfs(file), code = errno;
  ::close(file);
  if (result != 0) fail("write", folder, code);
}

}  // namespace

fs::path result_folder(const OpenedRun& run, const RunTap& tap, const std::string& out) {
  const fs::path folder = (out.empty() ? run.folder : fs::path(out)) / tap.folder;
  make_writable_folder(folder);
  return folder;
}

std::string result_name(const std::string& command, const RunTap& tap, int64_t k) {
  return k == tap.k ? command : fmt::format("{}-k{}", command, k);
}

StagedFolder::StagedFolder(fs::path folder) : folder_(std::move(folder)), staged_(temporary_beside(folder_)) {
  remove_leftovers(folder_);
  std::error_code error;
  fs::create_directory(staged_, error);
  if (error) fail("create", staged_, error.value());
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staged_, ignored);
}

void StagedFolder::write(const std::string& name, const std::string& bytes) {
  const fs::path path = staged_ / name;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) fail("create", path.parent_path(), error.value());
  errno = 0;
  std::ofstream stream(path, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) fail("write", folder_ / name, errno == 0 ? EIO : errno);
}

void StagedFolder::commit() {
  sync_file_system(staged_);
  std::error_code error;
  if (fs::exists(folder_, error)) {
    if (::renameat2(AT_FDCWD, staged_.c_str(), AT_FDCWD, folder_.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(staged_, error);  // what was there before
      committed_ = true;
      return;
    }
    fs::remove_all(folder_, error);  // a file system that cannot exchange names
  }
  fs::rename(staged_, folder_, error);
  if (error) fail("rename onto", folder_, error.value());
  committed_ = true;
}

}  // namespace branchsae::apps
