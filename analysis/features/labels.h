#pragma once
/// The images' classes as synsets, and how many images lie under each.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/wordnet.h"

namespace branchsae {

class ImageSynsets {
 public:
  /// wordnet_ids [images]: of each image's class, "" where it has none. Throws InputError naming the id when
  /// none of a set of labels is known to `wordnet`: another class list must not be joined by position.
  ImageSynsets(const WordNet& wordnet, const std::vector<std::string>& wordnet_ids);

  const WordNet& wordnet() const { return *wordnet_; }
  /// Synset of an image's class, -1 where it is not known.
  int32_t synset(int32_t image) const { return image_[static_cast<size_t>(image)]; }
  int64_t images() const { return static_cast<int64_t>(image_.size()); }
  int64_t labelled() const { return labelled_; }
  /// Labelled images at or below a synset: K_v.
  int64_t count(int32_t synset) const { return counts_[static_cast<size_t>(synset)]; }
  /// Whether each image is at or below the synset, [images]; unlabelled ones are not.
  std::vector<uint8_t> below(std::string_view wordnet_id) const;

 private:
  const WordNet* wordnet_;
  std::vector<int32_t> image_;
  std::vector<int64_t> counts_;  ///< [synsets]
  int64_t labelled_ = 0;
};

}  // namespace branchsae
