// inspect, classify and capture on a small model.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <fstream>

#include "engine/npy.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
using branchsae::Shape;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

fs::path copy_of_images() {
  const fs::path folder = temporary_folder() / "pictures";
  fs::copy(scene().images, folder, fs::copy_options::recursive);
  return folder;
}

Words capture(const std::string& taps, const fs::path& out, const std::string& images = scene().images) {
  return Words{"capture", scene().model, images, "--tap", taps, "--out", out.string()} + kSmall;
}

constexpr double kOtherKernels = 1e-4;

/// [N, C] of the softmax, from capture.
Array<float> captured_probabilities(const Words& more = {}) {
  const fs::path out = temporary_folder() / "out";
  const Words command = {"capture", scene().model, scene().images, "--tap", "prob", "--out", out.string()};
  REQUIRE(run_program(command + more).code == 0);
  return read_floats(out / "prob.npy");
}

}  // namespace

TEST_CASE("inspect prints layers and branches that add up") {
  const auto document = run_json({"inspect", scene().model});
  REQUIRE(document["layers"].size() == 9);
  CHECK(document["layers"][0]["layer"] == "mixed3a");
  CHECK(document["layers"][8]["layer"] == "mixed5b");
  CHECK(document["preprocess"]["name"] == "caffe");
  for (const auto& layer : document["layers"]) {
    int64_t channels = 0;
    REQUIRE(layer["branches"].size() == 4);
    for (const auto& branch : layer["branches"]) {
      CHECK(branch["begin"] == channels);
      channels += branch["channels"].get<int64_t>();
      CHECK(branch["end"] == channels);
      CHECK(branch["sae_width"] == 16 * branch["channels"].get<int64_t>());
    }
    CHECK(layer["channels"] == channels);
  }
  // An eighth of 4c's 128, 256, 64, 64, on the 14 x 14 grid.
  const auto& mixed4c = document["layers"][4];
  CHECK(mixed4c["layer"] == "mixed4c");
  CHECK(mixed4c["grid"] == nlohmann::json({14, 14}));
  const std::vector<std::pair<std::string, int>> expected = {
      {"1x1", 16}, {"3x3", 32}, {"5x5", 8}, {"pool", 8}};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(mixed4c["branches"][i]["branch"] == expected[i].first);
    CHECK(mixed4c["branches"][i]["channels"] == expected[i].second);
  }
  const ProcessResult table = run_program({"inspect", scene().model});
  CHECK(table.code == 0);
  CHECK(contains(table.out, "mixed4c  5x5"));
  CHECK(contains(table.out, "48-55"));
}

TEST_CASE("inspect of a model whose preprocessing is told") {
  CHECK(run_json({"inspect", scene().model, "--preprocess", "lucid"})["preprocess"]["name"] == "lucid");
  run_refused({"inspect", scene().model, "--preprocess", "vanilla"});
}

TEST_CASE("classify agrees with the captured softmax") {
  const auto document = run_json({"classify", scene().model, scene().images, "--top", "7"});
  const Array<float> prob = captured_probabilities();
  REQUIRE(prob.shape == Shape{Scene::kImages, 1000});
  REQUIRE(document["images"].size() == Scene::kImages);
  int64_t top1 = 0, top5 = 0;
  for (size_t i = 0; i < Scene::kImages; ++i) {
    const auto& image = document["images"][i];
    const float* row = prob.values.data() + 1000 * i;
    std::vector<int> order(1000);
    for (int c = 0; c < 1000; ++c) order[static_cast<size_t>(c)] = c;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    REQUIRE(image["predictions"].size() == 7);
    for (size_t g = 0; g < 7; ++g) {
      CHECK(image["predictions"][g]["class"] == order[g]);
      CHECK(image["predictions"][g]["probability"].get<float>() == row[order[g]]);
    }
    const int label = image["label"].get<int>();
    top1 += order[0] == label ? 1 : 0;
    top5 += std::find(order.begin(), order.begin() + 5, label) != order.begin() + 5 ? 1 : 0;
  }
  CHECK(document["labelled"] == Scene::kImages);
  CHECK(document["top1_right"] == top1);
  CHECK(document["top5_right"] == top5);
  CHECK(document["top1"].get<double>() == doctest::Approx(static_cast<double>(top1) / Scene::kImages));
  // The labels come from the folders' WordNet ids.
  CHECK(document["images"][0]["label"] == 0);
  CHECK(document["images"][Scene::kImages - 1]["label"] == 7);
}

TEST_CASE("labels decide top1 and top5") {
  // Every picture is labelled with what the network takes it for, then with its fifth and its sixth guess.
  const auto guesses = run_json({"classify", scene().model, scene().images, "--top", "6"});
  for (const auto& [guess, top1, top5] :
       std::vector<std::tuple<size_t, double, double>>{{0, 1, 1}, {4, 0, 1}, {5, 0, 0}}) {
    const fs::path list = temporary_folder() / "list.txt";
    std::ofstream lines(list);
    for (const auto& image : guesses["images"]) {
      lines << image["image"].get<std::string>() << "\t" << image["predictions"][guess]["class"] << "\n";
    }
    lines.close();
    const auto scored = run_json({"classify", scene().model, list.string()}, {.folder = "/"});
    CAPTURE(guess);
    CHECK(scored["labelled"] == Scene::kImages);
    CHECK(scored["top1"] == top1);
    CHECK(scored["top5"] == top5);
  }
}

TEST_CASE("batches of any size give the same") {
  const Array<float> one = captured_probabilities({"--batch", "1"}),
                     five = captured_probabilities({"--batch", "5"});
  // The device may choose other kernels for another batch: float32 rounding, 1e-6 and a few layers deep.
  CHECK(relative_error(one.values, five.values) < kOtherKernels);
}

TEST_CASE("a class list of another length is refused when given, set aside when found") {
  const fs::path list = temporary_folder() / "three.tsv";
  std::ofstream(list) << "0\tn01440764\ttench\n1\tn01443537\tgoldfish\n2\tn01514668\tcock\n";
  CHECK(contains(run_refused({"classify", scene().model, scene().images, "--classes", list.string()}),
                 "3 classes"));
  const fs::path folder = temporary_folder();
  fs::copy(scene().model, folder / "model.onnx");
  fs::copy(list, folder / "imagenet_classes.tsv");
  const ProcessResult result =
      run_program({"classify", (folder / "model.onnx").string(), scene().images, "--json"});
  CHECK(result.code == 0);
  CHECK(contains(result.err, "branchsae: warning: the class list"));
  const auto document = nlohmann::json::parse(result.out);
  CHECK_FALSE(document.contains("top1"));
  CHECK_FALSE(document["images"][0]["predictions"][0].contains("name"));
}

TEST_CASE("capture writes what its table says") {
  const fs::path out = temporary_folder() / "new" / "deep";
  const auto document =
      run_json(capture("mixed4c.5x5,mixed4c,mixed4c.5x5:pre,mixed4c.5x5:3,mixed4a+mixed4b", out));
  const Array<float> branch = read_floats(out / "mixed4c.5x5.npy"), layer = read_floats(out / "mixed4c.npy");
  const Array<float> pre = read_floats(out / "mixed4c.5x5.pre.npy"),
                     one = read_floats(out / "mixed4c.5x5.3.npy");
  const Array<float> joined = read_floats(out / "mixed4a+mixed4b.npy");
  REQUIRE(branch.shape == Shape{Scene::kImages, 4, 4, 8});
  REQUIRE(layer.shape == Shape{Scene::kImages, 4, 4, 64});
  REQUIRE(pre.shape == branch.shape);
  REQUIRE(one.shape == Shape{Scene::kImages, 4, 4, 1});
  CHECK(joined.shape == Shape{Scene::kImages, 4, 4, 128});
  bool branch_is_range = true, relu_is_max = true, channel_is_column = true;
  for (size_t row = 0; row < one.values.size(); ++row) {
    channel_is_column = channel_is_column && one.values[row] == branch.values[8 * row + 3];
    for (size_t c = 0; c < 8; ++c) {
      branch_is_range = branch_is_range && branch.values[8 * row + c] == layer.values[64 * row + 48 + c];
      relu_is_max = relu_is_max && branch.values[8 * row + c] == std::max(0.0F, pre.values[8 * row + c]);
    }
  }
  CHECK(branch_is_range);
  CHECK(relu_is_max);
  CHECK(channel_is_column);
  CHECK(*std::max_element(branch.values.begin(), branch.values.end()) > 0);
  REQUIRE(document["taps"].size() == 5);
  CHECK(document["taps"][0]["shape"] == nlohmann::json({Scene::kImages, 4, 4, 8}));
}

TEST_CASE("capture --tokens has a row a position, and the same values") {
  const fs::path grid = temporary_folder(), tokens = temporary_folder();
  REQUIRE(run_program(capture("mixed4d", grid)).code == 0);
  REQUIRE(run_program(capture("mixed4d", tokens) + Words{"--tokens"}).code == 0);
  const Array<float> as_grid = read_floats(grid / "mixed4d.npy"),
                     as_tokens = read_floats(tokens / "mixed4d.npy");
  CHECK(as_tokens.shape == Shape{Scene::kImages * 16, as_grid.shape[3]});
  CHECK(as_grid.values == as_tokens.values);
}

TEST_CASE("the order of images is written beside the arrays, and the table's variance is right") {
  const fs::path out = temporary_folder();
  const auto document = run_json(capture("mixed4c", out));
  const auto record = nlohmann::json::parse(std::ifstream(out / "capture.json"));
  REQUIRE(record["images"].size() == Scene::kImages);
  std::ifstream names(out / "names.txt");
  std::string last;
  for (const auto& image : record["images"]) {
    std::string name;
    REQUIRE(std::getline(names, name));
    CHECK(name == image["name"]);
    CHECK(name > last);
    last = name;
  }
  const Array<float> layer = read_floats(out / "mixed4c.npy");
  const auto channels = static_cast<size_t>(layer.shape[3]), count = static_cast<size_t>(Scene::kImages);
  double variance = 0, energy = 0;
  for (size_t c = 0; c < channels; ++c) {
    std::vector<double> means(count, 0.0);
    double mean = 0;
    for (size_t i = 0; i < count; ++i) {
      for (size_t p = 0; p < 16; ++p)
        means[i] += static_cast<double>(layer.values[(i * 16 + p) * channels + c]) / 16;
      mean += means[i] / static_cast<double>(count);
    }
    for (const double m : means) {
      variance += (m - mean) * (m - mean) / static_cast<double>(count - 1);
      energy += m * m / static_cast<double>(count);
    }
  }
  // Both sides are double; they differ by the order of sums.
  CHECK(record["taps"][0]["variance_over_energy"].get<double>() ==
        doctest::Approx(variance / energy).epsilon(1e-9));
}

TEST_CASE("images that are all alike are warned of") {
  const fs::path folder = temporary_folder();
  for (int i = 0; i < 3; ++i) {
    write_ppm(folder / ("same_" + std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, 5));
  }
  const ProcessResult result = run_program(capture("mixed4c", temporary_folder(), folder.string()));
  CHECK(result.code == 0);
  CHECK(contains(result.err, "branchsae: warning: mixed4c: variance between images is only 0.000"));
}

TEST_CASE("pictures, 8-bit arrays and preprocessed arrays give the same activations") {
  const fs::path folder = temporary_folder();
  std::string pixels, prepared;
  for (int i = 0; i < 3; ++i) {
    const std::string one = drawn_pixels(64, 64, i);
    write_ppm(folder / ("picture_" + std::to_string(i) + ".ppm"), 64, 64, one);
    pixels += one;
    // BVLC's preprocessing, by hand: BGR planes less (104, 117, 123).
    const float mean[3] = {104, 117, 123};
    for (int c = 0; c < 3; ++c) {
      for (size_t p = 0; p < 64 * 64; ++p) {
        const float value =
            static_cast<float>(static_cast<uint8_t>(one[3 * p + static_cast<size_t>(2 - c)])) - mean[c];
        prepared.append(reinterpret_cast<const char*>(&value), sizeof(value));
      }
    }
  }
  branchsae::write_npy(folder / "u8.npy", "|u1", {3, 64, 64, 3}, pixels);
  branchsae::write_npy(folder / "f32.npy", "<f4", {3, 3, 64, 64}, prepared);
  const fs::path a = temporary_folder(), b = temporary_folder(), c = temporary_folder();
  std::string pictures;
  for (int i = 0; i < 3; ++i) {
    if (i > 0) pictures += ',';
    pictures += (folder / ("picture_" + std::to_string(i) + ".ppm")).string();
  }
  REQUIRE(run_program(capture("mixed4c", a, pictures)).code == 0);
  REQUIRE(run_program(capture("mixed4c", b, (folder / "u8.npy").string())).code == 0);
  REQUIRE(run_program(capture("mixed4c", c, (folder / "f32.npy").string())).code == 0);
  const Array<float> from_pictures = read_floats(a / "mixed4c.npy"), from_u8 = read_floats(b / "mixed4c.npy");
  const Array<float> from_f32 = read_floats(c / "mixed4c.npy");
  CHECK(from_pictures.values == from_u8.values);
  // The two inputs may differ in the last bit of float32 (1e-7), which the layers amplify a little.
  CHECK(relative_error(from_f32.values, from_u8.values) < 1e-5);
}

TEST_CASE("unreadable images are skipped, counted, and too many are an error") {
  const fs::path folder = copy_of_images();
  std::ofstream(folder / "broken.jpg") << "\xff\xd8\xff no picture";
  std::ofstream(folder / "empty.png");
  const fs::path out = temporary_folder() / "out";
  const ProcessResult result = run_program(capture("mixed4c", out, folder.string()) + Words{"--json"});
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(nlohmann::json::parse(result.out)["skipped"] == 2);
  CHECK(contains(result.err, "branchsae: warning: skipped"));
  CHECK(contains(result.err, "broken.jpg"));
  CHECK(read_floats(out / "mixed4c.npy").shape[0] == Scene::kImages);
  // The others are as if the broken ones had never been there.
  const fs::path clean = temporary_folder();
  REQUIRE(run_program(capture("mixed4c", clean)).code == 0);
  CHECK(read_floats(out / "mixed4c.npy").values == read_floats(clean / "mixed4c.npy").values);

  const fs::path strict = temporary_folder() / "out";
  CHECK(contains(run_refused(capture("mixed4c", strict, folder.string()) + Words{"--strict"}), "--strict"));
  CHECK_FALSE(fs::exists(strict));
  for (int i = 0; i < 15; ++i) std::ofstream(folder / ("zz_empty" + std::to_string(i) + ".png"));
  const fs::path most = temporary_folder() / "a" / "b";
  CHECK(contains(run_refused(capture("mixed4c", most, folder.string())), "more than half"));
  CHECK_FALSE(fs::exists(most.parent_path()));
}

TEST_CASE("--max-memory makes batches smaller, or says what one image takes") {
  const fs::path a = temporary_folder(), b = temporary_folder();
  REQUIRE(run_program(capture("mixed4c", a)).code == 0);
  REQUIRE(run_program(capture("mixed4c", b) + Words{"--max-memory", "64MiB"}).code == 0);
  CHECK(relative_error(read_floats(a / "mixed4c.npy").values, read_floats(b / "mixed4c.npy").values) <
        kOtherKernels);
  CHECK(contains(run_refused(capture("mixed4c", temporary_folder()) + Words{"--max-memory", "1k"}),
                 "--max-memory"));
}

TEST_CASE("a signal ends capture in good order, and nothing is left") {
  const fs::path folder = temporary_folder(), out = folder / "out";
  std::ofstream list(folder / "list.txt");
  for (int i = 0; i < 200'000; ++i) list << scene().images << "/n01440764/picture_0.ppm\n";
  list.close();
  const ProcessResult result = run_program(capture("mixed3a", out, (folder / "list.txt").string()),
                                           {.signal_when_file = out, .signal = SIGTERM});
  CAPTURE(result.err);
  CHECK(result.code == 128 + SIGTERM);
  CHECK(result.error_lines().empty());
  CHECK_FALSE(fs::exists(out));
}
