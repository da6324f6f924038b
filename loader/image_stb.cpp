// stb_image for the formats that no other library here reads. Distributions ship old copies with known faults
// in the JPEG, PNG and animation code, none of which is compiled or called.
#include <cstdlib>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_FAILURE_STRINGS
#define STBI_ASSERT(condition) ((void)0)
// Damaged files make it read what it never wrote: zeros, so that the outcome is the same every time.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(pointer, size) std::realloc(pointer, size)
#define STBI_FREE(pointer) std::free(pointer)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/error.h"
#include "loader/image_codecs.h"

namespace branchsae::loader {
namespace {

/// Hands the bytes to stb_image and notices when it wants more than there are: it would take zeros, or leave
/// pixels unset, and call the image good.
struct Feed {
  Bytes bytes;
  size_t at = 0;
  bool ran_out = false;

  size_t left() const { return bytes.size() - at; }

  static int read(void* user, char* to, int count) {
    auto& feed = *static_cast<Feed*>(user);
    const size_t given = std::min(feed.left(), static_cast<size_t>(std::max(count, 0)));
    if (given > 0) std::memcpy(to, feed.bytes.data() + feed.at, given);
    feed.at += given;
    // A short answer to a request of stb_image's buffer size may only be its reading ahead.
    constexpr int kReadAhead = sizeof(stbi__context::buffer_start);
    if (given == 0 || (given < static_cast<size_t>(count) && count != kReadAhead)) feed.ran_out = true;
    return static_cast<int>(given);
  }
  static void skip(void* user, int count) {
    auto& feed = *static_cast<Feed*>(user);
    if (count > 0) feed.at += std::min(feed.left(), static_cast<size_t>(count));
  }
  static int at_end(void* user) { return static_cast<Feed*>(user)->left() == 0 ? 1 : 0; }
};

constexpr stbi_io_callbacks kCallbacks{Feed::read, Feed::skip, Feed::at_end};

}  // namespace

RgbImage decode_with_stb(Bytes bytes, const char* format, int64_t max_pixels) {
  int width = 0, height = 0, channels = 0;
  Feed header{bytes};
  const InputError damaged(std::string(format) + ": damaged, or of a kind that is not read");
  if (stbi_info_from_callbacks(&kCallbacks, &header, &width, &height, &channels) == 0) throw damaged;
  // A BMP stored top-down has a negative height here.
  RgbImage image = make_image(width, std::abs(int64_t{height}), max_pixels);

  Feed feed{bytes};
  const std::unique_ptr<stbi_uc, decltype(&std::free)> rgba(
      stbi_load_from_callbacks(&kCallbacks, &feed, &width, &height, &channels, 4), std::free);
  if (feed.ran_out) throw InputError(std::string(format) + ": premature end of file");
  if (!rgba || width != image.width || height != image.height) throw damaged;
  composite_on_white(rgba.get(), image.width * image.height, image.pixels.data());
  return image;
}

}  // namespace branchsae::loader
