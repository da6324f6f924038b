#include "apps/forward_pass.h"

#include <fmt/format.h>

#include <numeric>

#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/progress.h"
#include "apps/signals.h"
#include "engine/error.h"
#include "engine/memory_advice.h"
#include "engine/network_checks.h"

namespace branchsae::apps {
namespace {

int64_t planned_bytes(Program& program) {
  int64_t bytes = 0;
  for (const MemoryUse& use : program.executor().memory()) bytes += use.bytes;
  return bytes;
}

/// The largest batch that keeps within the memory asked for.
Program compile(const Device& device, const Graph& graph, const ImageSource& images,
                ForwardOptions& options) {
  CompileOptions compile_options;
  compile_options.taps = options.taps;
  compile_options.height = images.height();
  compile_options.width = images.width();
  compile_options.precision = options.precision;
  compile_options.conv = options.conv;
  options.batch = std::max<int64_t>(1, std::min(options.batch, images.size()));
  while (true) {
    compile_options.max_batch = options.batch;
    Program program =
        with_memory_advice("lower --batch", [&] { return device.compile(graph, compile_options); });
    const int64_t bytes = planned_bytes(program);
    if (options.max_memory == 0 || bytes <= options.max_memory) return program;
    if (options.batch == 1) {
      throw InputError(fmt::format("--max-memory {} is too little: one image takes {}",
                                   as_bytes(options.max_memory), as_bytes(bytes)));
    }
    options.batch = (options.batch + 1) / 2;
  }
}

}  // namespace

void add_network_precision(OptionSet& options, std::string& target) {
  options.choice("--precision", target, {"fp32", "tf32", "fp16", "bf16"},
                 "of the network's products; a CPU has fp32 only, a GPU is faster with the others");
}

NetworkPrecision parse_precision(const std::string& word) {
  if (word == "tf32") return NetworkPrecision::kTf32;
  if (word == "fp16") return NetworkPrecision::kF16;
  return word == "bf16" ? NetworkPrecision::kBf16 : NetworkPrecision::kF32;
}

void add_conv(OptionSet& options, std::string& target) {
  options.choice("--conv", target, {"auto", "direct"},
                 "of the network; direct: no Winograd, slower on a CPU");
}

void add_conv_of_run(OptionSet& options, std::string& target) {
  options.choice("--conv", target, {"trained", "auto", "direct"},
                 "of the network; trained: as in training, direct: no Winograd");
}

ConvAlgorithm conv_of_run(const std::string& word, ConvAlgorithm recorded) {
  return word == "trained" ? recorded : parse_conv_algorithm(word);
}

ForwardPass::ForwardPass(const Device& device, const Graph& graph, const ImageSource& images,
                         ForwardOptions options)
    : device_(device),
      images_(&images),
      options_(std::move(options)),
      stream_(device.make_stream()),
      program_(compile(device, graph, images, options_)),
      staged_(options_.taps.size()),
      host_(options_.taps.size()) {}

void ForwardPass::run_network(const ImageBatch& batch) {
  Backend& backend = device_.backend();
  const void* pixels = batch.pixels;
  if (!backend.is_host()) {
    const int64_t bytes = batch.count * images_->image_bytes();
    if (pixels_.size() < bytes)
      pixels_ = backend.buffer<char>(options_.batch * images_->image_bytes(), "images");
    backend.copy_to_device(*stream_, pixels_.data(), pixels, bytes);
    pixels = pixels_.data();
  }
  const std::array<int64_t, 4> shape = {batch.count, images_->height(), images_->width(),
                                        images_->channels()};
  if (images_->format() == PixelFormat::kU8Rgb) {
    program_.run(View<const uint8_t, 4>(static_cast<const uint8_t*>(pixels), shape), *stream_);
  } else {
    program_.run(View<const float, 4>(static_cast<const float*>(pixels), shape), *stream_);
  }
}

std::vector<SkippedImage> ForwardPass::run(const Each& each) {
  std::vector<int64_t> indices(static_cast<size_t>(images_->size()));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return run(indices, each);
}

std::vector<SkippedImage> ForwardPass::run(const std::vector<int64_t>& indices, const Each& each) {
  const auto total = static_cast<int64_t>(indices.size());
  SkippedImages skipped(*images_, total, options_.strict);
  ImageReader::Options reading;
  reading.batch = options_.batch;
  reading.threads = device_.backend().threads();
  reading.on_unreadable = [&](int64_t index, const std::string& reason) { skipped.add(index, reason); };
  size_t next = 0;
  ImageReader reader(
      *images_, [&]() -> int64_t { return next < indices.size() ? indices[next++] : -1; }, reading);
  Progress progress(options_.title, total, "images", options_.progress);
  ImageBatch batch;
  int64_t done = 0;
  while (reader.next(batch)) {
    check_stop();
    run_network(batch);
    stream_->synchronize();
    each(batch);
    done += batch.count;
    progress.update(done + static_cast<int64_t>(skipped.list().size()));
  }
  skipped.finish();
  return skipped.list();
}

View<const float, 2> ForwardPass::host_tokens(size_t index) {
  const TapOutput output = program_.tap(index);
  Backend& backend = device_.backend();
  if (backend.is_host()) return output.tokens();
  const int64_t rows = output.tokens().shape[0], width = output.tokens().shape[1];
  DeviceBuffer<float>& staged = staged_[index];
  std::vector<float>& host = host_[index];
  if (staged.size() < rows * width)
    staged = backend.buffer<float>(rows * width, "staging of " + options_.taps[index]);
  host.resize(static_cast<size_t>(rows * width));
  backend.copy_rows(*stream_, output.tokens(), staged.matrix(rows, width));
  backend.copy_to_host(*stream_, host.data(), staged.data(),
                       rows * width * static_cast<int64_t>(sizeof(float)));
  stream_->synchronize();
  return {host.data(), {rows, width}};
}

}  // namespace branchsae::apps
