#include "analysis/features/labels.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae {

ImageSynsets::ImageSynsets(const WordNet& wordnet, const std::vector<std::string>& wordnet_ids)
    : wordnet_(&wordnet), counts_(wordnet.synsets().size()) {
  int64_t named = 0;
  for (const std::string& id : wordnet_ids) {
    const int32_t synset = id.empty() ? -1 : wordnet.find(id);
    image_.push_back(synset);
    named += id.empty() ? 0 : 1;
    if (synset < 0) continue;
    ++labelled_;
    for (int32_t above : wordnet.synset(synset).lineage) ++counts_[static_cast<size_t>(above)];
  }
  if (named > 0 && labelled_ == 0) {
    throw InputError(fmt::format(
        "none of the {} labelled images has a class of ImageNet's 1,000 by its WordNet id; give their ids "
        "with --classes",
        named));
  }
}

std::vector<uint8_t> ImageSynsets::below(std::string_view wordnet_id) const {
  const int32_t ancestor = wordnet_->find(wordnet_id);
  if (ancestor < 0)
    throw InputError(fmt::format("the built-in WordNet has no synset {}", std::string(wordnet_id)));
  std::vector<uint8_t> flags;
  for (int32_t synset : image_) flags.push_back(synset >= 0 && wordnet_->is_a(synset, ancestor) ? 1 : 0);
  return flags;
}

}  // namespace branchsae
