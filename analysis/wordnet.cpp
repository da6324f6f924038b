#include "analysis/wordnet.h"

#include <algorithm>

#include "analysis/wordnet_table.h"

namespace branchsae {

const WordNet& WordNet::built_in() {
  static const WordNet wordnet;
  return wordnet;
}

WordNet::WordNet() {
  for (const SynsetRow& row : wordnet_table()) {
    Synset synset{std::string(row.id), std::string(row.name), {}, {}};
    for (std::string_view rest = row.hypernyms; !rest.empty();) {
      const size_t blank = std::min(rest.find(' '), rest.size());
      synset.hypernyms.push_back(find(rest.substr(0, blank)));
      rest.remove_prefix(std::min(blank + 1, rest.size()));
    }
    const auto number = static_cast<int32_t>(synsets_.size());
    for (int32_t hypernym : synset.hypernyms) {
      const std::vector<int32_t>& above = synsets_[static_cast<size_t>(hypernym)].lineage;
      synset.lineage.insert(synset.lineage.end(), above.begin(), above.end());
    }
    synset.lineage.push_back(number);
    std::ranges::sort(synset.lineage);
    synset.lineage.erase(std::unique(synset.lineage.begin(), synset.lineage.end()), synset.lineage.end());
    synsets_.push_back(std::move(synset));
    numbers_.emplace(row.id, number);
  }
}

int32_t WordNet::find(std::string_view id) const {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? -1 : found->second;
}

bool WordNet::is_a(int32_t number, int32_t ancestor) const {
  return std::ranges::binary_search(synset(number).lineage, ancestor);
}

}  // namespace branchsae
