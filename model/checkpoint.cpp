#include "model/checkpoint.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/log.h"
#include "model/json.h"
#include "model/run_files.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostIndexBytes = int64_t{1} << 26;

Json generation_json(const std::optional<Generation>& generation) {
  if (!generation) return nullptr;
  return {{"step", generation->step}, {"files", generation->files}};
}

std::optional<Generation> parse_generation(const Json& index, const char* name, const std::string& where) {
  if (!index.is_object() || !index.contains(name) || index.at(name).is_null()) return std::nullopt;
  const Json& json = index.at(name);
  Generation generation{json_field<int64_t>(json, "step", where),
                        json_field<std::map<std::string, std::string>>(json, "files", where)};
  for (const auto& [path, hash] : generation.files) {
    const fs::path relative(path);
    const bool leaves = relative.is_absolute() || relative.lexically_normal().string().starts_with("..");
    if (leaves) throw InputError(fmt::format("'{}' is damaged: it names the file '{}'", where, path));
  }
  return generation;
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path run) : run_(std::move(run)) {
  const fs::path path = run_ / "checkpoint.json";
  if (!fs::exists(path)) return;
  const Json index = parse_json(read_file(path, kMostIndexBytes), path.string());
  current_ = parse_generation(index, "current", path.string());
  previous_ = parse_generation(index, "previous", path.string());
}

fs::path CheckpointStore::folder(int64_t step) const {
  return run_ / "checkpoints" / fmt::format("{}", step);
}

/// Empty when every file has its hash.
std::string CheckpointStore::why_unusable(const Generation& generation) const {
  for (const auto& [path, hash] : generation.files) {
    const fs::path file = folder(generation.step) / path;
    std::error_code error;
    if (!fs::is_regular_file(file, error)) return fmt::format("'{}' is missing", file.string());
    try {
      if (sha256_of_file(file) != hash)
        return fmt::format("'{}' has changed since it was written", file.string());
    } catch (const Error& failure) {
      return failure.what();
    }
  }
  return "";
}

std::optional<Generation> CheckpointStore::choose_verified() {
  if (!current_ && !previous_) return std::nullopt;
  std::string last_reason;
  for (auto* generation : {&current_, &previous_}) {
    if (!*generation) continue;
    last_reason = why_unusable(**generation);
    if (last_reason.empty()) {
      if (generation == &previous_) {
        current_ = std::move(previous_);
        previous_.reset();
      }
      return current_;
    }
    log(LogLevel::kWarning,
        fmt::format("checkpoint of step {} is not usable: {}", (*generation)->step, last_reason));
  }
  throw InputError(fmt::format("no checkpoint in '{}' is usable: {}", run_.string(), last_reason));
}

void CheckpointStore::commit(int64_t step, const std::vector<File>& files) {
  if (current_ && current_->step == step) return;
  const fs::path place = folder(step);
  if (fs::exists(place)) remove_tree(place);  // left by a process that was killed before it could commit
  Generation generation{step, {}};
  for (const File& file : files) {
    make_folder((place / file.path).parent_path());
    file.write(place / file.path);
    generation.files[file.path] = sha256_of_file(place / file.path);
  }
  const Json index{{"current", generation_json(generation)}, {"previous", generation_json(current_)}};
  write_text(run_ / "checkpoint.json", index.dump(2) + "\n");
  previous_ = std::move(current_);
  current_ = std::move(generation);
}

void CheckpointStore::remove_others() {
  std::error_code error;
  std::vector<fs::path> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_ / "checkpoints", error)) {
    const bool named = (current_ && entry.path() == folder(current_->step)) ||
                       (previous_ && entry.path() == folder(previous_->step));
    if (!named) others.push_back(entry.path());
  }
  for (const fs::path& path : others) remove_tree(path);
}

}  // namespace branchsae::model
