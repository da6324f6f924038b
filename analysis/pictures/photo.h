#pragma once
/// Photos as the network sees them, cut and coloured by what a latent did on them.
#include <array>
#include <span>

#include "engine/images.h"
#include "loader/image_decode.h"

namespace branchsae {

/// The image that the network is given. Throws InputError when it cannot be read, or when it is no 8-bit RGB
/// (preprocessed arrays are no pictures).
RgbImage photo(const ImageSource& images, int64_t index);

/// Pixels [left, left + width) x [top, top + height) of an image.
struct PixelBox {
  int64_t left = 0, top = 0, width = 0, height = 0;
};

/// Where a position of a tap looks: its centre is pixel (i + 1/2) * side / extent, which is 16 i + 8 for a
/// 14 x 14 grid on 224 pixels; the square of `side` pixels around it, moved inside the image where it would
/// reach over the edge, and cut to the image where it is larger.
PixelBox box_around(int64_t position, std::array<int64_t, 2> grid, int64_t side, int64_t image_height,
                    int64_t image_width);
RgbImage crop(const RgbImage& image, const PixelBox& box);

/// The photo in grey, under z [grid] as colour: black, violet, red, yellow from 0 to `most`; upsampled
/// bilinearly between the positions' centres. Where z is 0 the photo shows, darker. Throws ShapeError.
RgbImage heat_over(const RgbImage& photo, std::span<const float> z, std::array<int64_t, 2> grid, float most);

/// Resized bilinearly.
RgbImage resized(const RgbImage& image, int64_t width, int64_t height);
/// Copies `part` into `canvas` with its top left pixel at (left, top); what lies outside is left out.
void paste(RgbImage& canvas, const RgbImage& part, int64_t left, int64_t top);
RgbImage blank_image(int64_t width, int64_t height, uint8_t grey);

}  // namespace branchsae
