#include "model/skipped_images.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::model {
namespace {

constexpr int64_t kNamed = 5;  // thousands of bad files must not bury everything else

}  // namespace

SkippedImages::SkippedImages(const ImageSource& source, const std::vector<int64_t>& considered, bool strict)
    : source_(source), considered_(considered), strict_(strict) {}

void SkippedImages::add(int64_t index, const std::string& reason) {
  const std::string& name = source_.info(index).name;
  if (strict_) throw InputError(fmt::format("image '{}' cannot be read: {} (--strict)", name, reason));
  if (!reasons_.emplace(index, reason).second) return;
  if (const std::string lost = source_.lost(index); !lost.empty()) {
    lose(index, lost);
  } else if (++named_ <= kNamed) {
    log(LogLevel::kWarning, fmt::format("skipping image '{}': {}{}", name, reason,
                                        named_ == kNamed ? "; further ones are only counted" : ""));
  }
  check_share(index, reason);
}

/// Thousands of images go with a shard: nobody waits until each was asked for.
void SkippedImages::lose(int64_t index, const std::string& reason) {
  int64_t count = 1;
  for (const int64_t other : considered_) {
    if (source_.shard(other) != source_.shard(index) || reasons_.contains(other)) continue;
    if (std::string lost = source_.lost(other); !lost.empty()) {
      reasons_.emplace(other, std::move(lost));
      ++count;
    }
  }
  log(LogLevel::kWarning, fmt::format("{} of {} images cannot be read: {} (first met: '{}')", count,
                                      considered_.size(), reason, source_.info(index).name));
}

void SkippedImages::check_share(int64_t index, const std::string& reason) const {
  if (2 * reasons_.size() <= considered_.size()) return;
  throw InputError(fmt::format("{} of {} images cannot be read (last: '{}': {}); check the images",
                               reasons_.size(), considered_.size(), source_.info(index).name, reason));
}

void SkippedImages::restore(int64_t index, const std::string& reason) {
  if (index >= 0 && index < source_.size()) reasons_.emplace(index, reason);
}

std::vector<SkippedImage> SkippedImages::list() const {
  std::vector<SkippedImage> images;
  for (const auto& [index, reason] : reasons_) images.push_back({index, source_.info(index).name, reason});
  return images;
}

}  // namespace branchsae::model
