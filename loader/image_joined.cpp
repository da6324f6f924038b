#include "loader/image_joined.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::loader {
namespace {

std::string pixels_of(const ImageSource& source) {
  return fmt::format("{} [{}, {}, {}]", source.format() == PixelFormat::kU8Rgb ? "uint8" : "float32",
                     source.height(), source.width(), source.channels());
}

}  // namespace

JoinedImages::JoinedImages(std::vector<std::unique_ptr<ImageSource>> parts) : parts_(std::move(parts)) {
  for (const auto& part : parts_) {
    if (pixels_of(*part) != pixels_of(*parts_.front())) {
      throw InputError(fmt::format("images of different kinds cannot be joined: {} is {}, {} is {}",
                                   parts_.front()->info(0).name, pixels_of(*parts_.front()),
                                   part->info(0).name, pixels_of(*part)));
    }
    starts_.push_back(starts_.back() + part->size());
  }
}

size_t JoinedImages::part_of(int64_t index) const {
  return static_cast<size_t>(std::ranges::upper_bound(starts_, index) - starts_.begin()) - 1;
}

const ImageInfo& JoinedImages::info(int64_t index) const {
  const size_t part = part_of(index);
  return parts_.at(part)->info(index - starts_.at(part));
}

std::string JoinedImages::fingerprint() const {
  std::string text;
  for (const auto& part : parts_) text += part->fingerprint() + '\n';
  return sha256_of(text);
}

std::string JoinedImages::preparation() const {
  std::string text;
  for (const auto& part : parts_) {
    const std::string one = part->preparation();
    if (text.find(one) == std::string::npos) text += (text.empty() ? "" : "; ") + one;
  }
  return text;
}

int64_t JoinedImages::shards() const {
  int64_t sum = 0;
  for (const auto& part : parts_) {
    if (part->shards() == 0) return 0;
    sum += part->shards();
  }
  return sum;
}

/// Parts are joined flat: a part is at most one shard.
int64_t JoinedImages::shard(int64_t index) const {
  return shards() == 0 ? 0 : static_cast<int64_t>(part_of(index));
}

int64_t JoinedImages::offset(int64_t index) const {
  const size_t part = part_of(index);
  return parts_.at(part)->offset(index - starts_.at(part));
}

std::string JoinedImages::lost(int64_t index) const {
  const size_t part = part_of(index);
  return parts_.at(part)->lost(index - starts_.at(part));
}

bool JoinedImages::has_room() const {
  return std::ranges::all_of(parts_, [](const auto& part) { return part->has_room(); });
}

std::string JoinedImages::read(int64_t index, void* dst, const CropDraw& draw) const {
  const size_t part = part_of(index);
  return parts_.at(part)->read(index - starts_.at(part), dst, draw);
}

}  // namespace branchsae::loader
