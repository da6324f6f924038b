// Our own Winograd convolutions beside a plain sum of products in double precision.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/memory.h"
#include "cpu/network/winograd.h"
#include "cpu/threads.h"
#include "engine/passes.h"
#include "tests/reference/graph_builder.h"

using namespace branchsae;
using namespace branchsae::cpu;
using reference::Array;
using reference::random_images;

namespace {

struct Case {
  WinogradForm form;
  int64_t inputs, outputs, height, width, batch;
  std::array<int64_t, 2> pad_begin, pad_end;
  int64_t block = 16;
  bool relu = false;
};

// What one run left in memory: all of the blob that dst is a slice of.
struct Memory {
  std::vector<float> floats;
  Blob dst;
};

ConvOp convolution(const Case& c, uint64_t seed) {
  reference::GraphBuilder build(c.inputs, seed);
  Window window;
  window.kernel = {c.form.taps, c.form.taps};
  window.pad_begin = c.pad_begin;
  window.pad_end = c.pad_end;
  const ValueId dst = build.conv(build.input(), c.outputs, window, 1, c.relu);
  return std::get<ConvOp>(build.graph({dst}).nodes.at(0).op);
}

// As after a ReLU: a mean that the transforms have to cancel.
Array positive_images(const Shape& shape, uint64_t seed) {
  Array images = random_images(shape, seed);
  for (double& number : images.data) number = std::max(0.0, number);
  return images;
}

constexpr float kPoison = -1e30F;

// `channels` of a blob with one channel block more before and after, which holds poison.
Slot slice(const Shape& shape, int64_t block, MemoryPlan& plan) {
  const Layout layout = make_layout(shape, block, "slice");
  const int64_t stride = layout.image_size() + 2 * layout.plane_size();
  Slot slot{.layout = layout, .offset = layout.plane_size(), .image_stride = stride};
  slot.buffer = plan.add(layout.n * stride * static_cast<int64_t>(sizeof(float)));
  plan.keep(slot.buffer);
  return slot;
}

float* element(const Blob& blob, int64_t image, int64_t channel, int64_t y, int64_t x) {
  const Layout& in = blob.layout;
  return blob.plane(image, channel / in.block) + (y * in.w + x) * in.block + channel % in.block;
}

template <class Body>
void for_each_element(const Shape& shape, const Body& body) {
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t c = 0; c < shape[1]; ++c) {
      for (int64_t y = 0; y < shape[2]; ++y) {
        for (int64_t x = 0; x < shape[3]; ++x) body(n, c, y, x);
      }
    }
  }
}

Shape output_shape(const Case& c) {
  return {c.batch, c.outputs, c.height + c.pad_begin[0] + c.pad_end[0] - c.form.taps + 1,
          c.width + c.pad_begin[1] + c.pad_end[1] - c.form.taps + 1};
}

// Runs the layer from slice to slice.
Memory run(const Case& c, const ConvOp& op, const Array& images, int threads) {
  const ThreadScope scope(threads);
  MemoryPlan plan;
  const Slot src = slice(images.shape, c.block, plan), dst = slice(output_shape(c), c.block, plan);
  plan.place();
  const LayerPtr layer = make_winograd(op, c.form, src, dst, threads);
  const DeviceMemory arena = allocate_host(plan.size_bytes(), "arena");
  const DeviceMemory scratch = allocate_host(layer->scratch_bytes(), "scratch");
  auto* floats = static_cast<float*>(arena.data());
  std::fill(floats, floats + plan.size_bytes() / static_cast<int64_t>(sizeof(float)), kPoison);
  std::memset(scratch.data(), 0xFF, static_cast<size_t>(layer->scratch_bytes()));  // NaN
  const Addresses addresses{.arena = static_cast<std::byte*>(arena.data()),
                            .scratch = static_cast<std::byte*>(scratch.data()),
                            .plan = &plan};
  const Blob in = addresses.at(src);
  for (int64_t n = 0; n < c.batch; ++n) std::fill_n(in.plane(n, 0), in.layout.image_size(), 0.0F);
  for_each_element(images.shape, [&](int64_t n, int64_t channel, int64_t y, int64_t x) {
    *element(in, n, channel, y, x) = static_cast<float>(images.at(n, channel, y, x));
  });
  layer->bind(addresses);
  layer->run({.first = 0, .count = c.batch});

  Memory memory;
  const float* whole = addresses.at(dst).data - dst.offset;
  memory.floats.assign(whole, whole + dst.layout.n * dst.image_stride);
  memory.dst = {memory.floats.data() + dst.offset, dst.layout, dst.image_stride};
  return memory;
}

// Largest error over the outputs' root mean square.
double error(const Case& c, const ConvOp& op, const Array& images, const Blob& dst) {
  const Shape shape = output_shape(c);
  double largest = 0, squares = 0;
  for_each_element(shape, [&](int64_t n, int64_t output, int64_t y, int64_t x) {
    double sum = (*op.bias)[output];
    for (int64_t input = 0; input < c.inputs; ++input) {
      const float* filter = op.weight->data() + (output * c.inputs + input) * c.form.taps * c.form.taps;
      for (int64_t tap = 0; tap < int64_t{c.form.taps} * c.form.taps; ++tap) {
        const int64_t from_y = y + tap / c.form.taps - c.pad_begin[0],
                      from_x = x + tap % c.form.taps - c.pad_begin[1];
        if (from_y < 0 || from_y >= c.height || from_x < 0 || from_x >= c.width) continue;
        sum += static_cast<double>(static_cast<float>(images.at(n, input, from_y, from_x))) *
               static_cast<double>(filter[tap]);
      }
    }
    if (op.relu) sum = std::max(0.0, sum);
    squares += sum * sum;
    largest = std::max(largest, std::abs(sum - static_cast<double>(*element(dst, n, output, y, x))));
  });
  return largest / std::sqrt(squares / static_cast<double>(element_count(shape)));
}

// Everything around dst untouched, its padding channels zero.
bool stays_inside(const Memory& memory, const Case& c) {
  const Layout& out = memory.dst.layout;
  for (int64_t n = 0; n < out.n; ++n) {
    const float* image = memory.floats.data() + n * memory.dst.image_stride;
    const float* after = image + out.plane_size() + out.image_size();
    const auto poison = [](float number) { return number == kPoison; };
    if (!std::all_of(image, image + out.plane_size(), poison)) return false;
    if (!std::all_of(after, after + out.plane_size(), poison)) return false;
    for (int64_t channel = c.outputs; channel < out.padded_channels(); ++channel) {
      for (int64_t pixel = 0; pixel < out.h * out.w; ++pixel) {
        if (*element(memory.dst, n, channel, 0, pixel) != 0) return false;
      }
    }
  }
  return true;
}

// The forms in use, and what their errors may be: seen with these inputs, and half as much again.
struct Bound {
  WinogradForm form;
  double largest;
};
constexpr Bound kBounds[] = {{{4, 3}, 1e-5}, {{2, 5}, 1e-5}};

std::vector<Case> cases(WinogradForm form) {
  const int64_t p = form.taps / 2;
  return {
      {form, 24, 40, 14, 14, 3, {p, p}, {p, p}},
      {form, 64, 48, 28, 29, 1, {p, p}, {p, p}, 16, true},
      {form, 17, 19, 11, 13, 2, {p, p}, {p, p}},           // channels that fill no block
      {form, 17, 19, 11, 13, 2, {p, p}, {p, p}, 8, true},  // blocks of older processors
      {form, 9, 100, 7, 7, 5, {p, p}, {p, p}, 8},          // panels of several widths
      {form, 130, 16, 7, 7, 2, {p, p}, {p, p}},            // a long sum
      {form, 16, 16, 2, 3, 2, {p, p}, {p, p}},             // images smaller than a tile
      {form, 5, 7, 1, 1, 2, {p, p}, {p, p}},
      {form, 16, 208, 9, 12, 1, {0, 0}, {0, 0}},
      {form, 16, 16, 10, 11, 2, {p + 1, 0}, {0, p + 1}},
      {form, 16, 16, 5, 5, 1, {6, 4}, {5, 7}},  // windows that see padding only
  };
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("every form agrees with the plain sum of products, from slice to slice") {
  for (const Bound& bound : kBounds) {
    CAPTURE(bound.form.outputs);
    CAPTURE(bound.form.taps);
    uint64_t seed = 1;
    for (const Case& c : cases(bound.form)) {
      CAPTURE(c.inputs);
      CAPTURE(c.outputs);
      CAPTURE(c.height);
      const ConvOp op = convolution(c, seed);
      const Shape shape{c.batch, c.inputs, c.height, c.width};
      for (const Array& images : {random_images(shape, seed), positive_images(shape, seed)}) {
        const Memory memory = run(c, op, images, 2);
        CHECK(error(c, op, images, memory.dst) < bound.largest);
        CHECK(stays_inside(memory, c));
      }
      ++seed;
    }
  }
}

TEST_CASE("at every vector width that this processor and build have") {
  int widths = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const Bound& bound : kBounds) {
      for (const int64_t block : {8, 16}) {
        CAPTURE(bound.form.outputs);
        CAPTURE(bound.form.taps);
        const Case c{bound.form, 20, 90, 9, 14, 2, {1, 2}, {2, 1}, block, true};
        const ConvOp op = convolution(c, 3);
        const Array images = positive_images({c.batch, c.inputs, c.height, c.width}, 4);
        const Memory memory = run(c, op, images, 2);
        CHECK(error(c, op, images, memory.dst) < bound.largest);
        CHECK(stays_inside(memory, c));
      }
    }
    ++widths;
  }
  hwy::SetSupportedTargetsForTest(0);
  CHECK(widths >= 1);
}

TEST_CASE("bits depend neither on the number of threads nor on the other images") {
  for (const Bound& bound : kBounds) {
    for (const int64_t size : {5, 14, 40}) {
      CAPTURE(bound.form.outputs);
      CAPTURE(size);
      Case c{bound.form, 33, 200, size, size, 3, {1, 1}, {1, 1}};
      const ConvOp op = convolution(c, 5);
      const Array images = random_images({c.batch, c.inputs, c.height, c.width}, 6);
      const Memory memory = run(c, op, images, 1);
      for (const int threads : {2, 3, 5, 16}) {
        CAPTURE(threads);
        CHECK(same_bits(run(c, op, images, threads).floats, memory.floats));
      }
      const auto each = static_cast<std::ptrdiff_t>(memory.floats.size() / 3);
      const auto image = static_cast<std::ptrdiff_t>(images.data.size() / 3);
      c.batch = 1;
      const Array last({1, c.inputs, c.height, c.width},
                       std::vector<double>(images.data.end() - image, images.data.end()));
      CHECK(same_bits(run(c, op, last, 2).floats, {memory.floats.end() - each, memory.floats.end()}));
    }
  }
}

TEST_CASE("only dense square convolutions of stride 1 are taken, and none when Winograd is forbidden") {
  const Layout in = make_layout({1, 32, 14, 14}, 16, "in"), plain = make_layout({1, 32, 14, 14}, 1, "plain");
  const auto op = [](int64_t kernel, int64_t stride, int64_t dilation, int64_t groups) {
    ConvOp conv;
    conv.window = reference::window(kernel, stride);
    conv.window.dilation = {dilation, dilation};
    conv.groups = groups;
    return conv;
  };
  const auto taken = [&](const ConvOp& conv, const Layout& src, ConvAlgorithm algorithm) {
    return winograd_form(conv, src, in, algorithm).has_value();
  };
  CHECK(taken(op(3, 1, 1, 1), in, ConvAlgorithm::kAuto));
  CHECK(taken(op(5, 1, 1, 1), in, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(3, 1, 1, 1), in, ConvAlgorithm::kDirect));
  CHECK_FALSE(taken(op(5, 1, 1, 1), in, ConvAlgorithm::kDirect));
  CHECK_FALSE(taken(op(3, 1, 1, 1), plain, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(3, 2, 1, 1), in, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(3, 1, 2, 1), in, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(3, 1, 1, 2), in, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(1, 1, 1, 1), in, ConvAlgorithm::kAuto));
  CHECK_FALSE(taken(op(7, 1, 1, 1), in, ConvAlgorithm::kAuto));
  ConvOp oblong = op(3, 1, 1, 1);
  oblong.window.kernel[1] = 5;
  CHECK_FALSE(taken(oblong, in, ConvAlgorithm::kAuto));
}
