/// The real photos, where there are some.
#include <doctest/doctest.h>

#include <set>

#include "engine/images.h"
#include "loader/image_source.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

/// The folder's `name`, or none after counting the test as skipped.
std::string data_path(const char* name) {
  const auto data = data_folder();
  if (!data || !std::filesystem::exists(*data / name)) {
    skip("needs the data folder");
    return "";
  }
  return (*data / name).string();
}

}  // namespace

TEST_CASE("all of the thousand photos decode, one of every class") {
  const std::string folder = data_path("images");
  if (folder.empty()) return;
  const auto source = open_images(folder);
  REQUIRE(source->size() == 1000);
  const auto classes = builtin_class_list();
  std::set<int32_t> labels;
  for (int64_t i = 0; i < source->size(); ++i) {
    const ImageInfo& info = source->info(i);
    REQUIRE(info.label >= 0);
    labels.insert(info.label);
    const std::string name = std::filesystem::path(info.name).filename();
    CHECK(name.starts_with(classes->at(info.label).wordnet_id));
  }
  CHECK(labels.size() == 1000);

  int64_t next = 0, read = 0;
  ImageReader reader(
      *source, [&] { return next < source->size() ? next++ : int64_t{-1}; },
      {.batch = 50, .on_unreadable = [](int64_t, const std::string& reason) { FAIL(reason); }});
  for (ImageBatch batch; reader.next(batch);) read += batch.count;
  CHECK(read == 1000);
}

TEST_CASE("the photos prepared here equal the reference's input") {
  const std::string array = data_path("reference/input_u8_rgb.npy");
  if (array.empty()) return;
  const std::string folder = (*data_folder() / "images").string();
  const auto expected = open_images(array);
  REQUIRE(expected->size() == 4);
  const char* names[] = {"n01440764_tench", "n02099601_golden_retriever", "n02123045_tabby",
                         "n04285008_sports_car"};
  std::vector<uint8_t> ours(224 * 224 * 3), theirs(ours.size());
  for (int64_t i = 0; i < 4; ++i) {
    const auto photo = open_images(folder + "/" + names[i] + ".JPEG");
    REQUIRE(photo->read_centre(0, ours.data()) == "");
    REQUIRE(expected->read_centre(i, theirs.data()) == "");
    int largest = 0;
    for (size_t k = 0; k < ours.size(); ++k) largest = std::max(largest, std::abs(ours[k] - theirs[k]));
    CHECK(largest <= 1);  // rounding: the reference was resized by another program
  }
}

TEST_CASE("a real WebDataset shard: labels from its .cls entries") {
  const std::string folder = data_path("tiny-imagenet");
  if (folder.empty()) return;
  const auto source = open_images(folder + "/train-{000..001}.tar");
  CHECK(source->size() == 10000);
  const auto classes = builtin_class_list();
  std::set<int32_t> labels;
  for (int64_t i = 0; i < source->size(); ++i) {
    const ImageInfo& info = source->info(i);
    REQUIRE(info.label >= 0);
    REQUIRE(info.name.find("/" + classes->at(info.label).wordnet_id + "_") != std::string::npos);
    labels.insert(info.label);
  }
  CHECK(labels.size() == 200);
  std::vector<uint8_t> pixels(224 * 224 * 3);
  for (int64_t i = 0; i < source->size(); i += 100) CHECK(source->read_centre(i, pixels.data()) == "");
}
