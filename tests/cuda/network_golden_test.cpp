/// The golden models, and the real one where it is at hand, on the CUDA backend.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "engine/files.h"
#include "engine/npy.h"
#include "engine/taps.h"
#include "loader/onnx_loader.h"
#include "tests/cuda/network_check.h"
#include "tests/reference/golden.h"
#include "tests/test_data.h"

using namespace branchsae;
using cuda::test::Setting;
using cuda::test::TestNetwork;
using reference::Array;

namespace {

struct Wanted {
  Setting setting;
  double tolerance;
};
/// Float32: 2e-6 has been seen on the CPU. Else what 22 layers of roundings to 8 or 11 bits add up to,
/// weights and activations; a wrong channel or pad in float32 shows at 1e-2 and more.
const Wanted kWanted[] = {{{NetworkPrecision::kF32, "in-place", 0}, 1e-5},
                          {{NetworkPrecision::kF32, "dense", 0}, 1e-5},
                          {{NetworkPrecision::kF16, "dense", 0}, 5e-3},
                          {{NetworkPrecision::kBf16, "in-place", 0}, 4e-2}};

void check_model(const std::filesystem::path& path, const reference::GoldenSet& set, const Wanted& wanted) {
  const Graph graph = load_onnx(path);
  std::vector<Tap> taps;
  for (const reference::GoldenOutput& output : set.outputs) taps.push_back(resolve_tap(graph, output.name()));
  TestNetwork network(graph, taps, set.images.shape, wanted.setting);
  network.run(set.images);
  for (size_t t = 0; t < taps.size(); ++t) {
    const double error = reference::relative_error(network.rows(t), reference::tokens(set.outputs[t].value));
    CHECK_MESSAGE(error <= wanted.tolerance, path.filename(), " ", set.outputs[t].name(), ": ", error);
  }
}

void check_set(const char* name) {
  const reference::GoldenSet set = reference::read_golden(name);
  size_t at = 0;
  for (const std::filesystem::path& path : set.models) {
    check_model(path, set, kWanted[0]);
    // The others by turns: they differ in the backend, not in the loader.
    check_model(path, set, kWanted[1 + at++ % 3]);
  }
}

template <class T>
std::vector<T> read_npy(const std::filesystem::path& path, Shape& shape) {
  const NpyHeader header = read_npy_header(path);
  const std::string bytes = read_file(path);
  REQUIRE(header.element_bytes == sizeof(T));
  shape = header.shape;
  std::vector<T> values(static_cast<size_t>(element_count(shape)));
  std::memcpy(values.data(), bytes.data() + header.data_offset, values.size() * sizeof(T));
  return values;
}

}  // namespace

TEST_CASE("golden: torchvision's exports on CUDA give ONNX Runtime's values") {
  check_set("torchvision");
}

TEST_CASE("golden: lucid's exports on CUDA give ONNX Runtime's values") {
  check_set("lucid");
}

TEST_CASE("golden: the old model zoo's files on CUDA give ONNX Runtime's values") {
  check_set("zoo");
}

TEST_CASE("the real network on a real photo gives ONNX Runtime's values") {
  const auto data = test::data_folder();
  if (!data || !std::filesystem::exists(*data / "reference")) {
    test::skip("needs the model and the reference activations");
    return;
  }
  const Graph graph = load_onnx(*data / "model" / "googlenet.onnx");
  Shape shape;
  std::vector<uint8_t> pixels = read_npy<uint8_t>(*data / "reference" / "input_u8_rgb.npy", shape);
  pixels.resize(pixels.size() / static_cast<size_t>(shape[0]));
  const std::vector<std::pair<std::string, std::string>> files{{"mixed4a", "inception_4a.output.npy"},
                                                               {"mixed4c", "inception_4c.output.npy"},
                                                               {"loss3/classifier", "logits.npy"}};
  std::vector<Tap> taps;
  for (const auto& [tap, file] : files) taps.push_back(resolve_tap(graph, tap));
  for (const Wanted& wanted : {Wanted{{NetworkPrecision::kF32, "dense", 1}, 1e-4},
                               Wanted{{NetworkPrecision::kBf16, "in-place", 1}, 4e-2}}) {
    TestNetwork network(graph, taps, {1, 3, shape[1], shape[2]}, wanted.setting, *graph.preprocess);
    network.run(pixels, {1, shape[1], shape[2], 3});
    for (size_t t = 0; t < taps.size(); ++t) {
      Shape extents;
      std::vector<float> values = read_npy<float>(*data / "reference" / files[t].second, extents);
      values.resize(values.size() / static_cast<size_t>(extents[0]));
      extents[0] = 1;
      const double error =
          reference::relative_error(network.rows(t), reference::tokens(Array(extents, values)));
      CHECK_MESSAGE(error <= wanted.tolerance, files[t].first, ": ", error);
    }
  }
}
