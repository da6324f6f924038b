#include "model/skipped_images.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::model {

SkippedImages::SkippedImages(const ImageSource& source, int64_t considered, bool strict)
    : source_(source), considered_(considered), strict_(strict) {}

void SkippedImages::add(int64_t index, const std::string& reason) {
  const std::string& name = source_.info(index).name;
  if (strict_) throw InputError(fmt::format("image '{}' cannot be read: {}", name, reason));
  if (!reasons_.emplace(index, reason).second) return;
  log(LogLevel::kWarning, fmt::format("skipping image '{}': {}", name, reason));
  const auto count = static_cast<int64_t>(reasons_.size());
  if (count * 2 > considered_) {
    throw InputError(fmt::format("{} of {} images cannot be read (last: '{}': {}); check the folder", count,
                                 considered_, name, reason));
  }
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
