#pragma once
/// The generated table behind WordNet (analysis/wordnet.h).
#include <span>
#include <string_view>

namespace branchsae {

struct SynsetRow {
  std::string_view id;         ///< "n00015388"
  std::string_view name;       ///< its first lemma
  std::string_view hypernyms;  ///< ids, by blanks
};

/// Hypernyms come before what is below them.
std::span<const SynsetRow> wordnet_table();

}  // namespace branchsae
