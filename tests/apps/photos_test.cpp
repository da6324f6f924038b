// The real network on real photos: needs the data folder.
#include <doctest/doctest.h>

#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
using branchsae::Shape;
namespace fs = std::filesystem;

namespace {

/// [N, C, H, W] -> [N, H, W, C].
std::vector<float> channels_last(const Array<float>& array) {
  const auto n = static_cast<size_t>(array.shape[0]), c = static_cast<size_t>(array.shape[1]);
  const auto positions = static_cast<size_t>(array.shape[2] * array.shape[3]);
  std::vector<float> turned(array.values.size());
  for (size_t i = 0; i < n; ++i) {
    for (size_t channel = 0; channel < c; ++channel) {
      for (size_t p = 0; p < positions; ++p) {
        turned[(i * positions + p) * c + channel] = array.values[(i * c + channel) * positions + p];
      }
    }
  }
  return turned;
}

}  // namespace

TEST_CASE("BVLC GoogLeNet recognises the photos") {
  const auto data = data_folder();
  if (!data) return skip("needs the model and the photos");
  const auto document =
      run_json({"classify", (*data / "model" / "googlenet.onnx").string(), (*data / "images").string()});
  CHECK(document["labelled"] == 1000);
  // What the published weights reach on these photos with this resize, 743 and 924, less what another
  // rounding of the resize may cost.
  CHECK(document["top1"].get<double>() >= 0.735);
  CHECK(document["top5"].get<double>() >= 0.92);
}

TEST_CASE("activations are those of ONNX Runtime") {
  const auto data = data_folder();
  if (!data) return skip("needs the model and the reference activations");
  const fs::path out = temporary_folder(), reference = *data / "reference";
  const auto document = run_json(
      {"capture", (*data / "model" / "googlenet.onnx").string(), (reference / "input_u8_rgb.npy").string(),
       "--tap", "mixed4a,mixed4b,mixed4c,mixed4d,mixed4e,loss3/classifier,prob", "--out", out.string()});
  CHECK(document["images"] == 4);
  // Both sides sum in float32 in different orders: errors of about 1e-6, so 1e-4 leaves room for Winograd.
  constexpr double kTolerance = 1e-4;
  for (const char* letter : {"a", "b", "c", "d", "e"}) {
    CAPTURE(letter);
    const Array<float> theirs =
        read_floats(reference / ("inception_4" + std::string(letter) + ".output.npy"));
    Array<float> ours = read_floats(out / ("mixed4" + std::string(letter) + ".npy"));
    CHECK(ours.shape == Shape{4, theirs.shape[2], theirs.shape[3], theirs.shape[1]});
    ours.values.resize(theirs.values.size());  // the reference has the first two photos
    CHECK(relative_error(ours.values, channels_last(theirs)) < kTolerance);
  }
  CHECK(relative_error(read_floats(out / "loss3.classifier.npy").values,
                       read_floats(reference / "logits.npy").values) < kTolerance);
  CHECK(relative_error(read_floats(out / "prob.npy").values, read_floats(reference / "prob.npy").values) <
        kTolerance);
}
