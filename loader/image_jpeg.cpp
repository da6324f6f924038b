// jpeglib.h needs these first.
#include <csetjmp>
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/error.h"
#include "loader/image_codecs.h"

namespace branchsae::loader {
namespace {

/// A progressive file may refine the same pixels over and over; encoders write about a dozen scans.
constexpr int kMaxScans = 100;

/// Everything libjpeg's callbacks touch. libjpeg reports errors by longjmp, so that nothing with a destructor
/// may live in the frames between guarded() and the failing call.
struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf on_error{};
  std::array<char, JMSG_LENGTH_MAX> message{};
  bool source_ended = false;
};

Decoder& decoder_of(j_common_ptr info) {
  return *static_cast<Decoder*>(info->client_data);
}

[[noreturn]] void fail(j_common_ptr info) {
  Decoder& decoder = decoder_of(info);
  info->err->format_message(info, decoder.message.data());
  std::longjmp(decoder.on_error, 1);
}

/// Level -1 is a warning about damaged data that libjpeg would paper over, and would print.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_JPEG_EOF:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
      fail(info);
    default:
      break;  // stray bytes, odd but harmless headers
  }
}

void limit_scans(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  Decoder& decoder = decoder_of(info);
  if (decompress->input_scan_number <= kMaxScans) return;
  std::snprintf(decoder.message.data(), decoder.message.size(), "more than %d scans", kMaxScans);
  std::longjmp(decoder.on_error, 1);
}

/// At the end of the bytes libjpeg is given an end-of-image marker: harmless when only that was missing,
/// while a cut scan then raises JWRN_HIT_MARKER.
boolean end_source(j_decompress_ptr info) {
  static constexpr JOCTET kEndOfImage[] = {0xFF, JPEG_EOI};
  Decoder& decoder = *static_cast<Decoder*>(info->client_data);
  decoder.source_ended = true;
  decoder.source.next_input_byte = kEndOfImage;
  decoder.source.bytes_in_buffer = sizeof kEndOfImage;
  return TRUE;
}

void skip_source(j_decompress_ptr info, long count) {
  jpeg_source_mgr& source = *info->src;
  if (count <= 0) return;
  if (static_cast<size_t>(count) > source.bytes_in_buffer) {
    end_source(info);
    return;
  }
  source.next_input_byte += count;
  source.bytes_in_buffer -= static_cast<size_t>(count);
}

/// Runs calls into libjpeg; false when one failed. `calls` must hold nothing with a destructor.
template <typename Calls>
bool guarded(Decoder& decoder, Calls calls) {
  if (setjmp(decoder.on_error) != 0) return false;
  calls();
  return true;
}

/// Frees what libjpeg holds, also when an exception leaves.
class Session {
 public:
  explicit Session(Bytes bytes) {
    decoder_.info.err = jpeg_std_error(&decoder_.errors);
    decoder_.info.client_data = &decoder_;
    decoder_.errors.error_exit = fail;
    decoder_.errors.emit_message = on_message;
    decoder_.source.next_input_byte = bytes.data();
    decoder_.source.bytes_in_buffer = bytes.size();
    decoder_.source.init_source = [](j_decompress_ptr) {};
    decoder_.source.fill_input_buffer = end_source;
    decoder_.source.skip_input_data = skip_source;
    decoder_.source.resync_to_restart = jpeg_resync_to_restart;
    decoder_.source.term_source = [](j_decompress_ptr) {};
    decoder_.progress.progress_monitor = limit_scans;
    run([&] {
      jpeg_create_decompress(&decoder_.info);
      decoder_.info.src = &decoder_.source;
      decoder_.info.progress = &decoder_.progress;
    });
  }
  ~Session() { jpeg_destroy_decompress(&decoder_.info); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  template <typename Calls>
  void run(Calls calls) {
    if (!guarded(decoder_, calls)) throw InputError(std::string("JPEG: ") + decoder_.message.data());
  }
  jpeg_decompress_struct& info() { return decoder_.info; }
  bool source_ended() const { return decoder_.source_ended; }

 private:
  Decoder decoder_;
};

int orientation_of(const jpeg_decompress_struct& info) {
  static constexpr char kExif[] = {'E', 'x', 'i', 'f', 0, 0};
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->data_length > sizeof kExif && std::memcmp(marker->data, kExif, sizeof kExif) == 0) {
      return exif_orientation(Bytes(marker->data, marker->data_length).subspan(sizeof kExif));
    }
  }
  return 1;
}

bool is_cmyk(const jpeg_decompress_struct& info) {
  return info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
}

/// [count, 4] CMYK to RGB; `inverted` samples are 255 - ink, as Adobe's programs write them.
void cmyk_to_rgb(const uint8_t* cmyk, int64_t count, bool inverted, uint8_t* rgb) {
  const int flip = inverted ? 0 : 255;
  for (int64_t i = 0; i < count; ++i, cmyk += 4, rgb += 3) {
    const int light = cmyk[3] ^ flip;
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(((cmyk[c] ^ flip) * light + 127) / 255);
  }
}

/// Samples of a transformed block along either axis.
constexpr unsigned kBlock = 8;

/// The strongest reduction that leaves the short side least_side pixels. Bounds are multiplied, not divided:
/// a photo of 511 pixels is not halved for a side of 256, though libjpeg would round it up to that.
PixelScale scale_for(const jpeg_decompress_struct& info, int64_t least_side) {
  const int64_t width = info.image_width, height = info.image_height;
  int64_t denominator = 1;
  while (denominator < int64_t{kBlock} && std::min(width, height) / (2 * denominator) >= least_side) {
    denominator *= 2;
  }
  const auto spare = [&](int64_t size) { return (denominator - size % denominator) % denominator; };
  return {.denominator = denominator, .spare_columns = spare(width), .spare_rows = spare(height)};
}

void read_rgb_rows(Session& session, RgbImage& image) {
  session.run([&] {
    jpeg_decompress_struct& info = session.info();
    while (info.output_scanline < info.output_height) {
      constexpr JDIMENSION kRows = 16;
      JSAMPROW rows[kRows];
      const JDIMENSION count = std::min(kRows, info.output_height - info.output_scanline);
      for (JDIMENSION i = 0; i < count; ++i) {
        rows[i] = image.pixels.data() + int64_t{info.output_scanline + i} * image.width * 3;
      }
      jpeg_read_scanlines(&info, rows, count);
    }
  });
}

void read_cmyk_rows(Session& session, RgbImage& image) {
  std::vector<uint8_t> cmyk(static_cast<size_t>(image.width) * 4);
  session.run([&] {
    jpeg_decompress_struct& info = session.info();
    while (info.output_scanline < info.output_height) {
      uint8_t* rgb = image.pixels.data() + int64_t{info.output_scanline} * image.width * 3;
      JSAMPROW row = cmyk.data();
      jpeg_read_scanlines(&info, &row, 1);
      cmyk_to_rgb(cmyk.data(), image.width, info.saw_Adobe_marker != 0, rgb);
    }
  });
}

}  // namespace

RgbImage decode_jpeg(Bytes bytes, int64_t max_pixels, int64_t least_side) {
  Session session(bytes);
  jpeg_decompress_struct& info = session.info();
  session.run([&] {
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
  });
  check_size(info.image_width, info.image_height, max_pixels);
  const PixelScale scale = scale_for(info, least_side);
  session.run([&] {
    info.scale_num = kBlock / static_cast<unsigned>(scale.denominator);
    info.scale_denom = kBlock;
    info.out_color_space = is_cmyk(info) ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info);
  });
  // All scans of such a file are read before the first row: one that is missing only shows here.
  if (jpeg_has_multiple_scans(&info) != 0 && session.source_ended()) {
    throw InputError("JPEG: premature end of file");
  }
  RgbImage image = make_image(info.output_width, info.output_height, max_pixels);
  image.scale = scale;
  if (is_cmyk(info)) {
    read_cmyk_rows(session, image);
  } else {
    read_rgb_rows(session, image);
  }
  make_upright(image, orientation_of(info));
  return image;
}

}  // namespace branchsae::loader
