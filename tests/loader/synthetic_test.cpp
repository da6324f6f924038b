#include "loader/synthetic.h"

#include <doctest/doctest.h>
#include <onnx/onnx_pb.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;

namespace {

onnx::ModelProto read_model(const fs::path& path) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(read_file(path)));
  return model;
}

std::map<std::string, const onnx::TensorProto*> initializers(const onnx::ModelProto& model) {
  std::map<std::string, const onnx::TensorProto*> found;
  for (const auto& tensor : model.graph().initializer()) found[tensor.name()] = &tensor;
  return found;
}

std::vector<float> values(const onnx::TensorProto& tensor) {
  std::vector<float> out(tensor.raw_data().size() / sizeof(float));
  std::memcpy(out.data(), tensor.raw_data().data(), tensor.raw_data().size());
  return out;
}

std::vector<unsigned char> read_png(const fs::path& path, int64_t height, int64_t width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&image, path.c_str()) != 0);
  CHECK(image.height == height);
  CHECK(image.width == width);
  image.format = PNG_FORMAT_RGB;
  std::vector<unsigned char> pixels(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr) != 0);
  return pixels;
}

}  // namespace

TEST_CASE("synthetic model: equal seeds give equal bytes, others do not") {
  const fs::path folder = test::temporary_folder();
  write_synthetic_inception(folder / "a.onnx", {.seed = 3, .width_divisor = 16, .classes = 10});
  write_synthetic_inception(folder / "b.onnx", {.seed = 3, .width_divisor = 16, .classes = 10});
  write_synthetic_inception(folder / "c.onnx", {.seed = 4, .width_divisor = 16, .classes = 10});
  CHECK(sha256_of_file(folder / "a.onnx") == sha256_of_file(folder / "b.onnx"));
  CHECK(sha256_of_file(folder / "a.onnx") != sha256_of_file(folder / "c.onnx"));
}

TEST_CASE("synthetic model: InceptionV1's structure, every tensor written before it is read") {
  const fs::path path = test::temporary_folder() / "model.onnx";
  write_synthetic_inception(path, {.seed = 1, .width_divisor = 8});
  const onnx::ModelProto model = read_model(path);
  const auto weights = initializers(model);

  std::set<std::string> known{"data"};
  for (const auto& [name, tensor] : weights) known.insert(name);
  std::map<std::string, int> counted;
  for (const auto& node : model.graph().node()) {
    for (const auto& input : node.input())
      CHECK_MESSAGE(known.count(input) == 1, node.name() << " reads " << input);
    for (const auto& output : node.output()) CHECK(known.insert(output).second);
    ++counted[node.op_type()];
  }
  // 3 convolutions before the blocks, 6 in each of 9 blocks; 4 pools that halve and one in each block.
  CHECK(counted["Conv"] == 57);
  CHECK(counted["Relu"] == 57);
  CHECK(counted["MaxPool"] == 13);
  CHECK(counted["Concat"] == 9);
  CHECK(counted["LRN"] == 2);
  CHECK(known.count("inception_4c/5x5_preact") == 1);

  const auto& weight = *weights.at("inception_4c/5x5_w");
  CHECK(std::vector<int64_t>(weight.dims().begin(), weight.dims().end()) == std::vector<int64_t>{8, 3, 5, 5});
  // Reads mixed4b: (160 + 224 + 64 + 64) / 8 channels.
  CHECK(weights.at("inception_4c/1x1_w")->dims(1) == 64);
  CHECK(weights.at("loss3/classifier_w")->dims(0) == 1000);
  CHECK(weights.at("loss3/classifier_w")->dims(1) == 128);
}

TEST_CASE("synthetic model: filters sum to zero and keep activations' size") {
  const fs::path path = test::temporary_folder() / "model.onnx";
  write_synthetic_inception(path, {.seed = 2, .width_divisor = 8, .classes = 5});
  const onnx::ModelProto model = read_model(path);
  const auto& tensor = *initializers(model).at("inception_3a/3x3_w");
  const std::vector<float> weight = values(tensor);
  const auto fan_in = static_cast<size_t>(tensor.dims(1) * 9);
  REQUIRE(weight.size() == static_cast<size_t>(tensor.dims(0)) * fan_in);
  const double energy = 1.0 / (0.5 - 0.5 / 3.14159265358979);
  for (size_t f = 0; f < weight.size(); f += fan_in) {
    double sum = 0, squares = 0;
    for (size_t i = f; i < f + fan_in; ++i) {
      sum += weight[i];
      squares += static_cast<double>(weight[i]) * weight[i];
    }
    // float32 rounding of 108 weights below 1: at most 108 * 6e-8.
    CHECK(std::abs(sum) < 1e-5);
    CHECK(squares == doctest::Approx(energy).epsilon(1e-5));
  }
}

TEST_CASE("synthetic model: options out of range and places that cannot be written") {
  const fs::path folder = test::temporary_folder();
  CHECK_THROWS_AS(write_synthetic_inception(folder / "x.onnx", {.width_divisor = 0}), InputError);
  CHECK_THROWS_AS(write_synthetic_inception(folder / "x.onnx", {.classes = 0}), InputError);
  CHECK_THROWS_AS(write_synthetic_inception(folder / "absent" / "x.onnx", {.width_divisor = 16}), Error);
  CHECK(fs::is_empty(folder));
}

TEST_CASE("synthetic images: kinds in turn, seeded, readable") {
  const fs::path folder = test::temporary_folder();
  write_synthetic_images(folder / "a", {.seed = 5, .count = 10, .height = 40, .width = 50});
  write_synthetic_images(folder / "b", {.seed = 5, .count = 10, .height = 40, .width = 50});
  write_synthetic_images(folder / "c", {.seed = 6, .count = 10, .height = 40, .width = 50});

  std::set<std::string> hashes;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "a")) {
    if (!entry.is_regular_file()) continue;
    const fs::path relative = fs::relative(entry.path(), folder / "a");
    const std::string hash = sha256_of_file(entry.path());
    CHECK(hash == sha256_of_file(folder / "b" / relative));
    CHECK(hash != sha256_of_file(folder / "c" / relative));
    hashes.insert(hash);
    const auto pixels = read_png(entry.path(), 40, 50);
    CHECK(*std::min_element(pixels.begin(), pixels.end()) != *std::max_element(pixels.begin(), pixels.end()));
  }
  CHECK(hashes.size() == 10);
  CHECK(fs::exists(folder / "a" / "disc" / "disc_00000.png"));
  CHECK(fs::exists(folder / "a" / "square" / "square_00009.png"));
}

TEST_CASE("synthetic images: options out of range") {
  const fs::path folder = test::temporary_folder() / "pictures";
  CHECK_THROWS_AS(write_synthetic_images(folder, {.count = 0}), InputError);
  CHECK_THROWS_AS(write_synthetic_images(folder, {.height = 0}), InputError);
  CHECK_THROWS_AS(write_synthetic_images(folder, {.width = 1'000'000}), InputError);
  CHECK_FALSE(fs::exists(folder));
}
