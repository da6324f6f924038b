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
  /// `considered`: the images that the job may read, which outlive this; more than half of them unreadable is
  /// an InputError, and with `strict` any one is.
  SkippedImages(const ImageSource& source, const std::vector<int64_t>& considered, bool strict);
  /// Warns, of the first few by name, and remembers. When the image's shard is gone, cut off or another one,
  /// so are all of the shard's images that it lost, with one line for all. Throws InputError as above.
  void add(int64_t index, const std::string& reason);
  /// What an earlier process found; no warning.
  void restore(int64_t index, const std::string& reason);
  bool contains(int64_t index) const { return reasons_.contains(index); }
  /// By index.
  std::vector<SkippedImage> list() const;

 private:
  void lose(int64_t index, const std::string& reason);
  void check_share(int64_t index, const std::string& reason) const;

  const ImageSource& source_;
  const std::vector<int64_t>& considered_;
  bool strict_;
  std::map<int64_t, std::string> reasons_;
  int64_t named_ = 0;  ///< that had a line of their own
};

}  // namespace branchsae::model
