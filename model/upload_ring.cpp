#include "model/upload_ring.h"

#include <string>

#include "engine/error.h"

namespace branchsae::model {

UploadRing::UploadRing(Backend& backend, int64_t slot_bytes, bool staged, std::string_view what)
    : backend_(backend) {
  for (Slot& slot : slots_) {
    if (staged) slot.host = backend.allocate_pinned(slot_bytes, std::string(what) + ", pinned");
    if (backend.is_host()) continue;
    slot.stream = backend.make_stream();
    slot.device = backend.allocate(slot_bytes, what);
  }
}

/// Copies read this memory, and the caller's: they end before either goes.
UploadRing::~UploadRing() {
  for (Slot& slot : slots_) {
    try {
      if (slot.stream) slot.stream->synchronize();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the device failed, so nothing reads any more
    }
  }
}

void* UploadRing::stage() {
  Slot& next = slot(sent_);
  if (next.stream) next.stream->synchronize();
  return next.host.data();
}

const void* UploadRing::send(Stream& compute, const void* source, int64_t size_bytes) {
  if (backend_.is_host()) {
    ++sent_;
    return source;
  }
  // The piece before is read by what is on `compute` now: its slot is free after that.
  if (sent_ > 0) slot(sent_ - 1).stream->wait_for(compute);
  Slot& next = slot(sent_++);
  backend_.copy_to_device(*next.stream, next.device.data(), source, size_bytes);
  compute.wait_for(*next.stream);
  return next.device.data();
}

void UploadRing::wait_sent() {
  if (sent_ > 0 && !backend_.is_host()) slot(sent_ - 1).stream->synchronize();
}

}  // namespace branchsae::model
