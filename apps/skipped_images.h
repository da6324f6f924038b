#pragma once
/// The rule for images that cannot be read: skipped with a warning and counted; all of it is an error with
/// --strict, or when more than half are unreadable.
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/run.h"

namespace branchsae::apps {

class SkippedImages {
 public:
  SkippedImages(const ImageSource& images, int64_t asked, bool strict)
      : images_(&images), asked_(asked), strict_(strict) {}
  /// Warns (of the first few by name). Throws InputError with --strict or beyond the half.
  void add(int64_t index, const std::string& reason);
  /// Warns of how many there were beyond those named.
  void finish() const;
  const std::vector<SkippedImage>& list() const { return list_; }

 private:
  const ImageSource* images_;
  int64_t asked_;
  bool strict_;
  std::vector<SkippedImage> list_;
};

/// How many the training and evaluation jobs skipped, which have warned of each by themselves.
void warn_of_skipped(const std::vector<SkippedImage>& skipped);

}  // namespace branchsae::apps
