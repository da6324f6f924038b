// The real network on real photos beside what ONNX Runtime computes for them; skipped without the data
// folder.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/device.h"
#include "engine/files.h"
#include "engine/npy.h"
#include "loader/onnx_loader.h"
#include "tests/test_data.h"

using namespace branchsae;
namespace fs = std::filesystem;

namespace {

template <class T>
struct NpyArray {
  Shape shape;
  std::vector<T> values;
};

template <class T>
NpyArray<T> read_npy(const fs::path& path) {
  const NpyHeader header = read_npy_header(path);
  const std::string bytes = read_file(path);
  REQUIRE(header.element_bytes == sizeof(T));
  NpyArray<T> array{header.shape, std::vector<T>(static_cast<size_t>(element_count(header.shape)))};
  std::memcpy(array.values.data(), bytes.data() + header.data_offset, array.values.size() * sizeof(T));
  return array;
}

/// |tokens - want| / |want| over the first images; want is [N, C, H, W] or [N, C].
double relative_error(const TapOutput& tap, const NpyArray<float>& want) {
  const int64_t images = want.shape[0], channels = want.shape[1], pixels = tap.height * tap.width;
  REQUIRE(tap.tokens().shape[1] == channels);
  REQUIRE(static_cast<int64_t>(want.values.size()) == images * channels * pixels);
  double difference = 0, norm = 0;
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        const double expected = want.values[static_cast<size_t>((n * channels + c) * pixels + p)];
        difference += std::pow(tap.tokens()(n * pixels + p, c) - expected, 2);
        norm += expected * expected;
      }
    }
  }
  return std::sqrt(difference / norm);
}

struct Statistics {
  double mean = 0, deviation = 0, largest = -INFINITY, zero_fraction = 0;
};

Statistics statistics_of(View<const float, 2> rows) {
  Statistics result;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < rows.shape[0]; ++i) {
    for (int64_t c = 0; c < rows.shape[1]; ++c) {
      const double value = rows(i, c);
      sum += value;
      squares += value * value;
      result.largest = std::max(result.largest, value);
      result.zero_fraction += value == 0;
    }
  }
  const auto count = static_cast<double>(rows.size());
  result.mean = sum / count;
  result.deviation = std::sqrt(squares / count - result.mean * result.mean);
  result.zero_fraction /= count;
  return result;
}

struct Photos {
  fs::path folder;
  Graph graph;
  NpyArray<uint8_t> pixels;
  View<const uint8_t, 4> view() const {
    return {pixels.values.data(), {pixels.shape[0], pixels.shape[1], pixels.shape[2], 3}};
  }
};

std::optional<Photos> load_photos() {
  const auto data = test::data_folder();
  if (!data || !fs::exists(*data / "reference")) {
    test::skip("needs the model and the reference activations");
    return std::nullopt;
  }
  return Photos{*data / "reference", load_onnx(*data / "model" / "googlenet.onnx"),
                read_npy<uint8_t>(*data / "reference" / "input_u8_rgb.npy")};
}

const char* const kBlocks[] = {"4a", "4b", "4c", "4d", "4e"};

}  // namespace

TEST_CASE("blocks, logits and probabilities of real photos agree with ONNX Runtime") {
  const auto photos = load_photos();
  if (!photos) return;
  const Device device = Device::cpu(2);
  std::vector<std::string> taps{"loss3/classifier", "prob"};
  for (const char* block : kBlocks) taps.push_back(std::string("mixed") + block);
  for (const ConvAlgorithm conv : {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect}) {
    for (const int64_t max_batch : {4, 9}) {
      Program program = device.compile(photos->graph, {.taps = taps, .max_batch = max_batch, .conv = conv});
      const auto stream = device.make_stream();
      program.run(photos->view(), *stream);
      stream->synchronize();
      // The reference is float32 too, with its own order of sums: 1e-4 is what users are promised, some 2e-6
      // is seen.
      const auto check = [&](const std::string& tap, const std::string& file) {
        CAPTURE(tap);
        CHECK(relative_error(program.tap(tap), read_npy<float>(photos->folder / file)) < 1e-5);
      };
      check("loss3/classifier", "logits.npy");
      check("prob", "prob.npy");
      for (const char* block : kBlocks) {
        check(std::string("mixed") + block, std::string("inception_") + block + ".output.npy");
      }
    }
  }
}

TEST_CASE("every tap of real photos has ONNX Runtime's mean, deviation, maximum and share of zeros") {
  const auto photos = load_photos();
  if (!photos) return;
  const nlohmann::json reference = nlohmann::json::parse(read_file(photos->folder / "reference.json"));
  std::vector<std::string> taps;
  for (const auto& [name, statistics] : reference.at("taps").items()) {
    if (photos->graph.find_value(name) != kNoValue) taps.push_back(name);
  }
  REQUIRE(taps.size() > 40);
  const Device device = Device::cpu(2);
  Program program = device.compile(photos->graph, {.taps = taps, .max_batch = 4});
  program.run(photos->view(), *device.make_stream());
  for (const std::string& name : taps) {
    CAPTURE(name);
    const auto& want = reference.at("taps").at(name);
    const Statistics got = statistics_of(program.tap(name).tokens());
    // The statistics themselves were computed in float32, over up to 2.4 million numbers.
    CHECK(got.mean == doctest::Approx(want.at("mean").get<double>()).epsilon(1e-4));
    CHECK(got.deviation == doctest::Approx(want.at("std").get<double>()).epsilon(1e-4));
    CHECK(got.largest == doctest::Approx(want.at("max").get<double>()).epsilon(1e-4));
    CHECK(std::abs(got.zero_fraction - want.at("zero_fraction").get<double>()) < 1e-4);
  }
}
