#pragma once
/// Short lines of text on pictures.
#include <string>

#include "loader/image_decode.h"

namespace branchsae {

inline constexpr int64_t kTextHeight = 12;  ///< pixels from one line to the next

/// Width of a line, pixels.
int64_t text_width(const std::string& text);
/// Cut, with "..", to what fits into `width` pixels.
std::string fit_text(std::string text, int64_t width);
/// Draws one line with its top left at (left, top); characters outside ASCII become '?'. Pixels outside the
/// image are left out.
void draw_text(RgbImage& image, int64_t left, int64_t top, const std::string& text, uint8_t grey);

}  // namespace branchsae
