#pragma once
/// Where a training job's time went.
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace branchsae {

/// Seconds of one process by the clock on the wall; the parts add up to the total. What a device with memory
/// of its own does cannot be told apart without waiting for it: there `forward` holds `cache` too, and `step`
/// holds encode, decode + gradients and update.
struct TrainTimings {
  double setup = 0;    ///< compiling the network, allocating, reading checkpoints
  double wait = 0;     ///< nothing to do before an image was decoded
  double forward = 0;  ///< the network
  double cache = 0;    ///< keeping, placing and shuffling tokens
  double encode = 0;   ///< pre-activations and their selection
  double decode = 0;   ///< reconstruction and gradients of the tokens
  double update = 0;   ///< summing gradients, Adam
  double step = 0;     ///< rest of the training steps
  double checkpoint = 0;
  double evaluation = 0;  ///< on held-out images, reading them included
  double other = 0;
  double total = 0;

  /// Processor seconds of the threads that decode images. They run beside the rest, and are in none of it.
  double image_decoding = 0;
  int64_t peak_memory_bytes = 0;  ///< of the process; 0: not known
};

/// Every number of seconds above with its name in run.json: the parts, the total, the images' decoding.
std::vector<std::pair<const char*, double*>> timing_fields(TrainTimings& timings);
/// The parts that add up to the total.
std::vector<std::pair<const char*, double>> timed_parts(const TrainTimings& timings);

/// One JSON object: those, and peak_memory_bytes.
std::string to_json(const TrainTimings& timings);

/// Most memory that the process had resident so far (VmHWM), bytes; 0 where the system does not tell.
int64_t peak_memory();

namespace model {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Adds the time of a scope to a total.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total) {}
  ~Stopwatch() { total_ += seconds_since(start_); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& total_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace model
}  // namespace branchsae
