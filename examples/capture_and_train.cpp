/// The library in one page: what one branch of the network computes on some images becomes the training data
/// of a k-sparse autoencoder. `branchsae train` does the same with shuffling across images, checkpoints and
/// held-out images.
///
///     build/bin/capture_and_train googlenet.onnx photos/ mixed4c.5x5 sae.safetensors
#include <algorithm>
#include <cstdio>
#include <string>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/images.h"
#include "engine/random.h"
#include "loader/image_source.h"
#include "loader/onnx_loader.h"
#include "model/sae_file.h"
#include "model/sae_metrics.h"
#include "model/sae_trainer.h"

using namespace branchsae;

namespace {

constexpr int64_t kBatchImages = 16;
constexpr int64_t kBatchTokens = 4096;
constexpr int64_t kMaxTokens = 200'000;
constexpr int64_t kSteps = 300;

/// One tap's activations, a token a row, in the device's memory.
struct Tokens {
  DeviceBuffer<float> memory;
  int64_t count = 0, width = 0;
  View<const float, 2> rows() { return memory.matrix(count, width); }
};

/// Runs the network over the images until kMaxTokens tokens are there. `program` has one tap.
Tokens capture(const Device& device, Program& program, const ImageSource& images, Stream& stream) {
  Backend& backend = device.backend();
  Tokens tokens;
  tokens.width = program.taps().at(0).width();
  tokens.memory = backend.buffer<float>(kMaxTokens * tokens.width, "tokens");
  const auto pixels = backend.buffer<uint8_t>(kBatchImages * images.image_bytes(), "pixels");
  const std::array<int64_t, 4> shape{0, images.height(), images.width(), images.channels()};

  int64_t next = 0;
  ImageReader::Options options;
  options.batch = kBatchImages;
  options.on_unreadable = [&](int64_t index, const std::string& reason) {
    std::fprintf(stderr, "left out %s: %s\n", images.info(index).name.c_str(), reason.c_str());
  };
  ImageReader reader(
      images, [&] { return next < images.size() ? next++ : -1; }, options);
  for (ImageBatch batch; tokens.count < kMaxTokens && reader.next(batch);) {
    auto size = shape;
    size[0] = batch.count;
    backend.copy_to_device(stream, pixels.data(), batch.pixels, batch.count * images.image_bytes());
    if (images.format() == PixelFormat::kU8Rgb) {
      program.run(View<const uint8_t, 4>(pixels.data(), size), stream);
    } else {
      program.run(View<const float, 4>(reinterpret_cast<const float*>(pixels.data()), size), stream);
    }
    const View<const float, 2> found = program.tap(0).tokens();
    const int64_t taken = std::min(found.shape[0], kMaxTokens - tokens.count);
    backend.copy_rows(stream, found.rows(0, taken),
                      tokens.memory.matrix(kMaxTokens, tokens.width).rows(tokens.count, taken));
    tokens.count += taken;
    stream.synchronize();  // the reader's pixels are overwritten by its next batch
  }
  return tokens;
}

/// kSteps steps on random batches of the tokens.
SaeTrainer train(const Device& device, Tokens& tokens, Stream& stream) {
  Backend& backend = device.backend();
  const int64_t batch = std::min(kBatchTokens, tokens.count);
  SaeTrainer trainer(device, {.d = tokens.width,
                              .n = 16 * tokens.width,
                              .k = std::min<int64_t>(32, 16 * tokens.width),
                              .batch = batch,
                              .total_steps = kSteps});
  trainer.start_sync(tokens.rows(), tokens.rows().rows(0, batch), stream);
  auto picked = backend.buffer<int32_t>(batch, "picked rows");
  auto rows = backend.buffer<float>(batch * tokens.width, "batch");
  Random random(/*seed=*/1, /*stream=*/0);
  std::vector<int32_t> order(static_cast<size_t>(batch));
  for (int64_t step = 1; step <= kSteps; ++step) {
    for (int32_t& row : order) row = static_cast<int32_t>(random.below(static_cast<uint64_t>(tokens.count)));
    backend.copy_to_device(stream, picked.data(), order.data(),
                           batch * static_cast<int64_t>(sizeof(int32_t)));
    backend.gather_rows(stream, tokens.rows(), picked.view(), rows.matrix(batch, tokens.width));
    trainer.step(rows.matrix(batch, tokens.width), stream);
    stream.synchronize();  // `order` is written anew
  }
  return trainer;
}

SaeMetrics measure(SaeTrainer& trainer, Tokens& tokens) {
  SaeEvalSums sums;
  const int64_t batch = trainer.config().batch;
  for (int64_t at = 0; at < tokens.count; at += batch) {
    trainer.executor().evaluate_sync(tokens.rows().rows(at, std::min(batch, tokens.count - at)), 0, sums);
  }
  return metrics_from_sums(sums, trainer.config().n);
}

void capture_and_train(const std::string& model, const std::string& photos, const std::string& tap,
                       const std::string& out) {
  const Graph graph = load_onnx(model);
  const auto images = open_images(photos);
  const Device device = Device::open("auto");
  const auto stream = device.make_stream();
  Program program = device.compile(
      graph,
      {.taps = {tap}, .max_batch = kBatchImages, .height = images->height(), .width = images->width()});

  Tokens tokens = capture(device, program, *images, *stream);
  if (tokens.count == 0) throw InputError(photos + ": none of the images could be read");
  std::printf("%s: %lld tokens of %lld channels on %s\n", tap.c_str(), static_cast<long long>(tokens.count),
              static_cast<long long>(tokens.width), device.backend().name().c_str());

  SaeTrainer trainer = train(device, tokens, *stream);
  const SaeMetrics metrics = measure(trainer, tokens);
  std::printf("after %lld steps: fvu %.4f, l0 %.1f, dead latents %.1f %%\n",
              static_cast<long long>(trainer.steps()), metrics.fvu, metrics.l0, 100 * metrics.dead);

  save_sae(out, {.spec = trainer.executor().spec(),
                 .parameters = trainer.state_sync().parameters,
                 .tap = tap,
                 .model_sha256 = graph.sha256,
                 .preprocess = graph.preprocess ? to_string(*graph.preprocess) : ""});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: capture_and_train MODEL.onnx IMAGES TAP OUT.safetensors\n");
    return 2;
  }
  try {
    capture_and_train(argv[1], argv[2], argv[3], argv[4]);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "capture_and_train: error: %s\n", error.what());
    return error.exit_code();
  }
}
