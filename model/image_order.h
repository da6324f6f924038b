#pragma once
/// In which order an epoch visits the training images.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/images.h"

namespace branchsae {

enum class ImageOrder {
  kAuto,    ///< kShards where all images come from two or more tar shards, else kRandom
  kRandom,  ///< every order is as likely as any other; reads jump through the whole set
  kShards   ///< shard after shard, shuffled within a buffer; reads go through each file once
};

/// "auto", "random", "shards". parse throws InputError for another name.
std::string to_string(ImageOrder order);
ImageOrder parse_image_order(std::string_view text);

namespace model {

/// What kAuto means for this set. Throws InputError where kShards is asked for and there are none.
ImageOrder resolve_order(ImageOrder order, const ImageSource& source);

/// Places 0..count-1 of a list of images by shard, each shard's in the file's order.
using ShardPlaces = std::vector<std::vector<int32_t>>;
ShardPlaces places_by_shard(const ImageSource& source, const std::vector<int64_t>& images);

/// A permutation of all places. The shards' order is random; their places pass through a buffer of `buffer`
/// places, from which one is drawn at random and replaced by the next, until both are empty. So a place never
/// comes more than `buffer` - 1 earlier than in the file, and later by `buffer` on average.
/// Depends on shards, buffer, seed and epoch only.
std::vector<int32_t> order_by_shards(const ShardPlaces& shards, int64_t buffer, uint64_t seed, int64_t epoch);

}  // namespace model
}  // namespace branchsae
