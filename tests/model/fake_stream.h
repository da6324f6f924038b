#pragma once
/// A stream whose work is done at once, or as late as its users allow.
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "engine/stream.h"

namespace branchsae::test {

class FakeStream : public Stream {
 public:
  explicit FakeStream(bool deferred) : deferred_(deferred) {}
  void enqueue(std::function<void()> work) {
    if (!deferred_) return work();
    queue_->work.push_back(std::move(work));
    ++queue_->enqueued;
  }
  void synchronize() override { run(*queue_, queue_->enqueued); }
  void wait_for(Stream& other) override {
    const std::shared_ptr<Queue> awaited = dynamic_cast<FakeStream&>(other).queue_;
    enqueue([awaited, position = awaited->enqueued] { run(*awaited, position); });
  }

 private:
  struct Queue {
    std::deque<std::function<void()>> work;
    int64_t enqueued = 0, done = 0;
  };
  static void run(Queue& queue, int64_t position) {
    while (queue.done < position) {
      const std::function<void()> next = std::move(queue.work.front());
      queue.work.pop_front();
      ++queue.done;
      next();
    }
  }

  bool deferred_;
  std::shared_ptr<Queue> queue_ =
      std::make_shared<Queue>();  ///< outlives the stream while others wait for it
};

inline void enqueue(Stream& stream, std::function<void()> work) {
  dynamic_cast<FakeStream&>(stream).enqueue(std::move(work));
}

}  // namespace branchsae::test
