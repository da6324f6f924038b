#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "engine/error.h"
#include "loader/image_codecs.h"

namespace branchsae::loader {
namespace {

/// Everything libpng's callbacks touch. libpng reports errors by longjmp, so that nothing with a destructor
/// may live in the frames between guarded() and the failing call.
struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  Bytes rest;
  std::jmp_buf on_error{};
  std::array<char, 128> message{};
};

[[noreturn]] void fail(png_structp png, png_const_charp message) {
  auto& decoder = *static_cast<Decoder*>(png_get_error_ptr(png));
  std::snprintf(decoder.message.data(), decoder.message.size(), "%s", message);
  std::longjmp(decoder.on_error, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto& decoder = *static_cast<Decoder*>(png_get_io_ptr(png));
  if (count > decoder.rest.size()) png_error(png, "premature end of file");
  std::memcpy(to, decoder.rest.data(), count);
  decoder.rest = decoder.rest.subspan(count);
}

/// Runs calls into libpng; false when one failed. `calls` must hold nothing with a destructor.
template <typename Calls>
bool guarded(Decoder& decoder, Calls calls) {
  if (setjmp(decoder.on_error) != 0) return false;
  calls();
  return true;
}

/// Frees what libpng holds, also when an exception leaves.
class Session {
 public:
  explicit Session(Bytes bytes) {
    decoder_.rest = bytes;
    run([&] {
      decoder_.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder_, fail, ignore_warning);
      if (decoder_.png != nullptr) decoder_.info = png_create_info_struct(decoder_.png);
    });
    if (decoder_.info == nullptr) {
      png_destroy_read_struct(&decoder_.png, nullptr, nullptr);
      throw InputError("PNG: libpng cannot start");
    }
    png_set_read_fn(decoder_.png, &decoder_, read_bytes);
  }
  ~Session() { png_destroy_read_struct(&decoder_.png, &decoder_.info, nullptr); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  template <typename Calls>
  void run(Calls calls) {
    if (!guarded(decoder_, calls)) throw InputError(std::string("PNG: ") + decoder_.message.data());
  }
  png_structp png() { return decoder_.png; }
  png_infop info() { return decoder_.info; }

 private:
  Decoder decoder_;
};

/// Palette, 1-, 2-, 4- and 16-bit samples, grey and tRNS all become 8-bit RGB or RGBA.
void ask_for_rgb(png_structp png, png_infop info) {
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

int orientation_of(png_structp png, png_infop info) {
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 size = 0;
  png_bytep data = nullptr;
  if (png_get_eXIf_1(png, info, &size, &data) != 0) return exif_orientation(Bytes(data, size));
#endif
  return 1;
}

void read_rows(Session& session, uint8_t* pixels, int64_t row_bytes, int64_t height) {
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (int64_t y = 0; y < height; ++y) rows[static_cast<size_t>(y)] = pixels + y * row_bytes;
  session.run([&] { png_read_image(session.png(), rows.data()); });
}

}  // namespace

RgbImage decode_png(Bytes bytes, int64_t max_pixels) {
  Session session(bytes);
  session.run([&] { png_read_info(session.png(), session.info()); });
  RgbImage image = make_image(png_get_image_width(session.png(), session.info()),
                              png_get_image_height(session.png(), session.info()), max_pixels);
  session.run([&] { ask_for_rgb(session.png(), session.info()); });

  const auto row_bytes = static_cast<int64_t>(png_get_rowbytes(session.png(), session.info()));
  if (row_bytes == image.width * 3) {
    read_rows(session, image.pixels.data(), row_bytes, image.height);
  } else if (row_bytes == image.width * 4) {
    std::vector<uint8_t> rgba(static_cast<size_t>(row_bytes * image.height));
    read_rows(session, rgba.data(), row_bytes, image.height);
    composite_on_white(rgba.data(), image.width * image.height, image.pixels.data());
  } else {
    throw InputError("PNG: " + std::to_string(row_bytes) + " bytes a row of " + std::to_string(image.width) +
                     " pixels");
  }
  make_upright(image, orientation_of(session.png(), session.info()));
  return image;
}

}  // namespace branchsae::loader
