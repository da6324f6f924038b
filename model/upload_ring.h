#pragma once
/// Host memory on its way to a device: while work on the device reads one piece, the next is copied on a
/// stream of its own. Where the device is the host, pieces stay where they are.
#include <array>
#include <memory>
#include <string_view>

#include "engine/backend.h"

namespace branchsae::model {

class UploadRing {
 public:
  /// slot_bytes  the largest piece
  /// staged      with pinned memory for pieces (stage()); else the caller has them in such memory already
  UploadRing(Backend& backend, int64_t slot_bytes, bool staged, std::string_view what);
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;

  /// Memory for the next piece, to be filled and sent. Waits until the piece before last is done with.
  void* stage();
  /// Enqueues the copy of a piece; work enqueued on `compute` from now on waits for it. The piece on the
  /// device is valid for what is enqueued there before the next send(); `source` must stay until wait_sent(),
  /// or for stage()'s own memory is looked after.
  const void* send(Stream& compute, const void* source, int64_t size_bytes);
  /// Blocks until the latest piece has left the host's memory. By then what was on `compute` at the send()
  /// before that piece's is done.
  void wait_sent();

 private:
  struct Slot {
    std::unique_ptr<Stream> stream;
    DeviceMemory device, host;
  };
  Slot& slot(int64_t piece) { return slots_[static_cast<size_t>(piece % 2)]; }

  Backend& backend_;
  std::array<Slot, 2> slots_;
  int64_t sent_ = 0;
};

}  // namespace branchsae::model
