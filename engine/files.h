#pragma once
/// Whole-file reading and crash-safe writing.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

namespace branchsae {

/// The name beside `path` under which this process writes what will become it: PATH.tmp and the process's
/// number.
std::filesystem::path temporary_beside(const std::filesystem::path& path);
/// Whether a name ends like that, and no other process that runs now would have made it: what a process that
/// was killed left behind. Processes of another machine that share the folder are not seen.
bool is_leftover(std::string_view name);

/// Writes through `fill` to a temporary name beside `path`, syncs, renames. On any error the temporary file
/// is removed and `path` is untouched. Throws IoError naming path and cause (full disk, permission).
void write_file_atomically(const std::filesystem::path& path, const std::function<void(std::ostream&)>& fill);
void write_file_atomically(const std::filesystem::path& path, std::span<const char> bytes);

/// Throws InputError when the file cannot be read or exceeds max_bytes.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 40);

/// Lower-case hexadecimal.
std::string sha256_of_file(const std::filesystem::path& path);
std::string sha256_of(std::span<const char> bytes);

/// Throws InputError when `path` exists and is no folder, or cannot be created or written.
void make_writable_folder(const std::filesystem::path& path);

}  // namespace branchsae
