#include "tests/apps/scene.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/files.h"
#include "engine/npy.h"
#include "engine/random.h"
#include "loader/synthetic.h"
#include "tests/test_data.h"

namespace branchsae::test {
namespace {

// WordNet ids of the built-in list, so that pictures have labels: tench, goldfish, cock.
constexpr const char* kClassFolders[] = {"n01440764", "n01443537", "n01514668"};

Scene make_scene() {
  const auto folder = temporary_folder();
  Scene made{(folder / "synthetic.onnx").string(), (folder / "pictures").string()};
  write_synthetic_inception(made.model, {.seed = 3, .width_divisor = 8});
  for (int i = 0; i < Scene::kImages; ++i) {
    const auto place = folder / "pictures" / kClassFolders[i % 3];
    std::filesystem::create_directories(place);
    write_ppm(place / ("picture_" + std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, i));
  }
  return made;
}

template <class T>
Array<T> read_array(const std::filesystem::path& path, const std::string& dtype) {
  const NpyHeader header = read_npy_header(path);
  REQUIRE(header.dtype == dtype);
  const std::string bytes = read_file(path);
  Array<T> array{header.shape, {}};
  array.values.resize((bytes.size() - static_cast<size_t>(header.data_offset)) / sizeof(T));
  std::memcpy(array.values.data(), bytes.data() + header.data_offset, array.values.size() * sizeof(T));
  return array;
}

}  // namespace

const Scene& scene() {
  static const Scene made = make_scene();
  return made;
}

std::vector<std::string> train_arguments(const std::filesystem::path& run,
                                         const std::vector<std::string>& more, const std::string& taps) {
  return std::vector<std::string>{
             "train",      scene().model,     scene().images, "--tap",   taps, "--out",
             run.string(), "--tokens",        "640",          "--batch", "64", "--expansion",
             "4",          "--buffer-tokens", "128",          "--seed",  "5"} +
         kSmall + more;
}

void write_ppm(const std::filesystem::path& path, int64_t width, int64_t height, const std::string& pixels) {
  std::ofstream(path, std::ios::binary) << "P6\n" << width << " " << height << "\n255\n" << pixels;
}

std::string drawn_pixels(int64_t width, int64_t height, int which) {
  Random random(11, static_cast<uint64_t>(which));
  std::string pixels;
  const int coarse = 1 << (which % 4 + 1);  // blocks of several sizes, so that pictures differ in texture too
  std::vector<uint8_t> colours(3 * 64 * 64);
  for (uint8_t& colour : colours) colour = static_cast<uint8_t>(random.below(256));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t cell = (y / coarse % 64) * 64 + x / coarse % 64;
      for (int c = 0; c < 3; ++c) pixels += static_cast<char>(colours[static_cast<size_t>(3 * cell + c)]);
    }
  }
  return pixels;
}

Array<float> read_floats(const std::filesystem::path& path) {
  return read_array<float>(path, "<f4");
}

Array<int32_t> read_ints(const std::filesystem::path& path) {
  return read_array<int32_t>(path, "<i4");
}

double relative_error(const std::vector<float>& ours, const std::vector<float>& theirs) {
  REQUIRE(ours.size() == theirs.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < theirs.size(); ++i) {
    difference += std::pow(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]), 2);
    norm += std::pow(static_cast<double>(theirs[i]), 2);
  }
  return std::sqrt(difference / norm);
}

std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string>& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

nlohmann::json run_json(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  const ProcessResult result = run_program(arguments + std::vector<std::string>{"--json"}, options);
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  return nlohmann::json::parse(result.out);
}

std::string run_refused(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  const ProcessResult result = run_program(arguments, options);
  CAPTURE(result.err);
  CHECK(result.code == 2);
  CHECK(result.signal == 0);
  CHECK(result.out.empty());
  REQUIRE(result.error_lines().size() == 1);
  for (const std::string& line : result.err_lines()) {
    CHECK((line.starts_with("branchsae: error:") || line.starts_with("branchsae: warning:")));
  }
  return result.error_lines().front();
}

}  // namespace branchsae::test
