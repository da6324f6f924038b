#pragma once
/// RUN/<tap>/tensorboard/events.out.tfevents.*: the figures of metrics.jsonl for TensorBoard.
///
/// A file is a sequence of TFRecords: length (8 bytes), its masked CRC-32C (4), that many bytes, their masked
/// CRC-32C (4), all little-endian; a record is an Event of protocol buffers:
///     Event    { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
///     Summary  { repeated Value value = 1; }       Value { string tag = 1; float simple_value = 2; }
/// Source: tensorflow/core/util/event.proto and framework/summary.proto (field numbers), TFRecord format of
/// TensorFlow's documentation.
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/train.h"

namespace branchsae::model {

/// One record, framed.
std::string tf_record(std::string_view data);

class TensorboardLog {
 public:
  /// Keeps the events of steps up to `last_step` and drops the rest, so that a run which goes on has no step
  /// twice. Throws IoError.
  TensorboardLog(const std::filesystem::path& folder, int64_t last_step);
  /// Throws IoError.
  void append(int64_t step, const TapProgress& progress, double tokens_per_second);

 private:
  std::filesystem::path path_;
};

}  // namespace branchsae::model
