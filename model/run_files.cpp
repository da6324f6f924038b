#include "model/run_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <vector>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

FileHook& hook() {
  static FileHook current;
  return current;
}

/// Best effort: some file systems cannot sync a folder.
void sync_folder(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

}  // namespace

void set_file_hook(FileHook new_hook) {
  hook() = std::move(new_hook);
}

void before_file_change(const char* operation, const fs::path& path) {
  if (hook()) hook()(operation, path);
}

void write_text(const fs::path& path, const std::string& text) {
  before_file_change("write", path);
  write_file_atomically(path, std::span<const char>(text.data(), text.size()));
}

void write_tensors(const fs::path& path, const SafeTensors& tensors) {
  before_file_change("write", path);
  write_safetensors(path, tensors);
}

void link_or_copy(const fs::path& from, const fs::path& to) {
  before_file_change("link", to);
  const fs::path temporary = temporary_beside(to);
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_hard_link(from, temporary, error);
  if (error) {
    const std::string bytes = read_file(from);
    write_file_atomically(to, std::span<const char>(bytes.data(), bytes.size()));
    return;
  }
  before_file_change("rename", to);
  fs::rename(temporary, to, error);
  // Renaming one name of a file onto another name of it does nothing, and leaves both.
  std::error_code ignored;
  fs::remove(temporary, ignored);
  if (error) throw IoError(fmt::format("cannot rename onto '{}': {}", to.string(), error.message()));
}

void make_folder(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  before_file_change("create folder", path);
  fs::create_directories(path, error);
  if (error) throw IoError(fmt::format("cannot create the folder '{}': {}", path.string(), error.message()));
  sync_folder(path.parent_path());
}

void remove_tree(const fs::path& path) {
  before_file_change("remove", path);
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw IoError(fmt::format("cannot remove '{}': {}", path.string(), error.message()));
}

void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_regular_file(error) && is_leftover(entry.path().filename().string()))
      leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) {
    before_file_change("remove", path);
    fs::remove(path, error);
  }
}

}  // namespace branchsae::model
