#pragma once
/// Where tests find data that is not in the repository, and how they say that it is absent.
#include <filesystem>
#include <optional>
#include <string>

namespace branchsae::test {

/// The data folder: $BRANCHSAE_DATA, ./data or ../shared beside the checkout; unset when there is none.
std::optional<std::filesystem::path> data_folder();

/// The repository's root.
std::filesystem::path source_folder();

/// A fresh empty folder, removed at the end of the process.
std::filesystem::path temporary_folder();

/// Counts one test as skipped and prints why. Use as: if (!data_folder()) { skip("needs the model"); return;
/// } A binary whose tests were all skipped exits 77, which ctest reports as skipped; the counts are printed
/// either way.
void skip(const char* reason);
int skipped_count();

/// For a binary that can run none of its tests without something, asked before the first: when `missing`
/// names what is absent (and is not empty), all of them count as skipped. Called by a file-level initialiser.
void require(std::string (*missing)());
/// What is absent; empty when nothing is.
std::string missing_requirement();

}  // namespace branchsae::test
