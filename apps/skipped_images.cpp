#include "apps/skipped_images.h"

#include <fmt/format.h>

#include "apps/messages.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

constexpr size_t kNamed = 5;  // a folder of thousands of bad files must not bury everything else

std::string sentence(const SkippedImage& image) {
  return fmt::format("skipped {}: {}", image.name, image.reason);
}

void warn_of_the_rest(size_t count) {
  if (count > kNamed) warning(fmt::format("{} images were skipped in all", count));
}

}  // namespace

void SkippedImages::add(int64_t index, const std::string& reason) {
  list_.push_back({index, images_->info(index).name, reason});
  if (strict_) throw InputError(fmt::format("{}: {} (--strict)", list_.back().name, reason));
  if (2 * static_cast<int64_t>(list_.size()) > asked_) {
    throw InputError(fmt::format("{} of {} images cannot be read, more than half; the last one: {}: {}",
                                 list_.size(), asked_, list_.back().name, reason));
  }
  if (list_.size() <= kNamed) warning(sentence(list_.back()));
}

void SkippedImages::finish() const {
  warn_of_the_rest(list_.size());
}

void warn_of_skipped(const std::vector<SkippedImage>& skipped) {
  if (!skipped.empty()) warning(fmt::format("{} images were skipped in all", skipped.size()));
}

}  // namespace branchsae::apps
