#pragma once
/// Opens what a user names as IMAGES.
#include <memory>
#include <string>
#include <vector>

#include "engine/images.h"
#include "loader/class_list.h"

namespace branchsae {

struct ImageOptions {
  int64_t resize = 256;                         ///< short side after resizing, pixels (loader/image_resize.h)
  int64_t crop = 224;                           ///< side of the square centre crop, pixels; at most `resize`
  bool scaled_decode = true;                    ///< large JPEGs at a fraction of their size (decode_image)
  int64_t max_file_bytes = int64_t{256} << 20;  ///< of one encoded image; larger ones are unreadable
  int64_t max_pixels = 100'000'000;             ///< of one image, checked before decoding
  int64_t max_unpacked_bytes = int64_t{2} << 30;  ///< images of one compressed tar, held in memory
  std::shared_ptr<const ClassList> classes{};     ///< joins labels to class indices; null: the built-in list
  bool strict = false;                            ///< a damaged or cut-off tar is an error
  bool refuse_unknown = false;                    ///< labels of which the class list has none are an error
};

/// Opens `spec`, one of
///   folder     every image in it and below, sorted by the bytes of the relative path. Names that begin with
///              '.' are left out; symbolic links are followed, each folder is entered once
///   image      JPEG, PNG, BMP, GIF (first frame), TGA or PNM, told apart by content
///   text list  a path a line, relative to the list's folder, optionally followed by a tab or spaces and a
///              label; '#' begins a comment line. Sorted by path
///   tar        WebDataset shards: key.jpg with an optional key.cls; several by {000..003} or {a,b}. Sorted
///   by
///              shard, then name. Compressed tars are unpacked into memory
///   npy        float32 [N, 3, H, W], already preprocessed (delivered as [H, W, 3]); or uint8 [N, H, W, 3]
///              RGB, already cropped
/// or several of them joined by commas, in the order given. A name that exists is never split.
///
/// Images that turn out unreadable are part of the set; read() says why. ImageInfo::name is always printable
/// UTF-8: other bytes appear as \xNN. Labels: loader/labels.h; labels that the class list does not know
/// become -1, with one warning that counts them; with `refuse_unknown` it has to know one.
///
/// Of a damaged or cut-off tar the images before that place are taken, and tars that hold none are left out,
/// each with one warning that names shard and byte; the same files give the same set again.
///
/// Throws InputError: nothing there (naming the nearest that is), no image in it, more than half of several
/// tars hold nothing, with `strict` any damaged one, an array of another type or shape, parts that do not fit
/// together.
std::unique_ptr<ImageSource> open_images(const std::string& spec, const ImageOptions& options = {});

/// Several specs, joined in the order given.
std::unique_ptr<ImageSource> open_images(const std::vector<std::string>& specs,
                                         const ImageOptions& options = {});

}  // namespace branchsae
