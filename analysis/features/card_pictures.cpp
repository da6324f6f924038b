#include "analysis/features/card_pictures.h"

#include <fmt/format.h>

#include "analysis/features/contact_sheet.h"
#include "analysis/pictures/photo.h"
#include "loader/image_write.h"

namespace branchsae {
namespace {

class CardDrawing {
 public:
  CardDrawing(const FeatureCard& card, const HeatMaps& maps, const ImageSource& images,
              const CardPictureOptions& options)
      : card_(card),
        maps_(maps),
        images_(images),
        options_(options),
        folder_(fmt::format("{:05}", card.latent)) {
    most_ = card.top.empty() ? 0 : card.top.front().max;
    sheet_.heading = options.heading;
  }

  void add_row(const std::string& title, const char* prefix, const std::vector<ImageScore>& scores,
               std::vector<std::string>& crops, std::vector<std::string>& heats) {
    sheet_.row_titles.push_back(title);
    sheet_.rows.emplace_back();
    for (size_t i = 0; i < scores.size(); ++i) {
      SheetCell cell = draw(scores[i]);
      crops.push_back(file(fmt::format("{}-{:02}.jpg", prefix, i + 1), cell.crop));
      heats.push_back(file(fmt::format("{}-{:02}-heat.jpg", prefix, i + 1), cell.heat));
      sheet_.rows.back().push_back(std::move(cell));
    }
  }

  CardPictures finish() {
    pictures.names.sheet = file("sheet.jpg", draw_sheet(sheet_));
    return std::move(pictures);
  }

  CardPictures pictures;

 private:
  SheetCell draw(const ImageScore& score) const {
    const RgbImage image = photo(images_, score.image);
    std::vector<float> z = maps_.of(card_.latent, score.image);
    z.resize(static_cast<size_t>(options_.grid[0] * options_.grid[1]));
    return {
        crop(image, box_around(score.position, options_.grid, options_.crop_side, image.height, image.width)),
        heat_over(image, z, options_.grid, most_), options_.caption ? options_.caption(score) : ""};
  }

  std::string file(const std::string& name, const RgbImage& image) {
    pictures.files.emplace_back(folder_ + "/" + name, encode_jpeg(image));
    return pictures.files.back().first;
  }

  const FeatureCard& card_;
  const HeatMaps& maps_;
  const ImageSource& images_;
  const CardPictureOptions& options_;
  std::string folder_;
  ContactSheet sheet_;
  float most_ = 0;
};

}  // namespace

CardPictures draw_card(const FeatureCard& card, const HeatMaps& maps, const ImageSource& images,
                       const CardPictureOptions& options) {
  CardDrawing drawing(card, maps, images, options);
  FeaturePictures& names = drawing.pictures.names;
  names.quantiles = card.quantiles;
  drawing.add_row("strongest", "top", card.top, names.top_crops, names.top_heats);
  drawing.add_row("at quantiles of the images it fires on, rising", "quantile", card.quantiles,
                  names.quantile_crops, names.quantile_heats);
  return drawing.finish();
}

}  // namespace branchsae
