#pragma once
/// Changes to a run's folder. Every one goes through here, so that a test can make each of them fail.
#include <filesystem>
#include <functional>
#include <string>

#include "engine/safetensors.h"

namespace branchsae::model {

/// Called before every change; what it throws ends the operation. For tests: a full disk, a kill.
using FileHook = std::function<void(const char* operation, const std::filesystem::path& path)>;
void set_file_hook(FileHook hook);
void before_file_change(const char* operation, const std::filesystem::path& path);

/// All crash-safe: the old contents stay until the new ones are complete. Throw IoError.
void write_text(const std::filesystem::path& path, const std::string& text);
void write_tensors(const std::filesystem::path& path, const SafeTensors& tensors);
/// `to` becomes another name of `from`'s file, or a copy where the file system has no hard links. The
/// name is not synced: it can always be made again.
void link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to);

/// Creates a folder and its parents, durably.
void make_folder(const std::filesystem::path& path);
/// Removes a file or folder with all in it; nothing happens when it is not there.
void remove_tree(const std::filesystem::path& path);
/// Removes the files that writes that were cut off left behind (is_leftover()). Folders of such names stay:
/// the analyses that stage their results in them clear those away.
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace branchsae::model
