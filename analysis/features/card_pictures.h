#pragma once
/// A feature card's pictures as JPEG files.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "analysis/features/cards.h"
#include "analysis/features/feature_table.h"
#include "engine/images.h"

namespace branchsae {

struct CardPictureOptions {
  std::array<int64_t, 2> grid{};
  int64_t crop_side = 100;                ///< pixels
  std::vector<std::string> heading = {};  ///< of the contact sheet
  /// What stands below a picture on the sheet.
  std::function<std::string(const ImageScore&)> caption = {};
};

struct CardPictures {
  FeaturePictures names;                                   ///< below the folder that the files go to
  std::vector<std::pair<std::string, std::string>> files;  ///< name, bytes
};

/// <latent>/top-01.jpg ... (crop_side pixels around the strongest position), top-01-heat.jpg (the whole photo
/// under the latent's values; 0 to its highest on any image), quantile-01.jpg ... (rising), and sheet.jpg
/// with all of them. Throws InputError when a photo cannot be read.
CardPictures draw_card(const FeatureCard& card, const HeatMaps& maps, const ImageSource& images,
                       const CardPictureOptions& options);

}  // namespace branchsae
