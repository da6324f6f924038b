#pragma once
/// Committed generations of a run's state.
///
/// A generation is a folder RUN/checkpoints/<step>; it counts once RUN/checkpoint.json, renamed into place
/// after all of its files are on the disk, names it with their hashes. The generation before stays until
/// then, and after, so a kill or a full disk at any moment leaves one that verifies.
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace branchsae::model {

struct Generation {
  int64_t step = 0;
  std::map<std::string, std::string> files;  ///< path below its folder -> sha256
};

class CheckpointStore {
 public:
  /// What a generation holds: path below its folder, and who writes it there.
  struct File {
    std::string path;
    std::function<void(const std::filesystem::path&)> write;
  };

  /// Reads checkpoint.json where there is one. Throws InputError when it is damaged.
  explicit CheckpointStore(std::filesystem::path run);

  std::filesystem::path folder(int64_t step) const;
  const std::optional<Generation>& current() const { return current_; }
  /// The newest generation whose files all have their hashes; makes it the current one. Warns for one that
  /// does not verify. Unset when none was ever committed; throws InputError when there were some and none
  /// verifies.
  std::optional<Generation> choose_verified();
  /// Writes, then commits. Nothing happens when the current generation is this step's already.
  void commit(int64_t step, const std::vector<File>& files);
  /// Removes generations that checkpoint.json does not name.
  void remove_others();

 private:
  std::string why_unusable(const Generation& generation) const;
  std::filesystem::path run_;
  std::optional<Generation> current_, previous_;
};

}  // namespace branchsae::model
