#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_set>

#include "engine/error.h"
#include "engine/images.h"

namespace branchsae {
namespace {

constexpr int64_t kMaxRingBytes = int64_t{1} << 44;

/// How many images the ring holds: the batch handed out and those decoded ahead of it.
int64_t ring_slots(const ImageSource& source, const ImageReader::Options& options) {
  if (options.batch < 1 || options.threads < 1 || options.batches_ahead < 1) {
    throw InputError("image reader: batch " + std::to_string(options.batch) + ", threads " +
                     std::to_string(options.threads) + ", batches ahead " +
                     std::to_string(options.batches_ahead) + ": each must be at least 1");
  }
  const int64_t batches = int64_t{options.batches_ahead} + 2;  // one is handed out, one may be gathered
  if (options.batch > kMaxRingBytes / batches / std::max<int64_t>(source.image_bytes(), 1)) {
    throw InputError("image reader: " + std::to_string(batches) + " batches of " +
                     std::to_string(options.batch) + " images of " + std::to_string(source.image_bytes()) +
                     " bytes do not fit in memory; take a smaller batch");
  }
  return options.batch * (batches - 1);
}

/// With the room for a batch that has to be gathered.
int64_t ring_images(const ImageSource& source, const ImageReader::Options& options) {
  return ring_slots(source, options) + options.batch;
}

std::unique_ptr<std::byte[]> pixel_memory(int64_t images, int64_t image_bytes) {
  try {
    return std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(images * image_bytes));
  } catch (const std::bad_alloc&) {
    throw Error("image reader: no memory for " + std::to_string(images) + " images of " +
                std::to_string(image_bytes) + " bytes; take a smaller batch");
  }
}

/// Processor time of the calling thread: what decoding costs whatever else runs on the machine.
double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Waits until `ready`, and adds the time that took to `seconds`: nothing when there was no need to wait.
template <class Ready>
void timed_wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, double& seconds,
                Ready ready) {
  if (ready()) return;
  const auto start = std::chrono::steady_clock::now();
  condition.wait(lock, ready);
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// One place of the ring. Written by the thread that claimed it until `done`, then by the consumer only.
struct Slot {
  int64_t index = -1;
  bool done = false;
  std::string reason;        ///< why the image is unreadable; empty when it is there
  std::exception_ptr error;  ///< rethrown on the consumer's thread when the sequence gets here
};

}  // namespace

/// Images of the sequence are numbered from 0 as they are drawn; number i lives in slot i % slots. A slot is
/// free again once the consumer has moved past it, so the ring bounds memory and keeps the order.
struct ImageReader::State {
  State(const ImageSource& image_source, std::function<int64_t()> next, Options reader_options)
      : source(image_source),
        next_index(std::move(next)),
        options(std::move(reader_options)),
        image_bytes(source.image_bytes()),
        slots(static_cast<size_t>(ring_slots(source, options))),
        pixels(static_cast<std::byte*>(options.memory)) {
    if (pixels != nullptr) return;
    own_pixels = pixel_memory(ring_images(source, options), image_bytes);
    pixels = own_pixels.get();
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    slot_freed.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void start() {
    // A machine that is short of threads still reads, as long as it gives one.
    for (int i = 0; i < options.threads; ++i) {
      try {
        threads.emplace_back([this] { decode_until_stopped(); });
      } catch (const std::system_error& error) {
        if (threads.empty()) throw Error(std::string("image reader: cannot start a thread: ") + error.what());
        return;
      }
    }
  }

  Slot& slot(int64_t number) { return slots[static_cast<size_t>(number) % slots.size()]; }
  std::byte* pixels_of(int64_t number) {
    return pixels + (number % static_cast<int64_t>(slots.size())) * image_bytes;
  }

  /// Draws the next image of the sequence into a free slot; -1 when there is none or the reader is stopping.
  int64_t claim() {
    std::unique_lock lock(mutex);
    timed_wait(slot_freed, lock, times.idle_seconds,
               [&] { return stopping || ended || claimed - released < static_cast<int64_t>(slots.size()); });
    if (stopping || ended) return -1;
    Slot& claimed_slot = slot(claimed);
    claimed_slot = Slot{};
    try {
      claimed_slot.index = next_index();
    } catch (...) {
      claimed_slot.error = std::current_exception();
      claimed_slot.done = true;
    }
    if (claimed_slot.index < 0) ended = true;
    if (claimed_slot.index >= 0 || claimed_slot.error) ++claimed;
    if (!ended) return claimed - 1;
    lock.unlock();
    slot_freed.notify_all();
    image_done.notify_all();
    return -1;
  }

  void decode(int64_t number) {
    Slot& claimed_slot = slot(number);
    std::string reason;
    std::exception_ptr error;
    const double start = thread_seconds();
    try {
      if (claimed_slot.index >= source.size()) {
        throw Error("image reader: index " + std::to_string(claimed_slot.index) + " of a set of " +
                    std::to_string(source.size()) + " images");
      }
      const CropDraw draw = options.draw ? options.draw(claimed_slot.index) : CropDraw{};
      reason = source.read(claimed_slot.index, pixels_of(number), draw);
    } catch (...) {
      error = std::current_exception();
    }
    const double seconds = thread_seconds() - start;
    {
      const std::lock_guard lock(mutex);
      times.decode_seconds += seconds;
      if (reason.empty() && !error) {
        ++times.images;
        times.bytes += image_bytes;
      }
      claimed_slot.reason = std::move(reason);
      claimed_slot.error = std::move(error);
      claimed_slot.done = true;
    }
    image_done.notify_all();
  }

  void decode_until_stopped() {
    for (int64_t number = claim(); number >= 0; number = claim()) decode(number);
  }

  /// Waits for the image with this number; null when the sequence ends before it.
  Slot* wait_for(int64_t number) {
    std::unique_lock lock(mutex);
    timed_wait(image_done, lock, times.wait_seconds,
               [&] { return number < claimed ? slot(number).done : ended; });
    return number < claimed ? &slot(number) : nullptr;
  }

  void release_up_to(int64_t number) {
    {
      const std::lock_guard lock(mutex);
      released = number;
    }
    slot_freed.notify_all();
  }

  void report(int64_t index, const std::string& reason) {
    if (++failed_in_a_row > source.size()) {
      throw InputError("none of the last " + std::to_string(failed_in_a_row) +
                       " images could be read (last: " + source.info(index).name + ": " + reason + ")");
    }
    if (reported.insert(index).second && options.on_unreadable) options.on_unreadable(index, reason);
  }

  /// Consumer's side of one image: its number is consumed, errors and reports leave as exceptions or calls.
  /// False when the sequence has ended; `readable` tells whether the image's pixels are there.
  bool take(int64_t& index, bool& readable) {
    Slot* taken = wait_for(consumed);
    if (taken == nullptr) return false;
    ++consumed;
    if (taken->error) std::rethrow_exception(taken->error);
    index = taken->index;
    readable = taken->reason.empty();
    if (readable) {
      failed_in_a_row = 0;
    } else {
      report(index, taken->reason);
    }
    return true;
  }

  const ImageSource& source;
  const std::function<int64_t()> next_index;
  const Options options;
  const int64_t image_bytes;

  std::mutex mutex;  ///< guards the slots' `done`, next_index and the five below
  std::condition_variable slot_freed, image_done;
  int64_t claimed = 0;   ///< numbers drawn so far
  int64_t released = 0;  ///< numbers whose slots are free again
  bool ended = false;
  bool stopping = false;
  ReaderTimes times;

  std::vector<Slot> slots;
  std::unique_ptr<std::byte[]> own_pixels;
  std::byte* pixels;  ///< of the slots, then of `gathered`

  // The consumer's own.
  int64_t consumed = 0;
  int64_t failed_in_a_row = 0;
  std::unordered_set<int64_t> reported;
  /// A batch whose images do not lie side by side in the ring.
  std::byte* gathered() { return pixels + static_cast<int64_t>(slots.size()) * image_bytes; }
  std::vector<std::thread> threads;
};

ImageReader::ImageReader(const ImageSource& source, std::function<int64_t()> next_index, Options options)
    : state_(std::make_unique<State>(source, std::move(next_index), std::move(options))) {
  state_->start();
}

ImageReader::~ImageReader() = default;

int64_t ImageReader::ring_bytes(const ImageSource& source, const Options& options) {
  return ring_images(source, options) * source.image_bytes();
}

ReaderTimes& ReaderTimes::operator+=(const ReaderTimes& other) {
  decode_seconds += other.decode_seconds;
  wait_seconds += other.wait_seconds;
  idle_seconds += other.idle_seconds;
  images += other.images;
  bytes += other.bytes;
  return *this;
}

ReaderTimes ImageReader::times() const {
  const std::lock_guard lock(state_->mutex);
  return state_->times;
}

bool ImageReader::next(ImageBatch& batch) {
  State& state = *state_;
  batch = ImageBatch{};
  state.release_up_to(state.consumed);

  // Images are handed out where they were decoded. Once an unreadable one leaves a hole, or the ring wraps
  // round, the batch moves to a buffer of its own and slots are freed as they are emptied.
  const int64_t first = state.consumed;
  const std::byte* start = state.pixels_of(first);
  bool in_ring = true;
  const auto gather = [&](int64_t number) {
    std::byte* to = state.gathered() + batch.count * state.image_bytes;
    std::memcpy(to, state.pixels_of(number), static_cast<size_t>(state.image_bytes));
  };
  const auto leave_ring = [&] {
    if (batch.count > 0) {
      std::memcpy(state.gathered(), start, static_cast<size_t>(batch.count * state.image_bytes));
    }
    start = state.gathered();
    in_ring = false;
  };

  while (batch.count < state.options.batch) {
    int64_t index = -1;
    bool readable = false;
    if (!state.take(index, readable)) break;
    const int64_t number = state.consumed - 1;
    const bool adjacent = readable && number == first + batch.count &&
                          state.pixels_of(number) == start + batch.count * state.image_bytes;
    if (in_ring && !adjacent) leave_ring();
    if (readable) {
      if (!in_ring) gather(number);
      batch.indices.push_back(index);
      ++batch.count;
    }
    if (!in_ring) state.release_up_to(state.consumed);
  }
  batch.pixels = batch.count > 0 ? start : nullptr;
  return batch.count > 0;
}

}  // namespace branchsae
