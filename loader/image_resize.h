#pragma once
/// The one definition of how a photo becomes the network's square of pixels.
#include "loader/image_decode.h"

namespace branchsae {

/// Resizes so that the short side has `resize` pixels (enlarging too), then cuts the centre `crop` x `crop`.
///   sizes    the long side becomes floor(resize * long / short)
///   crop     begins at floor((size - crop) / 2) on either axis
///   filter   a triangle whose half-width is max(1, r) source pixels, r = source size / resized size of the
///            axis: bilinear, and antialiased when shrinking. Output pixel i is centred at (i + 0.5) r,
///            source pixel j at j + 0.5; weights are computed in double and divided by their sum over the
///            pixels inside the image
///   order    horizontally, then vertically, in float; rounded to 8 bits once, at the end
/// That is what Pillow's resize(BILINEAR) computes, but for its rounding in between. The same bits on every
/// x86-64 machine: each output is a sum in a fixed order.
/// dst  [crop, crop, 3] (out)
/// Throws InputError unless 1 <= crop <= resize, and for an image without pixels.
void resize_and_crop(const RgbImage& image, int64_t resize, int64_t crop, uint8_t* dst);

}  // namespace branchsae
