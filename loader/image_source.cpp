#include "loader/image_source.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/log.h"
#include "loader/image_array.h"
#include "loader/image_encoded.h"
#include "loader/image_file.h"
#include "loader/image_joined.h"
#include "loader/image_spec.h"
#include "loader/tar_shards.h"

namespace branchsae {
namespace {

using namespace loader;

void check(const ImageOptions& options) {
  if (options.crop < 1 || options.resize < options.crop || options.resize > 65536) {
    throw InputError(fmt::format("resize {} and crop {} do not fit: 1 <= crop <= resize <= 65536",
                                 options.resize, options.crop));
  }
  if (options.max_file_bytes < 1 || options.max_pixels < 1 || options.max_unpacked_bytes < 1) {
    throw InputError("the caps on file size, pixels and unpacked bytes must be at least 1");
  }
}

std::unique_ptr<ImageSource> open_part(const std::string& path, const ImageOptions& options,
                                       Labeller& labeller) {
  const auto from_files = [&](ImageListing listing) {
    return std::make_unique<EncodedImages>(std::move(listing), fetch_from_files(options.max_file_bytes),
                                           options);
  };
  switch (kind_of(path)) {
    case SpecKind::kFolder:
      return from_files(list_folder(path, labeller));
    case SpecKind::kTextList:
      return from_files(list_text(path, labeller));
    case SpecKind::kImage:
      return from_files(list_single(path, labeller));
    case SpecKind::kArray:
      return std::make_unique<ArrayImages>(path);
    case SpecKind::kTar:
      break;
  }
  Shard shard = read_shard(path, options.max_unpacked_bytes, labeller, options.strict);
  const bool in_memory = shard.unpacked != nullptr;
  const auto lost = [path, in_memory](const ImageEntry& entry) {
    return in_memory ? std::string() : lost_in_shard(path, entry);
  };
  return std::make_unique<EncodedImages>(
      std::move(shard.listing), fetch_from_shard(path, std::move(shard.unpacked), options.max_file_bytes),
      options, lost);
}

/// Tars of which nothing is left.
class LostShards {
 public:
  void add(std::string why) { reasons_.push_back(std::move(why)); }
  /// Warns of each, beside `kept` good parts. Throws InputError when they are more than half of all.
  void check(size_t kept) const {
    if (reasons_.size() == 1 && kept == 0) throw InputError(reasons_.front());
    if (reasons_.size() > kept) {
      throw InputError(fmt::format("{} of {} shards hold no image, more than half; the first: {}",
                                   reasons_.size(), reasons_.size() + kept, reasons_.front()));
    }
    for (const std::string& reason : reasons_)
      log(LogLevel::kWarning, fmt::format("{}; it is left out", reason));
  }

 private:
  std::vector<std::string> reasons_;
};

}  // namespace

std::unique_ptr<ImageSource> open_images(const std::vector<std::string>& specs, const ImageOptions& options) {
  check(options);
  Labeller labeller(options.classes);
  std::vector<std::unique_ptr<ImageSource>> parts;
  LostShards lost;
  for (const std::string& spec : specs) {
    for (const std::string& path : expand_spec(spec)) {
      try {
        auto part = open_part(path, options, labeller);
        if (part->size() > 0) parts.push_back(std::move(part));
      } catch (const DamagedShard& damage) {
        if (options.strict) throw InputError(fmt::format("{} (--strict)", damage.what()));
        lost.add(damage.what());
      }
    }
  }
  lost.check(parts.size());
  if (parts.empty()) {
    throw InputError(fmt::format("no image in '{}'; looked for {} files",
                                 printable_path(fmt::format("{}", fmt::join(specs, ","))), kImageExtensions));
  }
  labeller.check_known(options.refuse_unknown);
  if (parts.size() == 1) return std::move(parts.front());
  return std::make_unique<JoinedImages>(std::move(parts));
}

std::unique_ptr<ImageSource> open_images(const std::string& spec, const ImageOptions& options) {
  return open_images(std::vector<std::string>{spec}, options);
}

}  // namespace branchsae
