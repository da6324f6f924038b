#pragma once
/// Images as the engine sees them: a random-access set, and a reader that decodes ahead of the network.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/shape.h"

namespace branchsae {

struct ImageInfo {
  std::string name;    ///< path, "shard.tar/key.jpg" or "file.npy[3]": for messages and outputs
  int32_t label = -1;  ///< class index; -1 when unlabelled
};

enum class PixelFormat { kU8Rgb, kF32 };  ///< 8-bit RGB to be preprocessed; float32 already preprocessed

/// How an image is cut: a window of the room that there is, and whether it is mirrored left to right.
struct CropDraw {
  double x = 0.5, y = 0.5;  ///< 0..1, left to right and top to bottom; 0.5: the centre
  bool flip = false;
};

/// A fixed, ordered (byte-sorted) list of images, each delivered as [H, W, C] of one size.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual int64_t size() const = 0;
  virtual const ImageInfo& info(int64_t index) const = 0;
  virtual PixelFormat format() const = 0;
  virtual int64_t height() const = 0;
  virtual int64_t width() const = 0;
  virtual int64_t channels() const = 0;
  /// sha256 over the sorted names and sizes: tells whether a run sees the same set again.
  virtual std::string fingerprint() const = 0;
  /// What is done to a decoded image before it is delivered, for people; empty: nothing.
  virtual std::string preparation() const { return ""; }
  /// Decodes image `index`, cut as drawn, into dst (height * width * channels elements). Thread-safe.
  /// Returns an empty string, or why the image cannot be read, as one line.
  virtual std::string read(int64_t index, void* dst, const CropDraw& draw) const = 0;
  /// Its centre.
  std::string read_centre(int64_t index, void* dst) const { return read(index, dst, {}); }
  /// Whether images are larger than what read() gives, so that a draw has windows to choose from.
  virtual bool has_room() const { return false; }

  /// Tar shards that the images come from; 0 unless all of them do.
  virtual int64_t shards() const { return 0; }
  /// Number of the image's shard, 0 where there are none, and where in it the image begins, bytes.
  virtual int64_t shard(int64_t) const { return 0; }
  virtual int64_t offset(int64_t) const { return 0; }
  /// Why the image is no longer where it was when the set was opened: its shard is gone, cut off or another
  /// one, named. Empty where it is there, and where there are no shards. One line, thread-safe.
  virtual std::string lost(int64_t) const { return ""; }

  int64_t image_bytes() const {
    return height() * width() * channels() * (format() == PixelFormat::kU8Rgb ? 1 : 4);
  }
};

/// One delivered batch; `pixels` holds `count` images one after the other.
struct ImageBatch {
  std::vector<int64_t> indices;  ///< into the source, [count]
  const void* pixels = nullptr;
  int64_t count = 0;
};

/// Where a reader's time went. wait against decode tells whether decoding keeps up with its consumer.
struct ReaderTimes {
  double decode_seconds = 0;  ///< reading and decoding, processor time, summed over the decode threads
  double wait_seconds = 0;    ///< the consumer stood still because an image was not there yet
  double idle_seconds = 0;    ///< decode threads stood still because the ring was full, summed over them
  int64_t images = 0;         ///< that were decoded; unreadable ones do not count
  int64_t bytes = 0;          ///< of their pixels

  ReaderTimes& operator+=(const ReaderTimes& other);
};

/// Reads a given sequence of indices with decode threads ahead of the consumer, bounded memory, delivering
/// batches in the sequence's order. Unreadable images are left out, and reported once each.
class ImageReader {
 public:
  using OnUnreadable = std::function<void(int64_t index, const std::string& reason)>;
  struct Options {
    int64_t batch = 32;
    int threads = 2;
    int batches_ahead = 3;
    OnUnreadable on_unreadable;  ///< called on the consumer's thread, in sequence order
    /// ring_bytes() of memory that outlives the reader, for all pixels it holds or delivers: pinned where a
    /// device copies from it. Null: memory of its own.
    void* memory = nullptr;
    /// How images are cut; null: their centre. Called by the decode threads.
    std::function<CropDraw(int64_t index)> draw{};
  };
  /// Memory that pixels take. Throws InputError when the options cannot work.
  static int64_t ring_bytes(const ImageSource& source, const Options& options);
  /// next_index returns the sequence's next index, -1 at its end; called on one thread at a time.
  ImageReader(const ImageSource& source, std::function<int64_t()> next_index, Options options);
  ~ImageReader();
  /// Batches are full but for the last. False at the end. `batch` is valid until the next call.
  bool next(ImageBatch& batch);
  /// So far. Thread-safe.
  ReaderTimes times() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace branchsae
