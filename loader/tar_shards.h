#pragma once
/// WebDataset shards: images and their labels in tar files, read at random.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/error.h"
#include "loader/image_file.h"
#include "loader/image_listing.h"

namespace branchsae::loader {

struct Shard {
  ImageListing listing;  ///< sorted by name; offsets into the tar, or into `unpacked`
  /// The images of a compressed tar one after the other; null for a plain one.
  std::shared_ptr<const std::string> unpacked;
};

/// A tar that is empty, damaged, cut off, or no tar.
class DamagedShard : public InputError {
 public:
  using InputError::InputError;
};

/// Lists a tar in ustar, pax or GNU dress, plain or compressed (gzip, bzip2, xz, zstd, lz4).
/// Entries of one WebDataset sample share their name up to the first dot behind the last '/': key.cls labels
/// key.jpg; where key.jpg is there, key.mask.png and the like are none of the set's images. Entries that are
/// no image by name are passed over, as are names that begin with '.'.
/// Where it is damaged or cut off, the images before that place are listed, with one warning that names tar
/// and byte and counts them. Throws DamagedShard where there are none, and with `strict`; InputError for more
/// than max_unpacked_bytes of images in a compressed one.
Shard read_shard(const std::string& path, int64_t max_unpacked_bytes, Labeller& labeller,
                 bool strict = false);

/// Identifies the tar header before the member whose bytes begin at `offset`, in this process. Throws
/// InputError.
uint64_t header_mark(const RegularFile& file, int64_t offset);
/// Why the plain tar at `path` no longer has the entry where read_shard found it, naming the tar; empty when
/// it has.
std::string lost_in_shard(const std::string& path, const ImageEntry& entry);

/// By name (.tar, .tar.gz, .tgz ...) or by the magic of its first header.
bool is_tar(const std::string& path, std::string_view head);
/// Bytes of a file that is_tar has to see.
inline constexpr int64_t kTarHeadBytes = 512;

}  // namespace branchsae::loader
