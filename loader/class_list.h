#pragma once
/// What the model's outputs are called: class index, WordNet id and names.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace branchsae {

struct ClassInfo {
  std::string wordnet_id;  ///< "n01440764"; empty where the list has none
  std::string names;       ///< "tench, Tinca tinca": synonyms, the usual one first
};

/// Classes by index, immutable. WordNet ids are unique.
class ClassList {
 public:
  /// Throws InputError when two classes have the same WordNet id. `source` is for messages.
  ClassList(std::vector<ClassInfo> classes, std::string source);

  int64_t size() const { return static_cast<int64_t>(classes_.size()); }
  const ClassInfo& at(int64_t index) const { return classes_.at(static_cast<size_t>(index)); }
  /// The first name only: "tench".
  std::string short_name(int64_t index) const;
  /// -1 when no class has this WordNet id.
  int32_t find(std::string_view wordnet_id) const;
  /// The file the list came from, or "built-in".
  const std::string& source() const { return source_; }

 private:
  std::vector<ClassInfo> classes_;
  std::unordered_map<std::string, int32_t> by_id_;
  std::string source_;
};

/// A UTF-8 text of lines INDEX <tab> WORDNET_ID <tab> NAMES in any order; lines that are empty or begin with
/// '#' are skipped, the WordNet id may be empty or '-'. Indices are 0 .. count - 1, each once.
/// Throws InputError naming file and line.
std::shared_ptr<const ClassList> load_class_list(const std::filesystem::path& path);

/// The 1,000 classes of ILSVRC-2012, in the order every public GoogLeNet uses: that of the sorted WordNet
/// ids.
std::shared_ptr<const ClassList> builtin_class_list();

/// `classes_file` when given, else imagenet_classes.tsv beside the model when there is one, else the built-in
/// list. Throws InputError as load_class_list does.
std::shared_ptr<const ClassList> choose_class_list(const std::optional<std::filesystem::path>& classes_file,
                                                   const std::filesystem::path& model_file);

}  // namespace branchsae
