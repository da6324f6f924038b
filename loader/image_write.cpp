#include "loader/image_write.h"

// jpeglib.h needs these first.
#include <csetjmp>
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae {
namespace {

/// libjpeg reports errors by longjmp: nothing with a destructor lives between compress() and the failing
/// call.
struct Encoder {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf on_error{};
  std::array<char, JMSG_LENGTH_MAX> message{};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
};

[[noreturn]] void fail(j_common_ptr info) {
  auto& encoder = *static_cast<Encoder*>(info->client_data);
  info->err->format_message(info, encoder.message.data());
  std::longjmp(encoder.on_error, 1);
}

bool compress(Encoder& encoder, const RgbImage& image, int quality) {
  if (setjmp(encoder.on_error) != 0) return false;
  jpeg_compress_struct& info = encoder.info;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &encoder.bytes, &encoder.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor =
      1;  // else small crops lose their colours
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPLE*>(image.pixels.data()) +
                static_cast<size_t>(info.next_scanline) * static_cast<size_t>(image.width) * 3;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

std::string encode_jpeg(const RgbImage& image, int quality) {
  if (image.width < 1 || image.height < 1 || image.width > JPEG_MAX_DIMENSION ||
      image.height > JPEG_MAX_DIMENSION ||
      static_cast<int64_t>(image.pixels.size()) != image.width * image.height * 3) {
    throw InputError(fmt::format("an image of {} x {} with {} bytes of pixels cannot be a JPEG", image.width,
                                 image.height, image.pixels.size()));
  }
  Encoder encoder;
  encoder.info.err = jpeg_std_error(&encoder.errors);
  encoder.errors.error_exit = fail;
  encoder.info.client_data = &encoder;
  const bool done = compress(encoder, image, quality);
  std::string bytes;
  if (done) bytes.assign(reinterpret_cast<const char*>(encoder.bytes), encoder.size);
  jpeg_destroy_compress(&encoder.info);
  std::free(encoder.bytes);
  if (!done) throw Error(fmt::format("cannot encode a JPEG: {}", encoder.message.data()));
  return bytes;
}

}  // namespace branchsae
