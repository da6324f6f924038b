#include "analysis/features/scan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "analysis/features/feature_files.h"
#include "analysis/features/image_variants.h"
#include "analysis/features/responses.h"
#include "engine/error.h"
#include "loader/onnx_loader.h"
#include "tests/analysis/small_network.h"

using namespace branchsae;
using test::ArrayImages;
using test::neurons;

namespace {

constexpr const char* kTap = "mixed4c.5x5";

struct Scene {
  Scene()
      : graph(load_onnx("tests/golden/torchvision.bn.onnx")),
        images(reference::read_array("tests/golden/torchvision/input.npy"), {3, 7}),
        d(resolve_tap(graph, kTap).width()) {}
  FeatureScan scan(const ImageSource& source, std::vector<int64_t> wanted,
                   std::vector<int64_t> ks = {}) const {
    const EvaluateOptions options{.images = std::move(wanted), .ks = std::move(ks), .forward_batch = 2};
    return std::move(all(source, options).scans.front());
  }
  FeatureScans all(const ImageSource& source, const EvaluateOptions& options) const {
    return scan_features(Device::cpu(2), graph, source, autoencoders(), options);
  }
  std::vector<SaeFile> autoencoders() const {
    std::vector<SaeFile> saes;
    saes.push_back(neurons(kTap, d, d));
    return saes;
  }
  /// The tap's tokens of both images, [2 * positions, d].
  std::vector<float> tokens() const {
    const Device device = Device::cpu(2);
    Program program = device.compile(graph, {.taps = {kTap}, .max_batch = 2, .height = 96, .width = 80});
    std::vector<float> pixels(static_cast<size_t>(2 * images.image_bytes() / 4));
    for (int64_t i = 0; i < 2; ++i) images.read_centre(i, pixels.data() + i * images.image_bytes() / 4);
    const auto stream = device.make_stream();
    program.run(View<const float, 4>(pixels.data(), {2, 96, 80, 3}), *stream);
    const auto rows = program.tap(0).tokens();
    std::vector<float> copy;
    for (int64_t t = 0; t < rows.shape[0]; ++t) {
      for (int64_t c = 0; c < d; ++c) copy.push_back(rows(t, c));
    }
    return copy;
  }

  Graph graph;
  ArrayImages images;
  int64_t d;
};

/// 8-bit pictures of one colour each.
class Colours final : public ImageSource {
 public:
  int64_t size() const override { return 1; }
  const ImageInfo& info(int64_t) const override { return info_; }
  PixelFormat format() const override { return PixelFormat::kU8Rgb; }
  int64_t height() const override { return 1; }
  int64_t width() const override { return 2; }
  int64_t channels() const override { return 3; }
  std::string fingerprint() const override { return ""; }
  std::string read(int64_t, void* dst, const CropDraw& draw) const override {
    const uint8_t pixels[6] = {255, 0, 0, 10, 200, 30}, mirrored[6] = {10, 200, 30, 255, 0, 0};
    std::memcpy(dst, draw.flip ? mirrored : pixels, 6);
    return unreadable;
  }
  std::string unreadable;

 private:
  ImageInfo info_;
};

}  // namespace

TEST_CASE("scan: with one latent a channel, scores are the channels' largest activations") {
  const Scene scene;
  const FeatureScan scan = scene.scan(scene.images, {0, 1});
  const std::vector<float> tokens = scene.tokens();
  const int64_t positions = scan.scores.positions();
  CHECK(scan.grid[0] * scan.grid[1] == positions);
  REQUIRE(static_cast<int64_t>(tokens.size()) == 2 * positions * scene.d);
  int64_t nonzeros = 0;
  for (int64_t c = 0; c < scene.d; ++c) {
    double energy = 0;
    for (int64_t image = 0; image < 2; ++image) {
      float most = 0;
      for (int64_t p = 0; p < positions; ++p) {
        const float value = tokens[static_cast<size_t>((image * positions + p) * scene.d + c)];
        most = std::max(most, value);
        energy += static_cast<double>(value) * static_cast<double>(value);
        nonzeros += value != 0 ? 1 : 0;
      }
      const auto& listed = scan.scores.activity(c).images;
      const auto found = std::ranges::find(listed, static_cast<int32_t>(image), &ImageScore::image);
      CHECK((found == listed.end() ? 0.0F : found->max) == most);
    }
    CHECK(scan.channel_energy[static_cast<size_t>(c)] ==
          doctest::Approx(energy / static_cast<double>(2 * positions)));
  }
  CHECK(scan.input_l0 == doctest::Approx(static_cast<double>(nonzeros) / static_cast<double>(2 * positions)));
}

TEST_CASE("scan: k of the user, and what is refused") {
  const Scene scene;
  const FeatureScan scan = scene.scan(scene.images, {1}, {1});
  int64_t fired = 0;
  for (int64_t i = 0; i < scene.d; ++i) fired += scan.scores.activity(i).tokens_fired;
  CHECK(fired <= scan.scores.tokens());
  CHECK(scan.scores.images() == 1);
  CHECK_THROWS_AS(scene.scan(scene.images, {1, 0}), InputError);
  CHECK_THROWS_AS(scene.scan(scene.images, {0}, {scene.d + 1}), InputError);
  CHECK_THROWS_AS(scene.scan(scene.images, {0}, {2, 2}), InputError);
}

TEST_CASE("variants: luma of BT.601, the mirror, and reasons passed on") {
  Colours colours;
  uint8_t pixels[6];
  VariantImages(colours, ImageVariant::kGrey).read_centre(0, pixels);
  CHECK(pixels[0] == 76);  // 0.299 * 255
  CHECK(pixels[2] == 76);
  CHECK(pixels[4] == 124);  // 2.99 + 117.4 + 3.42
  VariantImages(colours, ImageVariant::kMirrored).read_centre(0, pixels);
  CHECK(pixels[3] == 255);
  colours.unreadable = "is torn";
  CHECK(VariantImages(colours, ImageVariant::kGrey).read_centre(0, pixels) == "is torn");
  const Scene scene;
  CHECK_THROWS_AS(VariantImages(scene.images, ImageVariant::kGrey), InputError);
}

TEST_CASE("responses: what is lost without colour or in the mirror") {
  LatentActivity original, changed;
  original.images = {{0, 2, 2, 0}, {1, 4, 4, 0}};
  changed.images = {{1, 3, 3, 0}, {5, 9, 9, 0}};
  CHECK(*colour_index(original, changed) == doctest::Approx(0.5));
  CHECK(*orientation_index(original, changed) == doctest::Approx(3.0 / 9));
  CHECK(*colour_index(original, original) == 0);
  CHECK(*orientation_index(original, LatentActivity{}) == 1);
  CHECK_FALSE(colour_index(LatentActivity{}, changed));
}

TEST_CASE("variants: mirrored twice is the original's scan") {
  const Scene scene;
  const VariantImages mirrored(scene.images, ImageVariant::kMirrored);
  const VariantImages back(mirrored, ImageVariant::kMirrored);
  const FeatureScan first = scene.scan(scene.images, {0, 1}), again = scene.scan(back, {0, 1}),
                    other = scene.scan(mirrored, {0, 1});
  bool same = true, differs = false;
  for (int64_t i = 0; i < scene.d; ++i) {
    const auto sum = [i](const FeatureScan& scan) { return scan.scores.activity(i).sum; };
    same = same && sum(first) == sum(again);
    differs = differs || sum(first) != sum(other);
  }
  CHECK(same);
  CHECK(differs);
}

TEST_CASE("feature table: rows, files and why labels are missing") {
  const Scene scene;
  const FeatureScan scan = scene.scan(scene.images, {0, 1});
  const ImageSynsets labels(WordNet::built_in(), {"n02099601", "n03482405"});
  FeatureTable table = feature_table(scan.scores, scan.grid, &labels, {&scan.scores, nullptr}, 2);
  const SaeFile sae = neurons(kTap, scene.d, scene.d);
  add_neighbours(table, sae.parameters.w.matrix(), 3);

  const auto json = nlohmann::json::parse(features_json(table, scene.images, R"({"seed": 7})"));
  CHECK(json["seed"] == 7);
  CHECK(json["images"] == 2);
  REQUIRE(static_cast<int64_t>(json["features"].size()) == scene.d);
  bool found_live = false;
  for (const auto& feature : json["features"]) {
    CHECK(feature["neighbours"].size() == 3);
    CHECK(feature["neighbours"][0]["cosine"] == 0);  // channels are at right angles
    if (feature["max"] == 0) {
      CHECK(feature["colour_index"].is_null());
      continue;
    }
    found_live = true;
    CHECK(feature["colour_index"] == 0);
    CHECK(feature["orientation"].is_null());
    CHECK(feature["top"][0]["value"] == feature["max"]);
    CHECK(feature["concepts"]["dog"]["n1"] == 1);
  }
  CHECK(found_live);
  const std::string csv = features_csv(table);
  CHECK(std::ranges::count(csv, '\n') == scene.d + 1);

  const FeatureTable unlabelled = feature_table(scan.scores, scan.grid, nullptr, {});
  CHECK(unlabelled.no_labels.find("--classes") != std::string::npos);
  CHECK(unlabelled.rows[0].concepts.empty());
  CHECK_THROWS_AS(feature_table(ImageScores(3, 4), {2, 2}, nullptr, {}), InputError);
}
