#pragma once
/// What kind of thing a class is: the part of WordNet 3.0 above the ILSVRC-2012 classes.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace branchsae {

struct Synset {
  std::string id;    ///< "n02084071"
  std::string name;  ///< "dog"
  std::vector<int32_t> hypernyms;
  /// This synset and all above it, each once, ascending; hypernyms have lower numbers.
  std::vector<int32_t> lineage;
};

/// A directed acyclic graph: some classes have several hypernyms.
class WordNet {
 public:
  /// The built-in part; made once.
  static const WordNet& built_in();

  const std::vector<Synset>& synsets() const { return synsets_; }
  const Synset& synset(int32_t number) const { return synsets_[static_cast<size_t>(number)]; }
  /// Number of the synset with this id, -1 when it is not among them.
  int32_t find(std::string_view id) const;
  /// Whether `number` is `ancestor` or below it.
  bool is_a(int32_t number, int32_t ancestor) const;

 private:
  WordNet();
  std::vector<Synset> synsets_;
  std::unordered_map<std::string_view, int32_t> numbers_;
};

/// Synsets that the paper's claims speak of.
inline constexpr std::string_view kAnimal = "n00015388", kDog = "n02084071", kBird = "n01503061";

}  // namespace branchsae
