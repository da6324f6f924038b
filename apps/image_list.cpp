#include "apps/image_list.h"

#include "apps/text_width.h"

namespace branchsae::apps {

Json image_list_json(const ImageSource& images, const std::vector<int64_t>& order) {
  Json list = Json::array();
  for (const int64_t index : order) {
    const ImageInfo& info = images.info(index);
    list.push_back(
        {{"name", info.name}, {"index", index}, {"label", info.label < 0 ? Json() : Json(info.label)}});
  }
  return list;
}

Json skipped_json(const std::vector<SkippedImage>& skipped) {
  Json list = Json::array();
  for (const auto& one : skipped)
    list.push_back({{"name", one.name}, {"index", one.index}, {"reason", one.reason}});
  return list;
}

std::string image_names_text(const ImageSource& images, const std::vector<int64_t>& order) {
  std::string text;
  for (const int64_t index : order) text += printable(images.info(index).name) + "\n";
  return text;
}

}  // namespace branchsae::apps
