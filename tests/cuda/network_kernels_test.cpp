/// The forward pass's own kernels one by one, on small integers, which every element holds exactly: bit for
/// bit against plain loops, between neighbours that must stay as they were, in every order of threads and
/// blocks.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cuda/network/copies.h"
#include "cuda/network/elementwise.h"
#include "cuda/network/input.h"
#include "cuda/network/linear.h"
#include "cuda/network/lrn.h"
#include "cuda/network/pool.h"
#include "tests/cuda/kernel_test.h"

using namespace branchsae;
using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

constexpr Element kElements[] = {Element::kF32, Element::kF16, Element::kBf16};

/// Written out, not taken from the backend.
float half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                  : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  if (exponent == 31) magnitude = mantissa == 0 ? INFINITY : NAN;
  return bits >> 15 != 0 ? -magnitude : magnitude;
}

class Bytes {
 public:
  explicit Bytes(std::vector<std::byte> from) : bytes(std::move(from)) {}
  template <class T>
  T get(int64_t at) const {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
  }
  template <class T>
  void put(int64_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(T));
  }
  float number(Element element, int64_t at) const {
    if (element == Element::kF32) return get<float>(at);
    const auto bits = get<uint16_t>(at);
    return element == Element::kF16 ? half_value(bits)
                                    : std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  void put_number(Element element, int64_t at, float value) {
    if (element == Element::kF32) return put(at, value);
    put(at, element == Element::kF16 ? round_to_half(value) : round_to_bf16(value));
  }
  std::vector<std::byte> bytes;
};

/// Operands of a layer in one arena, pixels apart from each other, everything else poisoned.
class Bench {
 public:
  /// A place for such an activation, with neighbours before and after a pixel's channels.
  Slot slot(const Layout& layout) {
    const int64_t size = element_bytes(layout.element);
    const Slot slot{.layout = layout,
                    .buffer = 0,
                    .offset = next_ / size + layout.group(),
                    .pixel_stride = layout.padded_channels() + 3 * layout.group()};
    next_ += (slot.buffer_bytes() + 512) / 256 * 256;
    return slot;
  }
  template <class Number>
  void fill(const Slot& slot, const Number& number) {
    fills_.push_back([=, this](Bytes& arena) {
      for (int64_t p = 0; p < slot.layout.pixels(); ++p) {
        for (int64_t c = 0; c < slot.layout.padded_channels(); ++c) {
          arena.put_number(slot.layout.element, address(slot, p, c),
                           c < slot.layout.c ? static_cast<float>(number(p, c)) : 0.0F);
        }
      }
    });
  }
  WeightStore weights;

  /// dst's [pixels, channels]. Checks that its padding is zero and that nothing beside it has changed.
  std::vector<float> run(Layer& layer, const Slot& dst) {
    Bytes before(std::vector<std::byte>(static_cast<size_t>(next_), std::byte{0xff}));
    for (const auto& fill : fills_) fill(before);
    MemoryPlan plan;
    plan.keep(plan.add(next_));
    plan.place();
    return in_every_order([&] {
      const Buffer<std::byte> arena(before.bytes);
      const Buffer<std::byte> constants(weights.bytes().empty() ? std::vector<std::byte>(1)
                                                                : weights.bytes());
      layer.bind({.arena = arena.data(), .scratch = nullptr, .weights = constants.data(), .plan = &plan});
      layer.enqueue(stream());
      synchronize();
      return compare(before, Bytes(arena.download()), dst);
    });
  }

 private:
  static int64_t address(const Slot& slot, int64_t pixel, int64_t channel) {
    return (slot.offset + pixel * slot.pixel_stride + channel) * element_bytes(slot.layout.element);
  }

  static std::vector<float> compare(const Bytes& before, Bytes after, const Slot& dst) {
    std::vector<float> values;
    int64_t padding = 0;
    for (int64_t p = 0; p < dst.layout.pixels(); ++p) {
      for (int64_t c = 0; c < dst.layout.padded_channels(); ++c) {
        const int64_t at = address(dst, p, c);
        const float value = after.number(dst.layout.element, at);
        if (c < dst.layout.c) {
          values.push_back(value);
        } else {
          padding += value != 0.0F ? 1 : 0;
        }
        std::copy_n(before.bytes.begin() + at, element_bytes(dst.layout.element), after.bytes.begin() + at);
      }
    }
    CHECK(padding == 0);
    CHECK(after.bytes == before.bytes);
    return values;
  }

  int64_t next_ = 0;
  std::vector<std::function<void(Bytes&)>> fills_;
};

/// In -8..7, from the place alone.
float small(int64_t pixel, int64_t channel) {
  return static_cast<float>((pixel * 37 + channel * 11 + pixel * channel * 5) % 16 - 8);
}

Layout image(Element element, int64_t n, int64_t c, int64_t h, int64_t w) {
  return make_layout({n, c, h, w}, element, "test");
}

/// dst of one layer on `src` filled with small integers.
template <class Make>
std::vector<float> run_on_small(const Layout& src, const Layout& dst, const Make& make) {
  Bench bench;
  const Slot from = bench.slot(src), to = bench.slot(dst);
  bench.fill(from, small);
  const LayerPtr layer = make(from, to, bench.weights);
  return bench.run(*layer, to);
}

/// want(image, y, x, channel) for every number of dst.
template <class Want>
void check_all(const std::vector<float>& got, const Layout& dst, const Want& want) {
  int64_t wrong = 0, at = 0;
  for (int64_t n = 0; n < dst.n; ++n) {
    for (int64_t y = 0; y < dst.h; ++y) {
      for (int64_t x = 0; x < dst.w; ++x) {
        for (int64_t c = 0; c < dst.c; ++c, ++at) {
          wrong += same_bits(got[static_cast<size_t>(at)], static_cast<float>(want(n, y, x, c))) ? 0 : 1;
        }
      }
    }
  }
  CHECK(at == static_cast<int64_t>(got.size()));
  CHECK(wrong == 0);
}

float small_at(const Layout& src, int64_t n, int64_t y, int64_t x, int64_t c) {
  return small((n * src.h + y) * src.w + x, c);
}

}  // namespace

TEST_CASE("numbers of 16 bits: every half, and roundings at their edges") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_value(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    REQUIRE(round_to_half(value) == bits);
    // Halfway to the next number: to the even one.
    const float next = half_value(static_cast<uint16_t>(bits + 1));
    if ((bits & 0x7fffU) < 0x7bffU) {
      const float middle = value + (next - value) / 2;
      REQUIRE(round_to_half(middle) == (bits % 2 == 0 ? bits : bits + 1));
      REQUIRE(round_to_half(std::nextafter(middle, next)) == bits + 1);
    }
  }
  CHECK(round_to_half(65519.0F) == 0x7bff);
  CHECK(round_to_half(-65520.0F) == 0xfc00);
  CHECK(std::isnan(half_value(round_to_half(NAN))));
  CHECK(round_to_bf16(1.0F + 0x1p-8F) == 0x3f80);
  CHECK(round_to_bf16(1.0F + 0x1.8p-7F) == 0x3f82);
  CHECK(round_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);

  // The kernels' own conversions, on every half and on floats between them.
  std::vector<float> floats;
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float value = half_value(static_cast<uint16_t>(bits));
    floats.insert(floats.end(), {value, -value, std::nextafter(value, 1e9F), value * (1 + 0x1p-11F)});
  }
  while (floats.size() % 8 != 0) floats.push_back(1e30F);
  const auto count = static_cast<int64_t>(floats.size()) / 8;
  for (const Element element : {Element::kF16, Element::kBf16}) {
    const Buffer<float> src(floats);
    const Buffer<uint16_t> dst(count * 8);
    const Layout layout = image(element, 1, 8, 1, count);
    write_input(stream(), View<const float, 4>(src.data(), {1, 1, count, 8}), {dst.data(), layout, 8});
    const std::vector<uint16_t> got = dst.download();
    int64_t wrong = 0;
    for (size_t i = 0; i < floats.size(); ++i) {
      wrong += got[i] != (element == Element::kF16 ? round_to_half(floats[i]) : round_to_bf16(floats[i]));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("preprocess: 8-bit pixels at any address, missing images are zero") {
  std::array<std::array<float, 256>, 3> table;
  for (size_t c = 0; c < 3; ++c) {
    for (size_t level = 0; level < 256; ++level) table[c][level] = static_cast<float>(level) - 100.0F * c;
  }
  const Buffer<float> levels(std::vector<float>(table[0].data(), table[0].data() + 3 * 256));
  for (const Element element : kElements) {
    for (const int64_t shift : {0, 1, 2, 3}) {
      constexpr int64_t kCount = 2, kMost = 3, kHeight = 5, kWidth = 7;
      std::vector<uint8_t> pixels(static_cast<size_t>(kCount * kHeight * kWidth * 3 + shift));
      for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 89 % 251);
      const Layout layout = image(element, kMost, 3, kHeight, kWidth);
      const int64_t stride = 2 * layout.group();
      const auto bytes = in_every_order([&] {
        const Buffer<uint8_t> src(pixels);
        const Buffer<std::byte> dst(layout.pixels() * stride * element_bytes(element));
        write_input(stream(), View<const uint8_t, 4>(src.data() + shift, {kCount, kHeight, kWidth, 3}),
                    levels.data(), {2, 1, 0}, {dst.data(), layout, stride});
        return dst.download();
      });
      const Bytes got(bytes);
      int64_t wrong = 0;
      for (int64_t p = 0; p < layout.pixels(); ++p) {
        for (int64_t c = 0; c < stride; ++c) {
          const int64_t at = (p * stride + c) * element_bytes(element);
          if (c >= layout.group()) {
            wrong += got.get<uint16_t>(at) != 0xffff;
            continue;
          }
          float want = 0;
          if (c < 3 && p < kCount * kHeight * kWidth) {
            want = table[static_cast<size_t>(c)][pixels[static_cast<size_t>(shift + p * 3 + 2 - c)]];
          }
          wrong += got.number(element, at) != want;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("pools and means") {
  for (const Element element : kElements) {
    const Layout src = image(element, 2, 13, 6, 7), dst = image(element, 2, 13, 3, 4);
    Window window;
    window.kernel = {2, 2};
    window.stride = {2, 2};
    window.pad_end = {0, 1};
    const auto each = [&](int64_t n, int64_t y, int64_t x, int64_t c, const auto& visit) {
      for (int64_t ky = 0; ky < 2; ++ky) {
        for (int64_t kx = 0; kx < 2 && 2 * x + kx < src.w; ++kx)
          visit(small_at(src, n, 2 * y + ky, 2 * x + kx, c));
      }
    };
    check_all(run_on_small(src, dst,
                           [&](auto& from, auto& to, auto&) {
                             return make_max_pool({window, false}, from, to);
                           }),
              dst, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
                float largest = -INFINITY;
                each(n, y, x, c, [&](float value) { largest = std::max(largest, value); });
                return largest;
              });
    for (const bool include : {false, true}) {  // divisors 4 and 2: exact
      check_all(run_on_small(src, dst,
                             [&](auto& from, auto& to, auto&) {
                               return make_average_pool({window, false, include}, from, to);
                             }),
                dst, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
                  float sum = 0;
                  int count = 0;
                  each(n, y, x, c, [&](float value) { sum += value, ++count; });
                  return sum / static_cast<float>(include ? 4 : count);
                });
    }
    const Layout square = image(element, 3, 9, 8, 16), one = image(element, 3, 9, 1, 1);
    const std::vector<float> means = run_on_small(
        square, one, [](auto& from, auto& to, auto&) { return make_global_average_pool(from, to); });
    const auto mean = [&](int64_t n, int64_t, int64_t, int64_t c) {
      float sum = 0;
      for (int64_t p = 0; p < 128; ++p) sum += small(n * 128 + p, c);
      Bytes rounded(std::vector<std::byte>(4));
      rounded.put_number(element, 0, sum / 128);
      return rounded.number(element, 0);
    };
    check_all(means, one, mean);
  }
}

TEST_CASE("number by number, padding and joining") {
  for (const Element element : kElements) {
    const Layout src = image(element, 2, 11, 3, 5);
    const auto at = [&](int64_t n, int64_t y, int64_t x, int64_t c) { return small_at(src, n, y, x, c); };
    check_all(run_on_small(src, src, [](auto& from, auto& to, auto&) { return make_relu(from, to); }), src,
              [&](auto... i) { return std::max(at(i...), 0.0F) + 0.0F; });
    check_all(run_on_small(src, src,
                           [](auto& from, auto& to, auto&) {
                             return make_clip({2.0F, 5.0F}, from, to);
                           }),
              src, [&](auto... i) { return std::clamp(at(i...), 2.0F, 5.0F); });
    AffineOp affine{std::make_shared<HostTensor>(Shape{11}, std::vector<float>(11, 3.0F)),
                    std::make_shared<HostTensor>(Shape{11}, std::vector<float>(11, 7.0F))};
    check_all(run_on_small(src, src,
                           [&](auto& from, auto& to, auto& weights) {
                             return make_affine(affine, from, to, weights);
                           }),
              src, [&](auto... i) { return 3.0F * at(i...) + 7.0F; });

    const Layout framed = image(element, 2, 11, 4, 4);
    check_all(run_on_small(src, framed,
                           [](auto& from, auto& to, auto&) {
                             return make_pad({{2, -1}, {-1, 0}, 9.0F}, from, to);
                           }),
              framed, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
                return y < 2 ? 9.0F : at(n, y - 2, x + 1, c);
              });

    Bench bench;
    const Slot left = bench.slot(src), right = bench.slot(src), dst = bench.slot(src);
    bench.fill(left, small);
    bench.fill(right, [](int64_t p, int64_t c) { return small(p + 3, c + 1) < 0 ? 2.0F : 4.0F; });
    const LayerPtr quotient = make_binary({BinaryOp::Kind::kDiv}, left, right, dst);
    check_all(bench.run(*quotient, dst), src, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
      const int64_t p = (n * src.h + y) * src.w + x;
      return small(p, c) / (small(p + 3, c + 1) < 0 ? 2.0F : 4.0F);
    });
  }
}

TEST_CASE("concat: parts of any width, more than a launch takes, some in place") {
  for (const Element element : kElements) {
    for (const std::vector<int64_t>& widths : {std::vector<int64_t>{5, 3, 16, 1},
                                               {8, 8, 8},
                                               {3, 5, 7, 2, 9, 1, 4, 6, 11, 2, 3, 8, 1, 1, 1, 1, 1, 5}}) {
      int64_t total = 0;
      for (const int64_t width : widths) total += width;
      Bench bench;
      const Layout layout = image(element, 2, total, 3, 3);
      const Slot dst = bench.slot(layout);
      std::vector<ConcatInput> inputs;
      int64_t first = 0;
      for (const int64_t width : widths) {
        const Slot src = bench.slot(image(element, 2, width, 3, 3));
        bench.fill(src, [first](int64_t p, int64_t c) { return small(p, first + c); });
        inputs.push_back({src, false});
        first += width;
      }
      const LayerPtr layer = make_concat(inputs, dst);
      check_all(bench.run(*layer, dst), layout,
                [&](int64_t n, int64_t y, int64_t x, int64_t c) { return small((n * 3 + y) * 3 + x, c); });
      if (widths.size() != 3) continue;
      // The middle one is there already: what stands there stays.
      Bench placed;
      const Slot whole = placed.slot(layout);
      placed.fill(whole, [](int64_t, int64_t) { return 100.0F; });
      inputs.clear();
      for (int64_t i = 0; i < 3; ++i) {
        const Slot src = placed.slot(image(element, 2, 8, 3, 3));
        placed.fill(src, [i](int64_t p, int64_t c) { return small(p, 8 * i + c); });
        inputs.push_back({src, i == 1});
      }
      const LayerPtr some = make_concat(inputs, whole);
      check_all(placed.run(*some, whole), layout, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        return c / 8 == 1 ? 100.0F : small((n * 3 + y) * 3 + x, c);
      });
    }
  }
}

TEST_CASE("linear and flatten: NCHW order, ragged images and outputs") {
  for (const Element element : kElements) {
    for (const auto& [images, outputs] : {std::pair<int64_t, int64_t>{1, 3}, {65, 70}}) {
      const Layout src = image(element, images, 5, 2, 3);
      Layout rows = make_layout({images, outputs}, element, "rows");
      LinearOp op{std::make_shared<HostTensor>(Shape{outputs, 30}),
                  std::make_shared<HostTensor>(Shape{outputs}), true};
      const auto weight = [](int64_t o, int64_t i) { return static_cast<float>((o * 7 + i * 3) % 5 - 2); };
      auto values = std::make_shared<HostTensor>(Shape{outputs, 30}),
           bias = std::make_shared<HostTensor>(Shape{outputs});
      for (int64_t o = 0; o < outputs; ++o) {
        (*bias)[o] = static_cast<float>(o % 9 - 4);
        for (int64_t i = 0; i < 30; ++i) (*values)[o * 30 + i] = weight(o, i);
      }
      op.weight = values;
      op.bias = bias;
      const auto flat = [&](int64_t n, int64_t i) { return small(n * 6 + i % 6, i / 6); };
      check_all(run_on_small(
                    src, rows,
                    [&](auto& from, auto& to, auto& weights) { return make_linear(op, from, to, weights); }),
                rows, [&](int64_t n, int64_t, int64_t, int64_t o) {
                  float sum = (*bias)[o];
                  for (int64_t i = 0; i < 30; ++i) sum += weight(o, i) * flat(n, i);
                  return std::max(sum, 0.0F);
                });
      rows = make_layout({images, 30}, element, "rows");
      check_all(run_on_small(src, rows, [](auto& from, auto& to, auto&) { return make_flatten(from, to); }),
                rows, [&](int64_t n, int64_t, int64_t, int64_t i) { return flat(n, i); });
    }
  }
}

TEST_CASE("local response normalisation against double precision") {
  for (const Element element : kElements) {
    for (const int64_t size : {5, 4, 30}) {
      const Layout src = image(element, 1, 21, 3, 3);
      const LrnOp op{size, 0.5F, size == 4 ? 0.6F : 0.75F, 2.0F};
      const std::vector<float> got =
          run_on_small(src, src, [&](auto& from, auto& to, auto&) { return make_lrn(op, from, to); });
      double worst = 0;
      for (int64_t p = 0; p < 9; ++p) {
        for (int64_t c = 0; c < 21; ++c) {
          double sum = 0;
          const int64_t first = c - (size - 1) / 2;
          for (int64_t i = std::max<int64_t>(0, first); i < std::min<int64_t>(21, first + size); ++i)
            sum += std::pow(small(p, i), 2);
          const double want = small(p, c) / std::pow(2.0 + 0.5 / static_cast<double>(size) * sum, op.beta);
          worst = std::max(worst,
                           std::abs(got[static_cast<size_t>(p * 21 + c)] - want) / (1e-3 + std::abs(want)));
        }
      }
      // Some five roundings of float32, then one of the element.
      CHECK(worst < (element == Element::kF32 ? 5e-7 : element == Element::kF16 ? 0x1p-10 : 0x1p-8));
    }
  }
}

TEST_CASE("taps: parts of any channels of any element, side by side in float rows") {
  for (const Element element : kElements) {
    const Layout wide = image(element, 3, 37, 5, 5), narrow = image(element, 3, 8, 5, 5);
    constexpr int64_t kWidth = 24;  // 7 channels of one, 17 of the other
    const auto [floats, rows] = [&] {
      MemoryPlan plan;
      plan.keep(plan.add(wide.pixels() * 37 * 8 + (1 << 16)));
      plan.place();
      Slot first{.layout = wide, .buffer = 0, .offset = 0, .pixel_stride = wide.padded_channels()};
      Slot second{.layout = narrow, .buffer = 0, .offset = 1 << 14, .pixel_stride = 16};
      Bytes bytes(std::vector<std::byte>(static_cast<size_t>(plan.size_bytes()), std::byte{0xff}));
      for (const Slot& slot : {first, second}) {
        for (int64_t p = 0; p < slot.layout.pixels(); ++p) {
          for (int64_t c = 0; c < slot.layout.c; ++c) {
            bytes.put_number(element, (slot.offset + p * slot.pixel_stride + c) * element_bytes(element),
                             small(p, c));
          }
        }
      }
      WeightStore weights;
      GatherTaps layer(
          {{second, 1, 8, 0, kWidth, 0}, {first, 3, 20, 0, kWidth, 7}, {second, 0, 8, 1 << 14, 8, 0}},
          weights);
      return in_every_order([&] {
        const Buffer<std::byte> arena(bytes.bytes),
            taps(std::vector<std::byte>((1 << 14) + wide.pixels() * 8 * 4));
        Buffer<std::byte> constants(weights.bytes());
        layer.set_memory(taps.data());
        layer.bind({.arena = arena.data(), .scratch = nullptr, .weights = constants.data(), .plan = &plan});
        std::vector<std::byte> uploaded = weights.bytes();
        std::copy(layer.table().begin(), layer.table().end(),
                  uploaded.begin() + (layer.table_address() - constants.data()));
        constants.upload(uploaded);
        layer.enqueue(stream());
        synchronize();
        const std::vector<std::byte> got = taps.download();
        std::vector<float> joined(static_cast<size_t>(wide.pixels() * kWidth)),
            alone(static_cast<size_t>(wide.pixels() * 8));
        std::memcpy(joined.data(), got.data(), joined.size() * 4);
        std::memcpy(alone.data(), got.data() + (1 << 14), alone.size() * 4);
        return std::pair(joined, alone);
      });
    }();
    int64_t wrong = 0;
    for (int64_t p = 0; p < wide.pixels(); ++p) {
      for (int64_t c = 0; c < kWidth; ++c) {
        wrong +=
            floats[static_cast<size_t>(p * kWidth + c)] != (c < 7 ? small(p, 1 + c) : small(p, 3 + c - 7));
      }
      for (int64_t c = 0; c < 8; ++c) wrong += rows[static_cast<size_t>(p * 8 + c)] != small(p, c);
    }
    CHECK(wrong == 0);
  }
}
