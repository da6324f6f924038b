#pragma once
/// The one definition of how a photo becomes the network's square of pixels.
#include <algorithm>

#include "engine/images.h"
#include "loader/image_decode.h"

namespace branchsae {

/// Resizes so that the short side has `resize` pixels (enlarging too), then cuts a window `crop` x `crop`.
///   sizes    the long side becomes floor(resize * long / short), of the photo's own sizes
///   crop     of the n = size - crop + 1 places on either axis begins at number max(0, ceil(draw n) - 1): in
///            the centre, at floor((size - crop) / 2), for a draw of 1/2; each equally often for uniform ones
///   flip     the window is mirrored left to right
///   filter   a triangle whose half-width is max(1, r) source pixels, r = source size / resized size of the
///            axis: bilinear, and antialiased when shrinking. Output pixel i is centred at (i + 0.5) r,
///            source pixel j at j + 0.5; weights are computed in double and divided by their sum over the
///            pixels inside the image. A pixel of an image that was decoded at 1/s of its size has the
///            weights of all the photo's pixels that it stands for (PixelScale), and the half-width is
///            max(1, sqrt(r^2 - s^2 / 4)), as such pixels are blurred already
///   order    horizontally, then vertically, in float; rounded to 8 bits once, at the end
/// That is what Pillow's resize(BILINEAR) computes, but for its rounding in between. The same bits on every
/// x86-64 machine: each output is a sum in a fixed order.
/// dst  [crop, crop, 3] (out)
/// Throws InputError unless 1 <= crop <= resize, and for an image without pixels.
void resize_and_crop(const RgbImage& image, int64_t resize, int64_t crop, uint8_t* dst,
                     const CropDraw& draw = {});

/// Mirrors [height, width, channels] left to right, in place.
template <class T>
void mirror_rows(int64_t height, int64_t width, int64_t channels, T* pixels) {
  for (int64_t y = 0; y < height; ++y) {
    T* left = pixels + y * width * channels;
    T* right = left + (width - 1) * channels;
    for (; left < right; left += channels, right -= channels) std::swap_ranges(left, left + channels, right);
  }
}

}  // namespace branchsae
