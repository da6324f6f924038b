#include "model/image_forward.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace branchsae::model {
namespace {

constexpr int kBatchesAhead = 3;

Program compile(const Device& device, const Graph& graph, const ImageSource& source,
                const std::vector<std::string>& taps, int64_t batch) {
  if (source.format() == PixelFormat::kU8Rgb && !graph.preprocess) {
    throw InputError(fmt::format("{}: how pixels become its input is undecided ({}); give --preprocess",
                                 graph.source, graph.preprocess_reason));
  }
  return device.compile(
      graph, {.taps = taps, .max_batch = batch, .height = source.height(), .width = source.width()});
}

}  // namespace

ImageForward::ImageForward(const Device& device, const Graph& graph, const ImageSource& source,
                           const std::vector<std::string>& taps, int64_t batch)
    : device_(device),
      source_(source),
      batch_(std::clamp<int64_t>(batch, 1, std::max<int64_t>(source.size(), 1))),
      program_(compile(device, graph, source, taps, batch_)) {
  if (!device.backend().is_host()) {
    staging_ = device.backend().buffer<char>(batch_ * source.image_bytes(), "images");
  }
  const auto stream = device.make_stream();
  const std::vector<char> blank(static_cast<size_t>(source.image_bytes()), 0);
  run_batch(*stream, blank.data(), 1);
  stream->synchronize();
  for (size_t tap = 0; tap < taps.size(); ++tap) positions_.push_back(program_.tap(tap).tokens().shape[0]);
}

bool ImageForward::run(Stream& stream, const std::vector<int64_t>& images,
                       const ImageReader::OnUnreadable& on_unreadable, const Visit& visit) {
  size_t drawn = 0;
  const auto next_index = [&] { return drawn < images.size() ? images[drawn++] : int64_t{-1}; };
  ImageReader::Options options;
  options.batch = batch_;
  options.threads = std::max(1, device_.backend().threads());
  options.batches_ahead = kBatchesAhead;
  options.on_unreadable = on_unreadable;
  ImageReader reader(source_, next_index, options);
  ImageBatch batch;
  while (reader.next(batch)) {
    run_batch(stream, batch.pixels, batch.count);
    images_run_ += batch.count;
    const bool go_on = visit(batch.indices);
    stream.synchronize();  // pixels and taps are overwritten by the next batch
    if (!go_on) return false;
  }
  return true;
}

View<const float, 2> ImageForward::tokens(size_t tap, int64_t place) const {
  return tokens(tap, place, 1);
}

View<const float, 2> ImageForward::tokens(size_t tap, int64_t place, int64_t count) const {
  return program_.tap(tap).tokens().rows(place * positions_[tap], count * positions_[tap]);
}

void ImageForward::run_batch(Stream& stream, const void* pixels, int64_t count) {
  if (!device_.backend().is_host()) {
    device_.backend().copy_to_device(stream, staging_.data(), pixels, count * source_.image_bytes());
    pixels = staging_.data();
  }
  if (source_.format() == PixelFormat::kU8Rgb) {
    run_pixels(stream, static_cast<const uint8_t*>(pixels), count);
  } else {
    run_pixels(stream, static_cast<const float*>(pixels), count);
  }
}

template <class T>
void ImageForward::run_pixels(Stream& stream, const T* pixels, int64_t count) {
  program_.run(View<const T, 4>(pixels, {count, source_.height(), source_.width(), source_.channels()}),
               stream);
}

}  // namespace branchsae::model
