// What is said of features, figure by figure, against numbers worked out by hand: which images count, of how
// many the top ones are, what stands in which column.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "analysis/features/card_pictures.h"
#include "analysis/features/enrichment.h"
#include "analysis/features/feature_files.h"
#include "analysis/features/firing.h"
#include "analysis/features/label_precision.h"
#include "analysis/features/receptive_field.h"
#include "analysis/features/responses.h"
#include "analysis/pictures/photo.h"
#include "engine/taps.h"
#include "loader/image_write.h"
#include "loader/imagenet_classes.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;

namespace {

/// Photos of 60 x 40 pixels, all different.
class Photos final : public ImageSource {
 public:
  Photos() {
    for (int i = 0; i < 8; ++i) info_.push_back({"photo " + std::to_string(i) + ".jpg", i});
  }
  int64_t size() const override { return std::ssize(info_); }
  const ImageInfo& info(int64_t index) const override { return info_[static_cast<size_t>(index)]; }
  PixelFormat format() const override { return PixelFormat::kU8Rgb; }
  int64_t height() const override { return 40; }
  int64_t width() const override { return 60; }
  int64_t channels() const override { return 3; }
  std::string fingerprint() const override { return "photos"; }
  std::string read(int64_t index, void* dst, const CropDraw&) const override {
    auto* pixel = static_cast<uint8_t*>(dst);
    for (int64_t y = 0; y < height(); ++y) {
      for (int64_t x = 0; x < width(); ++x, pixel += 3) {
        pixel[0] = static_cast<uint8_t>(4 * x);
        pixel[1] = static_cast<uint8_t>(6 * y);
        pixel[2] = static_cast<uint8_t>(30 * index);
      }
    }
    return "";
  }

 private:
  std::vector<ImageInfo> info_;
};

/// Fires on `images`, with falling values.
LatentActivity falling(const std::vector<int32_t>& images) {
  LatentActivity activity;
  float value = 1000;
  for (const int32_t image : images) activity.images.push_back({image, value -= 1, 0.5F, 0});
  std::ranges::sort(activity.images, {}, &ImageScore::image);
  return activity;
}

std::vector<int32_t> range(int32_t begin, int32_t end) {
  std::vector<int32_t> all;
  for (int32_t i = begin; i < end; ++i) all.push_back(i);
  return all;
}

std::vector<int32_t> operator+(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// One image of each class in their order, then `unlabelled` without one.
ImageSynsets one_of_each(size_t unlabelled = 0) {
  std::vector<std::string> ids;
  for (const loader::ImagenetClass& c : loader::imagenet_classes()) ids.emplace_back(c.wordnet_id);
  ids.resize(ids.size() + unlabelled);
  return {WordNet::built_in(), ids};
}

constexpr int32_t kFirstDog = 151, kFirstThing = 398;

/// The images of a synset that so many classes lie under.
std::vector<int32_t> images_of_a_synset_with(const ImageSynsets& labels, int64_t classes) {
  const WordNet& wordnet = WordNet::built_in();
  for (int32_t v = 0; v < static_cast<int32_t>(wordnet.synsets().size()); ++v) {
    if (labels.count(v) != classes) continue;
    std::vector<int32_t> images;
    for (int32_t i = 0; i < labels.images(); ++i) {
      if (labels.synset(i) >= 0 && wordnet.is_a(labels.synset(i), v)) images.push_back(i);
    }
    return images;
  }
  FAIL("no synset has so many");
  return {};
}

/// Lines of comma-separated values by the titles of the first.
std::vector<std::map<std::string, std::string>> parsed(const std::string& csv) {
  std::istringstream lines(csv);
  std::string line, cell;
  std::vector<std::string> titles;
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(lines, line)) {
    std::istringstream cells(line + ",");
    std::vector<std::string> found;
    while (std::getline(cells, cell, ',')) found.push_back(cell);
    if (titles.empty()) {
      titles = found;
      continue;
    }
    REQUIRE(found.size() == titles.size());
    rows.emplace_back();
    for (size_t i = 0; i < titles.size(); ++i) rows.back()[titles[i]] = found[i];
  }
  return rows;
}

const std::string& bytes_of(const CardPictures& pictures, const std::string& name) {
  for (const auto& [file, bytes] : pictures.files) {
    if (file == name) return bytes;
  }
  FAIL("no picture ", name);
  return pictures.files.front().second;
}

}  // namespace

TEST_CASE("selectivity: lift and r over the images of known label, by hand") {
  // Known: 0 to 5, of them 0, 1, 2 shown. 6 and 7 have no label.
  const Concept dogs{"dog", {1, 1, 1, 1, 1, 1, 0, 0}, {1, 1, 1, 0, 0, 0, 0, 0}, 6, 3};
  const LatentActivity activity = falling({6, 0, 7, 3, 1});
  const Selectivity result = selectivity(activity, dogs);
  CHECK(result.lift == doctest::Approx((2.0 / 3) / (3.0 / 6)));
  CHECK(result.r == doctest::Approx(point_biserial(std::vector<double>{998, 996, 995, 0, 0, 0},
                                                   std::vector<uint8_t>{1, 0, 1, 1, 0, 0})));
  CHECK(result.ranks.auroc == doctest::Approx((3 + 2 + 1.0) / 9));  // wins 3, 2 and two halves
  CHECK(result.top_share == doctest::Approx(2.0 / 3));
}

TEST_CASE("selectivity: the top are the 50 highest") {
  Concept shown{"first", std::vector<uint8_t>(70, 1), std::vector<uint8_t>(70, 0), 70, 45};
  for (const int32_t i : range(0, 25) + range(50, 70)) shown.shown[static_cast<size_t>(i)] = 1;
  CHECK(top_share(falling(range(0, 70)), shown) == 0.5);
}

TEST_CASE("label entropy: weighed by the largest value on each image") {
  const ImageSynsets labels(WordNet::built_in(), {"n02099601", "n03482405"});
  LatentActivity activity;
  activity.images = {{0, 2, 0.1F, 0}, {1, 2, 1.9F, 0}};
  CHECK(*label_entropy(activity, labels) == doctest::Approx(1));
}

TEST_CASE("enrichment: as many images as are active, those without a label left out") {
  const ImageSynsets labels = one_of_each(20);
  // Hounds, working dogs and others: no kind of dog has half of them.
  const std::vector<int32_t> dogs = range(160, 172) + range(225, 237) + range(258, 264);
  const auto label = Enrichment(labels, {}).label(falling(range(1000, 1020) + dogs));
  REQUIRE(label);
  CHECK(label->wordnet_id == kDog);
  CHECK(label->top == 30);
  CHECK(label->hits == 30);
  CHECK(label->images == 118);
  // Ratios: Approx takes numbers this small for equal.
  CHECK(label->p / hypergeometric_tail(30, 30, 118, 1000).p == doctest::Approx(1));
  CHECK(label->q / label->p == doctest::Approx(179));  // the least p of all synsets that are tested
  CHECK(label->information == doctest::Approx(-std::log(0.118)));
  // Beyond the 50 highest nothing counts.
  const auto fifty = Enrichment(labels, {}).label(falling(range(kFirstThing, kFirstThing + 50) + dogs));
  CHECK((!fifty || fifty->wordnet_id != kDog));
}

TEST_CASE("enrichment: half of the images is enough, less is not") {
  const ImageSynsets labels = one_of_each();
  std::vector<int32_t> dogs, things;
  for (int32_t i = 0; i < 16; ++i) {
    dogs.push_back(kFirstDog + 7 * i);
    things.push_back(kFirstThing + 37 * i);
  }
  things.resize(15);
  dogs.resize(15);
  const auto half = Enrichment(labels, {}).label(falling(dogs + things));
  REQUIRE(half);
  CHECK(half->wordnet_id == kDog);
  CHECK(half->hits == 15);
  things.push_back(990);
  dogs.pop_back();
  const auto less = Enrichment(labels, {}).label(falling(dogs + things));
  CHECK((!less || less->wordnet_id != kDog));
}

TEST_CASE("enrichment: synsets of five images are tested, of four not") {
  const ImageSynsets labels = one_of_each();
  const auto five = Enrichment(labels, {}).label(falling(images_of_a_synset_with(labels, 5)));
  REQUIRE(five);
  CHECK(five->images == 5);
  const auto four = Enrichment(labels, {}).label(falling(images_of_a_synset_with(labels, 4)));
  CHECK((!four || four->images >= 5));
}

TEST_CASE("label precision: found on one half of the labelled images, tried on the other") {
  // The first image has no label, so that halves are by labelled image: 0 of 1,000 is in the first.
  std::vector<std::string> ids = {""};
  for (const loader::ImagenetClass& c : loader::imagenet_classes()) ids.emplace_back(c.wordnet_id);
  const ImageSynsets labels(WordNet::built_in(), ids);
  const std::vector<uint8_t> dog = labels.below(kDog);
  ImageScores scores(2, 1);
  int64_t dogs = 0;  // of latent 1 in the second half
  for (int32_t image = 1; image <= 1000; ++image) {
    const bool first_half = image % 2 == 1, is_dog = dog[static_cast<size_t>(image)] != 0;
    // Hounds, working dogs and others: no kind of dog has half of them.
    const bool some = is_dog && (image <= 191 || image >= 226) && image >= 161;
    // Latent 0 loves dogs of the first half, and what is none in the second; latent 1 dogs of both, but in
    // the second things too.
    const bool thing = !first_half && image > kFirstThing && image <= kFirstThing + 50;
    const float values[2] = {1, 1};
    const int32_t indices[2] = {(first_half ? some : !is_dog) ? 0 : -1, some || thing ? 1 : -1};
    scores.add(image, {values, {1, 2}}, {indices, {1, 2}});
    dogs += some && !first_half ? 1 : 0;
  }
  const LabelPrecision found = label_precision(scores, labels);
  CHECK(found.labelled_images == 1000);
  REQUIRE(found.labels == 2);
  REQUIRE(dogs > 25);
  REQUIRE(dogs < 50);  // equal scores go by number: all of them are among the 50 best, and things after them
  CHECK(found.precision == doctest::Approx((0 + static_cast<double>(dogs) / 50) / 2));
  CHECK(found.chance == doctest::Approx(59.0 / 500));
}

TEST_CASE("responses: of the original's 50 best images and no others") {
  LatentActivity original = falling(range(0, 60)), changed = falling(range(0, 60));
  for (ImageScore& score : changed.images) score.max = score.image < 50 ? score.max / 2 : 1e6F;
  CHECK(*colour_index(original, changed) == doctest::Approx(0.5));
  CHECK(*orientation_index(original, changed) == doctest::Approx(1.0 / 3));
}

TEST_CASE("firing: rows and columns of a grid that is not square") {
  std::vector<float> values(12, 0.0F);
  std::vector<int32_t> indices(12, -1);
  const auto fire = [&](size_t place, size_t position, float value) {
    values[place * 6 + position] = value;
    indices[place * 6 + position] = 3;
  };
  fire(0, 0, 9);
  fire(1, 2, 1);
  fire(1, 5, 2);
  const std::vector<int64_t> images = {4, 7};
  CodeBatch batch;
  batch.k = 1;
  batch.images = images;
  batch.tokens_per_image = batch.codes_per_image = 6;
  batch.values = {values.data(), {12, 1}};
  batch.indices = {indices.data(), {12, 1}};
  const auto firing = firing_latents(batch, 1, {2, 3});
  REQUIRE(firing.size() == 1);
  CHECK(firing[0].y == 1);
  CHECK(firing[0].x == 2);
  CHECK(firing[0].max == 2.0F);
  CHECK(firing[0].share == doctest::Approx(2.0 / 6));
}

TEST_CASE("feature table: densities of tokens and of images, the mean where it fires") {
  ImageScores scores(2, 4);
  const std::vector<float> values{1, 0, 3, 0};
  const std::vector<int32_t> indices{0, -1, 0, -1}, none(4, -1);
  scores.add(0, {values.data(), {4, 1}}, {indices.data(), {4, 1}});
  scores.add(5, {values.data(), {4, 1}}, {none.data(), {4, 1}});
  scores.add(6, {values.data(), {4, 1}}, {none.data(), {4, 1}});
  const FeatureTable table = feature_table(scores, {2, 2}, nullptr, {});
  CHECK(table.images == 3);
  CHECK(table.tokens == 12);
  CHECK(table.rows[0].density == doctest::Approx(2.0 / 12));
  CHECK(table.rows[0].image_density == doctest::Approx(1.0 / 3));
  CHECK(table.rows[0].max == 3);
  CHECK(table.rows[0].mean == 2);
  CHECK(table.rows[1].mean == 0);
}

TEST_CASE("feature table: nearest decoder rows by falling cosine, without itself and rows of zeros") {
  FeatureTable table;
  for (int64_t i = 0; i < 6; ++i) table.rows.push_back({.latent = i});
  const std::vector<float> decoder{1, 0, 3, 4, 0, 0, -2, 0, 4, 3, 0, 5};
  add_neighbours(table, {decoder.data(), {6, 2}}, 4);
  std::vector<int32_t> order;
  std::vector<float> cosines;
  for (const FeatureNeighbour& one : table.rows[0].neighbours) {
    order.push_back(one.latent);
    cosines.push_back(one.cosine);
  }
  CHECK(order == std::vector<int32_t>{4, 1, 5, 3});
  REQUIRE(cosines.size() == 4);
  CHECK(cosines[0] == doctest::Approx(0.8));
  CHECK(cosines[1] == doctest::Approx(0.6));
  CHECK(cosines[3] == doctest::Approx(-1));
  CHECK(table.rows[2].neighbours.empty());
}

TEST_CASE("feature files: every figure in its own field and column") {
  FeatureTable table{.images = 8, .tokens = 48, .labelled = 8, .grid = {2, 3}};
  FeatureRow row{.latent = 0, .density = 0.125, .image_density = 0.25, .max = 5, .mean = 3};
  const auto selectivity = [](double from) {
    Selectivity s;
    s.ranks.auroc = from;
    s.ranks.z = from + 1;
    s.ranks.p = from + 2;
    s.ranks.labelled = static_cast<int64_t>(10 * from) + 3;
    s.ranks.others = static_cast<int64_t>(10 * from) + 4;
    s.q = from + 5;
    s.r = from + 6;
    s.lift = from + 7;
    s.top_share = from + 8;
    return s;
  };
  row.concepts = {{"animal", selectivity(0.5)}, {"dog", selectivity(0.75)}};
  row.label = LatentLabel{1, "n02084071", "dog", 30, 50, 118, 0.001, 0.01, 2.5};
  row.entropy = 4.5;
  row.colour_index = 0.375;
  row.orientation = -0.125;
  row.histogram.counts[static_cast<size_t>(ValueHistogram::bin(1.0F))] = 4;
  row.histogram.counts[static_cast<size_t>(ValueHistogram::bin(2.0F))] = 2;
  row.top = {{6, 5, 1, 4}};
  row.neighbours = {{7, 0.25F}};
  row.pictures.sheet = "features/00000/sheet.jpg";
  row.pictures.quantiles = {{2, 1, 0.5F, 5}};
  row.pictures.top_crops = {"a"};
  row.pictures.top_heats = {"b"};
  row.pictures.quantile_crops = {"c"};
  row.pictures.quantile_heats = {"d"};
  table.rows = {row};

  const Photos photos;
  const auto json = nlohmann::json::parse(features_json(table, photos, "{}"));
  const auto& one = json["features"][0];
  using Json = nlohmann::json;
  CHECK(one["density"] == 0.125);
  CHECK(one["image_density"] == 0.25);
  CHECK(one["top"][0] == Json{{"image", "photo 6.jpg"},
                              {"index", 6},
                              {"y", 1},
                              {"x", 1},
                              {"value", 5},
                              {"crop", "a"},
                              {"heat", "b"}});
  CHECK(one["quantiles"][0] == Json{{"image", "photo 2.jpg"},
                                    {"index", 2},
                                    {"y", 1},
                                    {"x", 2},
                                    {"value", 1},
                                    {"crop", "c"},
                                    {"heat", "d"}});
  CHECK(one["label"] == Json{{"synset", "n02084071"},
                             {"name", "dog"},
                             {"k", 30},
                             {"K", 118},
                             {"N", 50},
                             {"p", 0.001},
                             {"q", 0.01},
                             {"ic", 2.5}});
  CHECK(one["concepts"]["dog"] == Json{{"auroc", 0.75},
                                       {"z", 1.75},
                                       {"p", 2.75},
                                       {"q", 5.75},
                                       {"r", 6.75},
                                       {"lift", 7.75},
                                       {"top_share", 8.75},
                                       {"n1", 10},
                                       {"n0", 11}});
  CHECK(one["auroc"] == 0.5);
  CHECK(one["q"] == 5.5);
  CHECK(one["r"] == 6.5);
  CHECK(one["lift"] == 7.5);
  CHECK(one["entropy"] == 4.5);
  CHECK(one["colour_index"] == 0.375);
  CHECK(one["orientation"] == -0.125);
  CHECK(one["histogram"]["from"] == 1);
  CHECK(one["histogram"]["counts"] == Json{4, 0, 2});
  CHECK(one["neighbours"][0] == Json{{"id", 7}, {"cosine", 0.25}});

  const auto rows = parsed(features_csv(table));
  REQUIRE(rows.size() == 1);
  const std::map<std::string, std::string> expected{{"id", "0"},
                                                    {"density", "0.125"},
                                                    {"image_density", "0.25"},
                                                    {"max", "5"},
                                                    {"mean", "3"},
                                                    {"animal_auroc", "0.5"},
                                                    {"animal_q", "5.5"},
                                                    {"animal_r", "6.5"},
                                                    {"animal_lift", "7.5"},
                                                    {"animal_top_share", "8.5"},
                                                    {"dog_auroc", "0.75"},
                                                    {"dog_q", "5.75"},
                                                    {"label_synset", "n02084071"},
                                                    {"label_name", "dog"},
                                                    {"label_q", "0.01"},
                                                    {"entropy", "4.5"},
                                                    {"colour_index", "0.375"},
                                                    {"orientation", "-0.125"}};
  CHECK(rows[0] == expected);
}

TEST_CASE("card pictures: crops and heat maps of the images that the names say") {
  const Photos photos;
  ImageScores scores(1, 6);
  for (int32_t image = 0; image < 8; ++image) {
    std::vector<float> values(6, 0.0F);
    std::vector<int32_t> indices(6, -1);
    values[static_cast<size_t>(image % 6)] = static_cast<float>(image + 1);
    indices[static_cast<size_t>(image % 6)] = 0;
    scores.add(image, {values.data(), {6, 1}}, {indices.data(), {6, 1}});
  }
  const FeatureCard card = make_card(scores, 0, 2);
  HeatMaps maps({card});
  const std::vector<int64_t> images = maps.images();
  CHECK(images == std::vector<int64_t>{2, 6, 7});
  std::vector<float> values(18, 0.0F);
  std::vector<int32_t> indices(18, -1);
  for (size_t i = 0; i < 3; ++i) {
    const auto image = static_cast<size_t>(images[i]);
    values[i * 6 + image % 6] = static_cast<float>(image + 1);
    indices[i * 6 + image % 6] = 0;
  }
  CodeBatch batch;
  batch.k = 1;
  batch.images = images;
  batch.tokens_per_image = batch.codes_per_image = 6;
  batch.values = {values.data(), {18, 1}};
  batch.indices = {indices.data(), {18, 1}};
  maps.add(batch);
  const CardPictures pictures = draw_card(card, maps, photos, {.grid = {2, 3}, .crop_side = 16});
  CHECK(pictures.names.top_crops == std::vector<std::string>{"00000/top-01.jpg", "00000/top-02.jpg"});
  const auto check = [&](const std::string& name, int64_t image) {
    CAPTURE(name);
    const RgbImage whole = photo(photos, image);
    // Cells of 20 x 20 pixels: the middle of cell (y, x) is pixel (20 y + 10, 20 x + 10).
    const int64_t top = 20 * (image % 6 / 3) + 10 - 8, left = 20 * (image % 6 % 3) + 10 - 8;
    CHECK((bytes_of(pictures, name + ".jpg") ==
           encode_jpeg(crop(whole, {left, top, 16, 16}))));  // no bytes printed
    std::vector<float> z(6, 0.0F);
    z[static_cast<size_t>(image % 6)] = static_cast<float>(image + 1);
    CHECK((bytes_of(pictures, name + "-heat.jpg") == encode_jpeg(heat_over(whole, z, {2, 3}, 8))));
  };
  check("00000/top-01", 7);
  check("00000/top-02", 6);
  check("00000/quantile-01", 2);  // of eight images the third and the seventh
  check("00000/quantile-02", 6);
}

TEST_CASE("receptive field: height and width each by their own kernels, strides and dilations") {
  reference::GraphBuilder builder(3);
  Window first = reference::window(3), second = reference::window(3);
  first.kernel = {5, 1};
  first.stride = {1, 2};
  second.kernel = {1, 3};
  second.dilation = {1, 2};
  const ValueId last = builder.conv(builder.conv(builder.input(), 4, first), 4, second);
  const Graph graph = builder.graph({last});
  const Tap tap = resolve_tap(graph, graph.value(graph.nodes.back().output).name);
  CHECK(receptive_field(graph, tap) == std::array<int64_t, 2>{5, 1 + 2 * 2 * 2});
}
