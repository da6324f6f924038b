#include "model/image_forward.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "model/timings.h"

namespace branchsae::model {
namespace {

constexpr int kBatchesAhead = 3;
// Decoded ahead while a device trains: as much as is worth pinning.
constexpr int64_t kPinnedBytes = int64_t{256} << 20;
constexpr int64_t kMostBatchesAhead = 64;

/// Runs at the end of a scope, however it is left.
class Closing {
 public:
  explicit Closing(std::function<void()> close) : close_(std::move(close)) {}
  ~Closing() { close_(); }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;

 private:
  std::function<void()> close_;
};

Program compile(const Device& device, const Graph& graph, const ImageSource& source,
                const std::vector<std::string>& taps, int64_t batch, NetworkPrecision precision,
                ConvAlgorithm conv) {
  if (source.format() == PixelFormat::kU8Rgb && !graph.preprocess) {
    throw InputError(fmt::format("{}: how pixels become its input is undecided ({}); give --preprocess",
                                 graph.source, graph.preprocess_reason));
  }
  return device.compile(graph, {.taps = taps,
                                .max_batch = batch,
                                .height = source.height(),
                                .width = source.width(),
                                .conv = conv,
                                .precision = precision});
}

}  // namespace

ImageForward::ImageForward(const Device& device, const Graph& graph, const ImageSource& source,
                           const std::vector<std::string>& taps, int64_t batch, NetworkPrecision precision,
                           ConvAlgorithm conv, int decode_threads)
    : device_(device),
      source_(source),
      batch_(std::clamp<int64_t>(batch, 1, std::max<int64_t>(source.size(), 1))),
      decode_threads_(decode_threads > 0 ? decode_threads : std::max(1, device.backend().threads())),
      program_(compile(device, graph, source, taps, batch_, precision, conv)),
      pixels_(device.backend(), batch_ * source.image_bytes(), false, "images") {
  if (!device.backend().is_host()) {
    decoded_ =
        device.backend().allocate_pinned(ImageReader::ring_bytes(source, reader_options()), "decoded images");
  }
  const auto stream = device.make_stream();
  const std::vector<char> blank(static_cast<size_t>(source.image_bytes()), 0);
  run_batch(*stream, blank.data(), 1);
  stream->synchronize();
  for (size_t tap = 0; tap < taps.size(); ++tap) positions_.push_back(program_.tap(tap).tokens().shape[0]);
}

ImageReader::Options ImageForward::reader_options() const {
  ImageReader::Options options;
  options.batch = batch_;
  options.threads = decode_threads_;
  options.batches_ahead = kBatchesAhead;
  if (!device_.backend().is_host()) {
    const int64_t batches = kPinnedBytes / std::max<int64_t>(batch_ * source_.image_bytes(), 1);
    options.batches_ahead = static_cast<int>(std::clamp<int64_t>(batches, kBatchesAhead, kMostBatchesAhead));
  }
  return options;
}

std::unique_ptr<ImageForward::Reading> ImageForward::read(const std::vector<int64_t>& images, int64_t epoch) {
  if (ahead_ != nullptr && ahead_->images == images && ahead_->epoch == epoch) return std::move(ahead_);
  close(ahead_);  // its threads write to the memory that the next one gets
  auto reading = std::make_unique<Reading>();
  reading->images = images;
  reading->epoch = epoch;
  ImageReader::Options options = reader_options();
  options.memory = decoded_.data();
  if (augment_.any() && epoch != kCentre) {
    options.draw = [augment = augment_, seed = augment_seed_, epoch](int64_t image) {
      return draw_crop(augment, seed, epoch, image);
    };
  }
  options.on_unreadable = [this](int64_t index, const std::string& reason) { on_unreadable_(index, reason); };
  const auto next_index = [at = reading.get()] {
    return at->drawn < at->images.size() ? at->images[at->drawn++] : int64_t{-1};
  };
  reading->reader = std::make_unique<ImageReader>(source_, next_index, std::move(options));
  return reading;
}

void ImageForward::close(std::unique_ptr<Reading>& reading) {
  if (reading != nullptr) closed_times_ += reading->reader->times();
  reading.reset();
}

ReaderTimes ImageForward::reader_times() const {
  ReaderTimes times = closed_times_;
  if (reading_ != nullptr) times += reading_->reader->times();
  if (ahead_ != nullptr) times += ahead_->reader->times();
  return times;
}

void ImageForward::augment(const Augment& augment, uint64_t seed) {
  augment_ = augment;
  augment_seed_ = seed;
}

void ImageForward::prefetch(const std::vector<int64_t>& images, int64_t epoch) {
  if (!device_.backend().is_host() && !images.empty()) ahead_ = read(images, epoch);
}

bool ImageForward::run(Stream& stream, const std::vector<int64_t>& images,
                       const ImageReader::OnUnreadable& on_unreadable, const Visit& visit, int64_t epoch) {
  on_unreadable_ = on_unreadable;
  reading_ = read(images, epoch);
  const Closing closing([this] { close(reading_); });
  ImageBatch batch;
  while (reading_->reader->next(batch)) {
    {
      const Stopwatch watch(forward_seconds_);
      run_batch(stream, batch.pixels, batch.count);
    }
    images_run_ += batch.count;
    pixels_.wait_sent();  // the reader decodes the next images into this memory
    if (!visit(batch.indices)) return false;
  }
  return true;
}

std::array<int64_t, 2> ImageForward::grid(size_t tap) const {
  const TapOutput output = program_.tap(tap);
  return {output.height, output.width};
}

View<const float, 2> ImageForward::tokens(size_t tap, int64_t place) const {
  return tokens(tap, place, 1);
}

View<const float, 2> ImageForward::tokens(size_t tap, int64_t place, int64_t count) const {
  return program_.tap(tap).tokens().rows(place * positions_[tap], count * positions_[tap]);
}

void ImageForward::run_batch(Stream& stream, const void* pixels, int64_t count) {
  pixels = pixels_.send(stream, pixels, count * source_.image_bytes());
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
