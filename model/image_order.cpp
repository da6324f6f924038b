#include "model/image_order.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/random.h"
#include "model/image_sequence.h"

namespace branchsae {

std::string to_string(ImageOrder order) {
  if (order == ImageOrder::kAuto) return "auto";
  return order == ImageOrder::kRandom ? "random" : "shards";
}

ImageOrder parse_image_order(std::string_view text) {
  for (const ImageOrder order : {ImageOrder::kAuto, ImageOrder::kRandom, ImageOrder::kShards}) {
    if (text == to_string(order)) return order;
  }
  throw InputError("no order of images is called '" + std::string(text) + "'; give auto, random or shards");
}

namespace model {

ImageOrder resolve_order(ImageOrder order, const ImageSource& source) {
  if (order == ImageOrder::kShards && source.shards() == 0) {
    throw InputError("--order shards is for images that all come from tar shards; leave it out");
  }
  if (order != ImageOrder::kAuto) return order;
  return source.shards() >= 2 ? ImageOrder::kShards : ImageOrder::kRandom;
}

ShardPlaces places_by_shard(const ImageSource& source, const std::vector<int64_t>& images) {
  ShardPlaces shards(static_cast<size_t>(std::max<int64_t>(source.shards(), 1)));
  for (size_t place = 0; place < images.size(); ++place) {
    shards.at(static_cast<size_t>(source.shard(images[place]))).push_back(static_cast<int32_t>(place));
  }
  for (std::vector<int32_t>& places : shards) {
    std::ranges::stable_sort(
        places, {}, [&](int32_t place) { return source.offset(images[static_cast<size_t>(place)]); });
  }
  return shards;
}

std::vector<int32_t> order_by_shards(const ShardPlaces& shards, int64_t buffer, uint64_t seed,
                                     int64_t epoch) {
  const auto number = static_cast<uint64_t>(epoch);
  std::vector<int32_t> in_file_order;
  for (const int32_t shard : random_permutation(static_cast<int64_t>(shards.size()), seed,
                                                random_stream(RandomUse::kShardOrder, number))) {
    const std::vector<int32_t>& places = shards[static_cast<size_t>(shard)];
    in_file_order.insert(in_file_order.end(), places.begin(), places.end());
  }
  Random random(seed, random_stream(RandomUse::kShuffleBuffer, number));
  const size_t held = std::min(in_file_order.size(), static_cast<size_t>(buffer));
  std::vector<int32_t> waiting(in_file_order.begin(),
                               in_file_order.begin() + static_cast<std::ptrdiff_t>(held));
  std::vector<int32_t> order;
  order.reserve(in_file_order.size());
  for (size_t next = held; !waiting.empty(); ++next) {
    int32_t& drawn = waiting[random.below(waiting.size())];
    order.push_back(drawn);
    if (next < in_file_order.size()) {
      drawn = in_file_order[next];
    } else {
      drawn = waiting.back();
      waiting.pop_back();
    }
  }
  return order;
}

}  // namespace model
}  // namespace branchsae
