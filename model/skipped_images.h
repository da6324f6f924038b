#pragma once
/// Images of a job that could not be read.
#include <map>
#include <string>
#include <vector>

#include "engine/images.h"
#include "model/run.h"

namespace branchsae::model {

class SkippedImages {
 public:
  /// `considered`: how many images the job may read; more than half of them unreadable is an InputError, and
  /// with `strict` any one is.
  SkippedImages(const ImageSource& source, int64_t considered, bool strict);
  /// Warns, and remembers. Throws InputError as above.
  void add(int64_t index, const std::string& reason);
  /// What an earlier process found; no warning.
  void restore(int64_t index, const std::string& reason);
  bool contains(int64_t index) const { return reasons_.contains(index); }
  /// By index.
  std::vector<SkippedImage> list() const;

 private:
  const ImageSource& source_;
  int64_t considered_;
  bool strict_;
  std::map<int64_t, std::string> reasons_;
};

}  // namespace branchsae::model
