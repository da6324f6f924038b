#pragma once
/// One decoder a format, behind decode_image. Each throws InputError with a one-line reason.
#include <span>
#include <string>

#include "loader/image_decode.h"

namespace branchsae::loader {

using Bytes = std::span<const uint8_t>;

RgbImage decode_jpeg(Bytes bytes, int64_t max_pixels, int64_t least_side);
RgbImage decode_png(Bytes bytes, int64_t max_pixels);
RgbImage decode_pnm(Bytes bytes, int64_t max_pixels);
/// BMP, GIF or TGA; `format` is for messages.
RgbImage decode_with_stb(Bytes bytes, const char* format, int64_t max_pixels);

/// Throws InputError when either side is not positive or there are more than max_pixels; called before
/// anything of that size is allocated.
void check_size(int64_t width, int64_t height, int64_t max_pixels);
/// An image with room for its pixels, its size checked.
RgbImage make_image(int64_t width, int64_t height, int64_t max_pixels);

/// [count, 4] RGBA to [count, 3] RGB on white, rounded to nearest.
void composite_on_white(const uint8_t* rgba, int64_t count, uint8_t* rgb);

/// EXIF orientation 1-8 of a TIFF-structured block (what follows "Exif\0\0"); 1 when absent or damaged.
/// Source: EXIF 2.32 (CIPA DC-008), tag 0x0112 in IFD 0.
int exif_orientation(Bytes tiff);
/// Turns and mirrors the stored image so that it is upright.
void make_upright(RgbImage& image, int orientation);

}  // namespace branchsae::loader
