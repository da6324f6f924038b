// Convolutions that oneDNN would leave to its reference code, and kernels at every instruction set.
#include <doctest/doctest.h>

#include <hwy/targets.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/cpu_backend.h"
#include "cpu/network/im2row.h"
#include "cpu/network/lrn_kernel.h"
#include "cpu/threads.h"
#include "engine/log.h"
#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using cpu::Layout;
using reference::Array;
using reference::GraphBuilder;
using reference::random_images;

namespace {

struct Case {
  int64_t inputs, outputs, groups, height, width, batch;
  std::array<int64_t, 2> kernel, stride, dilation, pad_begin, pad_end;
};

/// oneDNN has only its reference for this one, on every processor.
constexpr Case kOnlyReference{19, 1, 1, 1, 8, 1, {2, 4}, {1, 1}, {1, 2}, {5, 3}, {5, 4}};

constexpr Case kCases[] = {
    kOnlyReference,
    {16, 32, 1, 4, 60, 3, {1, 1}, {1, 1}, {1, 1}, {2, 1}, {0, 3}},  // rows of more than one strip
    {6, 34, 2, 7, 5, 2, {3, 2}, {2, 1}, {1, 1}, {4, 3}, {5, 0}},    // groups that fill no block
    {32, 48, 1, 5, 9, 4, {2, 2}, {1, 3}, {2, 1}, {3, 4}, {6, 1}},
    {3, 20, 1, 9, 11, 2, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}},
};

Graph graph_of(const Case& c, bool relu) {
  Window window;
  window.kernel = c.kernel;
  window.stride = c.stride;
  window.dilation = c.dilation;
  window.pad_begin = c.pad_begin;
  window.pad_end = c.pad_end;
  GraphBuilder build(c.inputs, 7);
  return build.graph({build.conv(build.input(), c.outputs, window, c.groups, relu)});
}

int64_t place(const Layout& layout, int64_t image, int64_t channel, int64_t pixel) {
  return (image * layout.blocks() + channel / layout.block) * layout.plane_size() + pixel * layout.block +
         channel % layout.block;
}

/// Relative error of own im2row on blobs of these channel blocks; infinite where padding channels are not 0.
double im2row_error(const Case& c, bool relu, int64_t src_block, int64_t dst_block, int threads) {
  const Graph graph = graph_of(c, relu);
  Array images = random_images({c.batch, c.inputs, c.height, c.width}, 8);
  for (double& number : images.data) number = static_cast<float>(number);
  const Array want = reference::run_network(graph, images).at(static_cast<size_t>(graph.outputs[0]));
  MemoryPlan plan;
  const auto slot = [&plan](const Shape& shape, int64_t block) {
    cpu::Slot result{.layout = cpu::make_layout(shape, block, "value")};
    result.image_stride = result.layout.image_size();
    result.buffer = plan.add(result.size_bytes());
    plan.keep(result.buffer);
    return result;
  };
  const cpu::Slot src = slot(images.shape, src_block), dst = slot(want.shape, dst_block);
  plan.place();
  const cpu::ThreadScope scope(threads);
  const cpu::LayerPtr layer =
      cpu::make_im2row_convolution(std::get<ConvOp>(graph.nodes.at(0).op), src, dst, threads);
  std::vector<float> arena(static_cast<size_t>(plan.size_bytes() / 4), 0.0F);
  std::vector<float> scratch(static_cast<size_t>(layer->scratch_bytes() / 4), -1e30F);
  const cpu::Addresses addresses{.arena = reinterpret_cast<std::byte*>(arena.data()),
                                 .scratch = reinterpret_cast<std::byte*>(scratch.data()),
                                 .plan = &plan};
  const cpu::Blob in = addresses.at(src), out = addresses.at(dst);
  for (int64_t i = 0; i < static_cast<int64_t>(images.data.size()); ++i) {
    const int64_t pixels = c.height * c.width;
    in.data[place(src.layout, i / pixels / c.inputs, i / pixels % c.inputs, i % pixels)] =
        static_cast<float>(images.data[static_cast<size_t>(i)]);
  }
  std::fill_n(out.data, dst.size_bytes() / 4, -1e30F);
  layer->bind(addresses);
  layer->run({.first = 0, .count = c.batch});

  Array got(want.shape);
  const int64_t pixels = want.dim(2) * want.dim(3);
  for (int64_t i = 0; i < static_cast<int64_t>(want.data.size()); ++i) {
    got.data[static_cast<size_t>(i)] =
        out.data[place(dst.layout, i / pixels / c.outputs, i / pixels % c.outputs, i % pixels)];
  }
  for (int64_t channel = c.outputs; channel < dst.layout.padded_channels(); ++channel) {
    if (out.data[place(dst.layout, 0, channel, 0)] != 0) return std::numeric_limits<double>::infinity();
  }
  return reference::relative_error(got, want);
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
  const Graph graph = graph_of(kOnlyReference, true);
  const Shape images{3, kOnlyReference.inputs, kOnlyReference.height, kOnlyReference.width};
  const Said said;
  const auto network = test::compile_cpu(graph, test::whole_taps(graph, graph.outputs), images);
  const std::vector<LayerTime> layers = network->profile(*cpu::CpuBackend(1).make_stream());
  const auto conv = std::ranges::find(layers, "Conv", &LayerTime::op);
  REQUIRE(conv != layers.end());
  CHECK(conv->implementation == "own im2row");
  CHECK(said.text.find("oneDNN has only its slow reference") != std::string::npos);
  CHECK(said.text.find(conv->node) != std::string::npos);
  CHECK(test::worst_error(graph, graph.outputs, random_images(images, 8)) < 1e-6);
}

TEST_CASE("own im2row beside the reference: layouts, threads, instruction sets") {
  int levels = 0;
  at_every_level([&] {
    ++levels;
    for (const Case& c : kCases) {
      for (const int64_t src_block : {1, 8, 16}) {
        for (const int64_t dst_block : {1, 8, 16}) {
          CAPTURE(c.inputs);
          CAPTURE(src_block);
          CAPTURE(dst_block);
          // A sum of up to some 200 products in order: 2^-24 times the square root of that.
          CHECK(im2row_error(c, levels % 2 == 0, src_block, dst_block, 1 + levels % 3) < 1e-6);
        }
      }
    }
  });
  CHECK(levels >= 2);
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
