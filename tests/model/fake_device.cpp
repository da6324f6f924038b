#include "tests/model/fake_device.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"
#include "engine/random.h"
#include "tests/model/fake_sae.h"
#include "tests/model/fake_stream.h"

namespace branchsae::test {
namespace {

class FakeNetwork : public NetworkExecutor {
 public:
  FakeNetwork(FakeControl& control, const Graph& graph, const NetworkOptions& options)
      : control_(control), options_(options) {
    for (const Tap& tap : options.taps) {
      Output output;
      output.stride = graph.value(tap.parts.front().value).name == "c" ? 4 : 2;
      output.d = tap.width();
      output.map = HostTensor({output.d, 3 * output.stride * output.stride});
      Random random(99, static_cast<uint64_t>(tap.parts.front().value));
      for (float& weight : output.map.values()) weight = static_cast<float>(random.normal());
      output.tokens = HostTensor({options.max_batch * positions(output), output.d});
      outputs_.push_back(std::move(output));
    }
  }

  void run(Stream& stream, View<const float, 4> images) override {
    if (images.shape[0] > options_.max_batch) throw ShapeError("fake: too many images");
    control_.images_run += images.shape[0];
    count_ = images.shape[0];
    enqueue(stream, [this, images] {
      for (Output& output : outputs_) {
        for (int64_t row = 0; row < images.shape[0] * positions(output); ++row)
          compute_token(images, output, row);
      }
    });
  }
  void run(Stream&, View<const uint8_t, 4>) override { throw ShapeError("fake: float32 images only"); }
  TapOutput tap(size_t index) const override {
    const Output& output = outputs_.at(index);
    return {output.tokens.matrix().rows(0, count_ * positions(output)), count_,
            options_.height / output.stride, options_.width / output.stride, true};
  }
  std::vector<MemoryUse> memory() const override { return {}; }
  std::vector<LayerTime> profile(Stream&) override { return {}; }

 private:
  struct Output {
    int64_t stride = 2, d = 0;
    HostTensor map, tokens;
  };
  int64_t positions(const Output& output) const {
    return (options_.height / output.stride) * (options_.width / output.stride);
  }
  void compute_token(View<const float, 4> images, Output& output, int64_t row) const {
    const int64_t across = options_.width / output.stride;
    const int64_t image = row / positions(output), place = row % positions(output);
    for (int64_t c = 0; c < output.d; ++c) {
      float sum = 0;
      int64_t weight = 0;
      for (int64_t y = 0; y < output.stride; ++y) {
        for (int64_t x = 0; x < output.stride; ++x) {
          for (int64_t channel = 0; channel < 3; ++channel) {
            sum += output.map.matrix()(c, weight++) * images(image, place / across * output.stride + y,
                                                             place % across * output.stride + x, channel);
          }
        }
      }
      output.tokens.matrix()(row, c) = std::isnan(sum) ? sum : std::max(sum, 0.0F);
    }
  }

  FakeControl& control_;
  NetworkOptions options_;
  std::vector<Output> outputs_;
  int64_t count_ = 0;
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(FakeControl& control) : control_(control) {}
  std::string name() const override { return "fake"; }
  std::string description() const override { return "fake device"; }
  int threads() const override { return 2; }
  bool is_host() const override { return control_.host; }
  bool offers(SaePrecision precision) const override {
    return precision == SaePrecision::kF32 || (control_.bf16 && precision == SaePrecision::kBf16);
  }
  SaePrecision usual_precision() const override {
    return control_.bf16 ? SaePrecision::kBf16 : SaePrecision::kF32;
  }
  std::optional<int64_t> memory_free() override {
    if (control_.memory_bytes == 0) return std::nullopt;
    return control_.memory_bytes - control_.memory_used;
  }
  std::unique_ptr<Stream> make_stream() override {
    return std::make_unique<FakeStream>(control_.deferred && !control_.host);
  }
  DeviceMemory allocate(int64_t size_bytes, std::string_view what) override {
    if (const auto free = memory_free(); free && size_bytes > *free) {
      throw MemoryError("fake: allocate \"" + std::string(what) + "\" " + std::to_string(size_bytes) +
                        " bytes, " + std::to_string(*free) + " free");
    }
    control_.memory_used += size_bytes;
    void* memory = std::malloc(static_cast<size_t>(size_bytes));
    std::memset(memory, 0xFF, static_cast<size_t>(size_bytes));  // NaN: what is used unwritten shows
    return {memory, size_bytes, [this, size_bytes](void* pointer) {
              control_.memory_used -= size_bytes;
              std::free(pointer);
            }};
  }
  void copy_to_device(Stream& stream, void* dst, const void* src, int64_t size_bytes) override {
    copy(stream, dst, src, size_bytes);
  }
  void copy_to_host(Stream& stream, void* dst, const void* src, int64_t size_bytes) override {
    copy(stream, dst, src, size_bytes);
  }
  void gather_rows(Stream& stream, View<const float, 2> src, View<const int32_t, 1> rows,
                   View<float, 2> dst) override {
    ++control_.copies;
    enqueue(stream, [=] {
      for (int64_t i = 0; i < dst.shape[0]; ++i) {
        if (rows(i) < 0 || rows(i) >= src.shape[0]) throw ShapeError("fake: gather_rows");
        for (int64_t c = 0; c < dst.shape[1]; ++c) dst(i, c) = src(rows(i), c);
      }
    });
  }
  void copy_rows(Stream& stream, View<const float, 2> src, View<float, 2> dst) override {
    if (src.shape != dst.shape) throw ShapeError("fake: copy_rows");
    ++control_.copies;
    enqueue(stream, [=] {
      for (int64_t i = 0; i < dst.shape[0]; ++i) {
        for (int64_t c = 0; c < dst.shape[1]; ++c) dst(i, c) = src(i, c);
      }
    });
  }
  std::unique_ptr<NetworkExecutor> make_network(const Graph& graph, const NetworkOptions& options) override {
    return std::make_unique<FakeNetwork>(control_, graph, options);
  }
  std::unique_ptr<SaeExecutor> make_sae(const SaeSpec& spec) override {
    return make_fake_sae(spec, !control_.host);
  }

 private:
  void copy(Stream& stream, void* dst, const void* src, int64_t size_bytes) {
    ++control_.copies;
    enqueue(stream, [=] { std::memcpy(dst, src, static_cast<size_t>(size_bytes)); });
  }

  FakeControl& control_;
};

}  // namespace

Device fake_device(FakeControl& control) {
  return Device(std::make_shared<FakeBackend>(control));
}

namespace {

/// A convolution whose windows do not overlap, with random weights: the shapes that the network above has,
/// and work for a backend that runs graphs.
Node convolution(const char* name, ValueId output, int64_t channels, int64_t stride) {
  ConvOp op;
  HostTensor weight(Shape{channels, 3, stride, stride});
  Random random(98, static_cast<uint64_t>(output));
  for (float& value : weight.values()) value = static_cast<float>(random.normal());
  op.weight = std::make_shared<HostTensor>(std::move(weight));
  op.bias = std::make_shared<HostTensor>(Shape{channels});
  op.window.kernel = op.window.stride = {stride, stride};
  op.relu = true;
  return {name, op, {0}, output};
}

}  // namespace

Graph fake_graph() {
  Graph graph;
  graph.values = {{"data", {kDynamic, 3, kDynamic, kDynamic}},
                  {"a", {kDynamic, 8, kDynamic, kDynamic}},
                  {"b", {kDynamic, 12, kDynamic, kDynamic}},
                  {"c", {kDynamic, 6, kDynamic, kDynamic}},
                  {"lock", {kDynamic, 4, kDynamic, kDynamic}}};
  graph.nodes = {convolution("a", 1, 8, 2), convolution("b", 2, 12, 2), convolution("c", 3, 6, 4),
                 convolution("lock", 4, 4, 2)};
  graph.input = 0;
  graph.outputs = {1, 2, 3, 4};
  graph.source = "fake.onnx";
  graph.sha256 = "0123456789abcdef";
  return graph;
}

FakeImages::FakeImages(int64_t count, uint64_t seed)
    : seed_(seed), drawn_(std::make_unique<std::atomic<bool>[]>(static_cast<size_t>(count))) {
  for (int64_t i = 0; i < count; ++i) infos_.push_back({"image" + std::to_string(i) + ".jpg", -1});
}

std::string FakeImages::read(int64_t index, void* dst, const CropDraw& draw) const {
  ++reads;
  if (draw.x != 0.5 || draw.y != 0.5 || draw.flip) drawn_[static_cast<size_t>(index)] = true;
  if (std::string reason = lost(index); !reason.empty()) return reason;
  if (const auto found = unreadable.find(index); found != unreadable.end()) return found->second;
  auto* pixels = static_cast<float*>(dst);
  Random random(seed_, static_cast<uint64_t>(index));
  for (int64_t i = 0; i < 8 * 8 * 3; ++i) pixels[i] = static_cast<float>(random.normal());
  const auto shift = static_cast<float>(draw.x - 0.5 + 2 * (draw.y - 0.5));
  if (shift != 0) std::for_each(pixels, pixels + 8 * 8 * 3, [shift](float& pixel) { pixel += shift; });
  if (draw.flip) std::reverse(pixels, pixels + 8 * 8 * 3);
  if (const auto found = poisoned.find(index); found != poisoned.end())
    std::fill_n(pixels, 12, found->second);
  return "";
}

}  // namespace branchsae::test
