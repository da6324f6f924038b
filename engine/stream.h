#pragma once

namespace branchsae {

/// An ordered queue of work on one device. Whatever enqueues takes the stream first. CPU streams run at once.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Blocks until everything enqueued so far is done; throws DeviceError for what failed asynchronously.
  virtual void synchronize() = 0;
  /// What is enqueued from now on waits for what is on `other` (of the same device) now; the host does not
  /// wait where the device can do it.
  virtual void wait_for(Stream& other) { other.synchronize(); }
};

}  // namespace branchsae
