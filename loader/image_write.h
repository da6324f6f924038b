#pragma once
/// Pictures to encoded files.
#include <string>

#include "loader/image_decode.h"

namespace branchsae {

/// A baseline JPEG without chroma subsampling; quality 1-100 as libjpeg counts it. The same bytes for the
/// same pixels and library. Throws InputError for an image without pixels or of more than 65,500 a side,
/// Error with libjpeg's reason.
std::string encode_jpeg(const RgbImage& image, int quality = 82);

}  // namespace branchsae
