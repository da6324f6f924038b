#pragma once
/// A small model and a few pictures that the program's tests share, and readers for what it writes.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/shape.h"
#include "tests/apps/process.h"

namespace branchsae::test {

/// InceptionV1 at an eighth of its width with random weights, and drawn pictures labelled by class through
/// their names. Made once a process.
struct Scene {
  std::string model;   ///< synthetic.onnx, 1,000 classes
  std::string images;  ///< folder of kImages pictures, 64 x 64
  static constexpr int64_t kImages = 12;
};
const Scene& scene();

/// Arguments that make a forward pass cheap: pictures are taken as they are.
inline const std::vector<std::string> kSmall = {"--crop", "64", "--resize", "64"};

std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string>& right);

/// The taps that training tests use unless they need others.
inline const std::string kTwoTaps = "mixed4c.5x5,mixed4d";
/// Arguments that train `taps` on the scene: 10 steps of 64 tokens, four latents a channel. `more` comes
/// last.
std::vector<std::string> train_arguments(const std::filesystem::path& run,
                                         const std::vector<std::string>& more = {},
                                         const std::string& taps = kTwoTaps);

/// P6; bytes [height, width, 3].
void write_ppm(const std::filesystem::path& path, int64_t width, int64_t height, const std::string& pixels);
/// Reproducible pixels that differ by `which`.
std::string drawn_pixels(int64_t width, int64_t height, int which);

template <class T>
struct Array {
  Shape shape;
  std::vector<T> values;
};
Array<float> read_floats(const std::filesystem::path& path);
Array<int32_t> read_ints(const std::filesystem::path& path);

/// Norm of the difference over the norm of `theirs`.
double relative_error(const std::vector<float>& ours, const std::vector<float>& theirs);

/// Checks exit code 0 and parses stdout.
nlohmann::json run_json(const std::vector<std::string>& arguments, const ProcessOptions& options = {});
/// Checks what every failure on bad input must be: exit code 2, nothing on stdout, one line on stderr beside
/// warnings. Returns that line.
std::string run_refused(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

}  // namespace branchsae::test
