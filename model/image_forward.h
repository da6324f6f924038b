#pragma once
/// Runs images through the network up to some taps.
#include <functional>
#include <vector>

#include "engine/device.h"
#include "engine/images.h"

namespace branchsae::model {

class ImageForward {
 public:
  using Visit = std::function<bool(const std::vector<int64_t>& indices)>;

  /// Compiles the network and runs it once on a blank image, which tells the taps' grids.
  /// Throws InputError when 8-bit images meet a graph whose preprocessing is undecided.
  ImageForward(const Device& device, const Graph& graph, const ImageSource& source,
               const std::vector<std::string>& taps, int64_t batch);

  /// Reads `images` in order and runs them in batches; after each one `visit` gets its readable images'
  /// indices, and tokens() their tokens. Stops and returns false as soon as `visit` does. All work is
  /// finished when it returns.
  bool run(Stream& stream, const std::vector<int64_t>& images, const ImageReader::OnUnreadable& on_unreadable,
           const Visit& visit);

  const std::vector<Tap>& taps() const { return program_.taps(); }
  /// Tokens of one image.
  int64_t positions(size_t tap) const { return positions_[tap]; }
  /// Tokens of image number `place` of the batch that `visit` was told of, [positions, d], device.
  View<const float, 2> tokens(size_t tap, int64_t place) const;
  /// Of `count` images from `place` on.
  View<const float, 2> tokens(size_t tap, int64_t place, int64_t count) const;
  int64_t images_run() const { return images_run_; }

 private:
  void run_batch(Stream& stream, const void* pixels, int64_t count);
  template <class T>
  void run_pixels(Stream& stream, const T* pixels, int64_t count);

  Device device_;
  const ImageSource& source_;
  int64_t batch_;
  Program program_;
  DeviceBuffer<char> staging_;  ///< pixels, where the device cannot read the host's
  std::vector<int64_t> positions_;
  int64_t images_run_ = 0;
};

}  // namespace branchsae::model
