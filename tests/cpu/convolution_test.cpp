// Convolutions that oneDNN would leave to its reference code, and kernels at every instruction set.
#include <doctest/doctest.h>

#include <hwy/targets.h>
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/cpu_backend.h"
#include "cpu/network/lrn_kernel.h"
#include "engine/log.h"
#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using reference::GraphBuilder;
using reference::random_images;

namespace {

/// A padding wider than the window: outputs that see nothing but zeros.
struct WideCase {
  int64_t inputs, outputs, groups, height, width, batch;
  std::array<int64_t, 2> kernel, stride, dilation, pad_begin, pad_end;
};

constexpr WideCase kWideCases[] = {
    {19, 1, 1, 1, 8, 1, {2, 4}, {1, 1}, {1, 2}, {5, 3}, {5, 4}},
    {16, 32, 1, 4, 60, 3, {1, 1}, {1, 1}, {1, 1}, {2, 1}, {0, 3}},  // rows of more than one strip
    {6, 34, 2, 7, 5, 2, {3, 2}, {2, 1}, {1, 1}, {4, 3}, {5, 0}},    // groups that fill no block
    {32, 48, 1, 5, 9, 4, {2, 2}, {1, 3}, {2, 1}, {3, 4}, {6, 1}},
};

Graph wide_graph(const WideCase& c, bool relu) {
  Window window;
  window.kernel = c.kernel;
  window.stride = c.stride;
  window.dilation = c.dilation;
  window.pad_begin = c.pad_begin;
  window.pad_end = c.pad_end;
  GraphBuilder build(c.inputs, 7);
  return build.graph({build.conv(build.input(), c.outputs, window, c.groups, relu)});
}

/// What the library said while it lives, at any level.
class Said {
 public:
  Said() {
    set_log_sink([this](LogLevel, const std::string& message) { text += message + "\n"; });
  }
  ~Said() { set_log_sink({}); }
  std::string text;
};

/// body() once for every instruction set that this build and processor have.
template <class Body>
void at_every_level(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace

TEST_CASE("what oneDNN has only as its reference runs on own code, which says so") {
  for (const WideCase& c : kWideCases) {
    CAPTURE(c.inputs);
    const Graph graph = wide_graph(c, true);
    const Shape images{c.batch, c.inputs, c.height, c.width};
    const Said said;
    const auto network = test::compile_cpu(graph, test::whole_taps(graph, graph.outputs), images);
    const std::vector<LayerTime> layers = network->profile(*cpu::CpuBackend(1).make_stream());
    const auto conv = std::ranges::find(layers, "Conv", &LayerTime::op);
    REQUIRE(conv != layers.end());
    CHECK(conv->implementation == "own im2row");
    CHECK(said.text.find("oneDNN has only its slow reference") != std::string::npos);
    CHECK(said.text.find(conv->node) != std::string::npos);
  }
}

TEST_CASE("own im2row agrees with the reference, with any number of threads, at every instruction set") {
  at_every_level([] {
    for (const WideCase& c : kWideCases) {
      CAPTURE(c.inputs);
      for (const int threads : {1, 2, 3}) {
        for (const bool relu : {false, true}) {
          const Graph graph = wide_graph(c, relu);
          const Shape images{c.batch, c.inputs, c.height, c.width};
          // A sum of up to 2^8 products in order: 2^-24 times the square root of that.
          CHECK(test::worst_error(graph, graph.outputs, random_images(images, 8), {.threads = threads}) <
                1e-6);
        }
      }
    }
  });
}

TEST_CASE("local response normalisation of numbers whose squares overflow is 0, and NaN stays NaN") {
  at_every_level([] {
    for (const float beta : {0.75F, 0.5F}) {
      CAPTURE(beta);
      constexpr int64_t kBlock = 16, kPitch = 32;
      float src[kBlock] = {}, dst[kBlock] = {}, squares[kPitch] = {};
      src[3] = 3e30F;
      src[4] = 2;
      src[12] = std::numeric_limits<float>::quiet_NaN();
      src[8] = 1;
      cpu::lrn_tile({.src = src,
                     .dst = dst,
                     .plane_size = kBlock,
                     .pixels = 1,
                     .blocks = 1,
                     .block = kBlock,
                     .size = 5,
                     .before = 2,
                     .alpha_over_size = 1e-4F,
                     .beta = beta,
                     .bias = 1,
                     .squares = squares,
                     .pitch = kPitch});
      CHECK(dst[3] == 0);
      CHECK(dst[4] == 0);  // its neighbour overflows
      CHECK(dst[8] == doctest::Approx(std::pow(1 + 1e-4, -beta)).epsilon(1e-6));
      CHECK(std::isnan(dst[12]));
      CHECK(std::isnan(dst[11]));
    }
  });
}
