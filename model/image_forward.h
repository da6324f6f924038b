#pragma once
/// Runs images through the network up to some taps.
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "engine/device.h"
#include "engine/images.h"
#include "model/image_draw.h"
#include "model/upload_ring.h"

namespace branchsae::model {

class ImageForward {
 public:
  using Visit = std::function<bool(const std::vector<int64_t>& indices)>;

  /// Compiles the network and runs it once on a blank image, which tells the taps' grids.
  /// decode_threads: 0: as many as the device has host threads.
  /// Throws InputError when 8-bit images meet a graph whose preprocessing is undecided.
  ImageForward(const Device& device, const Graph& graph, const ImageSource& source,
               const std::vector<std::string>& taps, int64_t batch,
               NetworkPrecision precision = NetworkPrecision::kAuto,
               ConvAlgorithm conv = ConvAlgorithm::kAuto, int decode_threads = 0);

  /// How run() cuts the images of an epoch from here on.
  void augment(const Augment& augment, uint64_t seed);

  /// Reads `images` in order and runs them in batches; for each one `visit` gets its readable images'
  /// indices, and tokens() their tokens for what it enqueues on `stream`. Stops and returns false as soon as
  /// `visit` does. Images are decoded, uploaded and run ahead of one another; when a batch is visited, what
  /// the visit before last enqueued is done. Nothing waits for the work on `stream` at the end.
  /// epoch: images are cut as drawn for it; kCentre: as they are for every other use.
  bool run(Stream& stream, const std::vector<int64_t>& images, const ImageReader::OnUnreadable& on_unreadable,
           const Visit& visit, int64_t epoch = kCentre);
  static constexpr int64_t kCentre = -1;

  /// Starts to decode what the next run() will ask for, where the device leaves the processor the time.
  void prefetch(const std::vector<int64_t>& images, int64_t epoch = kCentre);

  const std::vector<Tap>& taps() const { return program_.taps(); }
  /// Tokens of one image.
  int64_t positions(size_t tap) const { return positions_[tap]; }
  /// Height and width; 1 x 1 where the tap has no grid.
  std::array<int64_t, 2> grid(size_t tap) const;
  /// Tokens of image number `place` of the batch that `visit` was told of, [positions, d], device.
  View<const float, 2> tokens(size_t tap, int64_t place) const;
  /// Of `count` images from `place` on.
  View<const float, 2> tokens(size_t tap, int64_t place, int64_t count) const;
  int64_t images_run() const { return images_run_; }
  int64_t batch() const { return batch_; }
  /// That the network took, on a device that is the host; elsewhere only what enqueuing it took.
  double forward_seconds() const { return forward_seconds_; }
  /// Of all that was read so far, also ahead.
  ReaderTimes reader_times() const;

 private:
  struct Reading {
    std::vector<int64_t> images;
    int64_t epoch = kCentre;
    size_t drawn = 0;
    std::unique_ptr<ImageReader> reader;
  };
  ImageReader::Options reader_options() const;
  std::unique_ptr<Reading> read(const std::vector<int64_t>& images, int64_t epoch);
  /// Drops it, but for its times.
  void close(std::unique_ptr<Reading>& reading);
  void run_batch(Stream& stream, const void* pixels, int64_t count);
  template <class T>
  void run_pixels(Stream& stream, const T* pixels, int64_t count);

  Device device_;
  const ImageSource& source_;
  int64_t batch_;
  int decode_threads_;
  Augment augment_;
  uint64_t augment_seed_ = 0;
  Program program_;
  DeviceMemory decoded_;  ///< pinned: what readers decode into; unset where the device is the host
  UploadRing pixels_;
  ImageReader::OnUnreadable on_unreadable_;   ///< of the present run
  std::unique_ptr<Reading> reading_, ahead_;  ///< after the memory they write to
  ReaderTimes closed_times_;                  ///< of the readers that are gone
  std::vector<int64_t> positions_;
  int64_t images_run_ = 0;
  double forward_seconds_ = 0;
};

}  // namespace branchsae::model
