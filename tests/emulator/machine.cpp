#include "tests/emulator/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <numeric>

namespace branchsae::emulator {

Thread* running_thread = nullptr;
Block* running_block = nullptr;

Settings& settings() {
  static Settings current = [] {
    Settings start;
    const char* words = std::getenv("BRANCHSAE_EMULATOR");
    const auto has = [words](const char* word) {
      return words != nullptr && std::strstr(words, word) != nullptr;
    };
    if (has("reverse")) start.order = Order::kReverse;
    if (has("random")) start.order = Order::kRandom;
    start.shuffle_blocks = has("shuffle");
    start.late_copies = has("late");
    start.defer = has("defer");
    return start;
  }();
  return current;
}

Counters& counters() {
  static Counters current;
  return current;
}

const uint3& thread_index() {
  return running_thread->index;
}
const uint3& block_index() {
  return running_block->index();
}
const dim3& block_size() {
  return running_block->size();
}
const dim3& grid_size() {
  return running_block->grid_size();
}

std::string text(const Place& place) {
  return fmt::format("{}:{}", place.file_name(), place.line());
}

namespace {

std::string text(uint32_t lanes) {
  std::string result;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    int last = lane;
    while (last + 1 < kLanes && (lanes >> (last + 1) & 1) != 0) ++last;
    result += fmt::format("{}{}", result.empty() ? "" : ",", lane);
    if (last > lane) result += fmt::format("-{}", last);
    lane = last;
  }
  return result;
}

bool same_operation(const Wait& a, const Wait& b) {
  return a.name == b.name && a.detail == b.detail && a.place.line() == b.place.line() &&
         a.place.column() == b.place.column() && a.place.file_name() == b.place.file_name();
}

std::string text(const Wait& wait) {
  return fmt::format("{}({}) at {}", wait.name, wait.detail, emulator::text(wait.place));
}

}  // namespace

Block::Block() : threads_(kMaxThreads) {
  for (int id = 0; id < kMaxThreads; ++id) {
    Warp& warp = warps_[static_cast<std::size_t>(id / kLanes)];
    warp.id = id / kLanes;
    Thread& thread = threads_[static_cast<std::size_t>(id)];
    thread.id = id;
    thread.lane = id % kLanes;
    thread.index = {static_cast<unsigned>(id), 0, 0};
    thread.warp = &warp;
    warp.lanes[static_cast<std::size_t>(thread.lane)] = &thread;
  }
}

uint32_t Block::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return static_cast<uint32_t>(random_state_ >> 32);
}

void Block::run(const Grid& grid, uint3 index, uint64_t seed) {
  grid_ = &grid;
  index_ = index;
  order_ = settings().order;
  random_state_ = (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
  failure_ = nullptr;
  shared_.reset(grid.smem_bytes, static_cast<int>(grid.threads.x + kLanes - 1) / kLanes);
  hopper_.reset();
  for (Barrier& barrier : barriers_) {
    if (barrier.threads != 0) barrier = Barrier{};
  }
  live_ = static_cast<int>(grid.threads.x);
  ready_warps_ = 0;
  for (int first = 0; first < live_; first += kLanes) {
    Warp& warp = warps_[static_cast<std::size_t>(first / kLanes)];
    const int count = std::min(kLanes, live_ - first);
    warp.members = count == kLanes ? ~0U : (1U << count) - 1;
    warp.ready = warp.members;
    warp.finished = warp.arrived = 0;
    ready_warps_ |= 1U << warp.id;
  }
  for (int id = 0; id < live_; ++id) start(threads_[static_cast<std::size_t>(id)]);
  running_block = this;
  running_thread = nullptr;
  Thread* first = pick();
  running_thread = first;
  Fibre::switch_to(host_, first->fibre);
  running_thread = nullptr;
  running_block = nullptr;
  if (failure_) std::rethrow_exception(failure_);
  hopper_.check_end(grid.name, index.x, static_cast<int>(grid.threads.x) / kLanes);
}

void Block::start(Thread& thread) {
  thread.finished = false;
  thread.wait.name = nullptr;
  thread.copies.clear();
  thread.copy_group = 0;
  thread.fibre.prepare(stacks_.get(static_cast<std::size_t>(thread.id)), FibreStacks::bytes(), &Block::enter,
                       &thread);
}

void Block::enter(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  Block* block = running_block;
  Fibre::arrived(thread->fibre);
  try {
    block->grid_->body(block->grid_->arguments);
    block->finish();
  } catch (...) {
    block->failure_ = std::current_exception();
  }
  block->leave_for_host();
}

void Block::leave_for_host() {
  Fibre::switch_to(running_thread->fibre, host_);
  std::terminate();  // nobody comes back to a thread that is done
}

/// The ready thread whose turn it is, taken out of the ready ones; null when there is none.
Thread* Block::pick() {
  if (ready_warps_ == 0) return nullptr;
  const auto next = [this](uint32_t mask, int after) {
    switch (order_) {
      case Order::kForward: {
        const uint32_t later =
            after >= 31 || after < 0 ? (after < 0 ? mask : 0) : mask & ~((2U << after) - 1);
        return std::countr_zero(later != 0 ? later : mask);
      }
      case Order::kReverse: {
        const uint32_t earlier = after < 0 ? mask : mask & ((1U << after) - 1);
        return 31 - std::countl_zero(earlier != 0 ? earlier : mask);
      }
      case Order::kRandom:
        break;
    }
    int skip = static_cast<int>(random() % static_cast<uint32_t>(std::popcount(mask)));
    while (skip-- > 0) mask &= mask - 1;
    return std::countr_zero(mask);
  };
  const Thread* now = running_thread;
  int warp = now == nullptr ? -1 : now->warp->id;
  const bool stay = warp >= 0 && warps_[static_cast<std::size_t>(warp)].ready != 0 &&
                    (order_ != Order::kRandom || random() % 8 != 0);
  int lane = stay ? now->lane : -1;
  if (!stay) warp = next(ready_warps_, warp);
  Warp& chosen = warps_[static_cast<std::size_t>(warp)];
  lane = next(chosen.ready, lane);
  chosen.ready &= ~(1U << lane);
  if (chosen.ready == 0) ready_warps_ &= ~(1U << warp);
  return chosen.lanes[static_cast<std::size_t>(lane)];
}

void Block::make_ready(Thread& thread) {
  thread.wait.name = nullptr;
  thread.warp->ready |= 1U << thread.lane;
  ready_warps_ |= 1U << thread.warp->id;
}

/// When no thread can go on, copies under way have to arrive first.
Thread* Block::pick_or_land() {
  if (order_ == Order::kRandom && random() % 16 == 0) hopper_.land_one();
  Thread* next = pick();
  while (next == nullptr && hopper_.land_one()) next = pick();
  return next;
}

void Block::suspend(const Wait& wait) {
  running_thread->wait = wait;
  wait_for_others();
}

/// Lets others run until the running thread is made ready and has its turn.
void Block::wait_for_others() {
  Thread* self = running_thread;
  Thread* next = pick_or_land();
  if (next == nullptr) {
    throw Failure(fmt::format("{}: block {}: deadlock: {}", grid_->name, index_.x, who_waits_where()));
  }
  if (next == self) return;  // what it waited for came while it looked for others
  ++counters().switches;
  running_thread = next;
  Fibre::switch_to(self->fibre, next->fibre);
}

void Block::finish() {
  Thread* self = running_thread;
  self->finished = true;
  self->warp->finished |= 1U << self->lane;
  if (--live_ == 0) return;
  Thread* next = pick_or_land();
  if (next == nullptr) {
    throw Failure(fmt::format("{}: block {}: deadlock: {}", grid_->name, index_.x, who_waits_where()));
  }
  running_thread = next;
  Fibre::switch_to(self->fibre, next->fibre);
}

void Block::fail(const std::string& message, const Place& place) {
  throw Failure(fmt::format("{}: block {}, thread {} (warp {}, lane {}): {}; {}", grid_->name, index_.x,
                            running_thread->id, running_thread->warp->id, running_thread->lane, message,
                            emulator::text(place)));
}

/// Which lanes of the running thread's warp are elsewhere than `wait`.
std::string Block::divergence(const Wait& wait) const {
  const Warp& warp = *running_thread->warp;
  std::string result;
  uint32_t seen = warp.arrived & (1U << running_thread->lane);
  for (int lane = 0; lane < kLanes; ++lane) {
    const Thread& other = *warp.lanes[static_cast<std::size_t>(lane)];
    if ((warp.members >> lane & 1) == 0 || (seen >> lane & 1) != 0 || other.wait.name == nullptr) continue;
    if (&other == running_thread || same_operation(other.wait, wait)) continue;
    uint32_t group = 0;
    for (int peer = lane; peer < kLanes; ++peer) {
      const Thread& third = *warp.lanes[static_cast<std::size_t>(peer)];
      if (third.wait.name != nullptr && same_operation(third.wait, other.wait)) group |= 1U << peer;
    }
    seen |= group;
    result += fmt::format("{}lanes {} in {}", result.empty() ? "" : ", ", text(group), text(other.wait));
  }
  return result;
}

std::string Block::who_waits_where() const {
  std::string result;
  for (int first = 0; first < static_cast<int>(grid_->threads.x); first += kLanes) {
    const Warp& warp = warps_[static_cast<std::size_t>(first / kLanes)];
    uint32_t seen = 0;
    std::string lines;
    for (int lane = 0; lane < kLanes; ++lane) {
      const Thread& thread = *warp.lanes[static_cast<std::size_t>(lane)];
      if ((warp.members >> lane & 1) == 0 || (seen >> lane & 1) != 0 || thread.wait.name == nullptr) continue;
      uint32_t group = 0;
      for (int peer = lane; peer < kLanes; ++peer) {
        const Thread& other = *warp.lanes[static_cast<std::size_t>(peer)];
        if (other.wait.name != nullptr && same_operation(other.wait, thread.wait)) group |= 1U << peer;
      }
      seen |= group;
      lines +=
          fmt::format("{}lanes {} wait in {}", lines.empty() ? "" : ", ", text(group), text(thread.wait));
    }
    if (warp.finished != 0) {
      lines += fmt::format("{}lanes {} have ended", lines.empty() ? "" : ", ", text(warp.finished));
    }
    result += fmt::format("{}warp {}: {}", result.empty() ? "" : "; ", warp.id, lines);
  }
  return result;
}

void Block::warp_collective(const Wait& wait, void* payload, WarpWork work) {
  Thread& self = *running_thread;
  Warp& warp = *self.warp;
  self.payload = payload;
  if (warp.finished != 0 || warp.members != ~0U) {
    fail(fmt::format("{} needs all 32 lanes, but lanes {} {}", wait.name,
                     text(warp.members != ~0U ? ~warp.members : warp.finished),
                     warp.members != ~0U ? "do not exist" : "have ended"),
         wait.place);
  }
  if (warp.arrived != 0) {
    const Thread& other = *warp.lanes[static_cast<std::size_t>(std::countr_zero(warp.arrived))];
    if (!same_operation(other.wait, wait)) {
      fail(
          fmt::format("the warp is split: this lane in {}({}), {}", wait.name, wait.detail, divergence(wait)),
          wait.place);
    }
  }
  warp.arrived |= 1U << self.lane;
  if (warp.arrived != ~0U) {
    self.wait = wait;
    wait_for_others();
    return;
  }
  ++counters().warp_collectives;
  warp.arrived = 0;
  if (work != nullptr) {
    std::array<void*, kLanes> payloads;
    for (std::size_t lane = 0; lane < kLanes; ++lane) payloads[lane] = warp.lanes[lane]->payload;
    work(payloads.data());
  }
  for (Thread* thread : warp.lanes) {
    if (thread != &self) thread->wait.name = nullptr;
  }
  warp.ready |= ~(1U << self.lane);
  ready_warps_ |= 1U << warp.id;
}

void Block::sync_warp(const Place& place) {
  static constexpr WarpWork kCountEpoch = [](void* const*) {
    if (RaceChecker* races = running_block->shared().races()) races->sync_warp(running_thread->warp->id);
  };
  warp_collective({"sync_warp", 0, place}, nullptr, kCountEpoch);
}

/// The last thread has come: those who wait go on, and know of each other's accesses.
void Block::release(Barrier& barrier, const Wait& wait) {
  ++counters().block_barriers;
  std::array<uint32_t, kMaxWarps> lanes{};
  uint32_t warps = 0;
  for (Thread* thread : barrier.waiting) {
    warps |= 1U << thread->warp->id;
    lanes[static_cast<std::size_t>(thread->warp->id)] |= 1U << thread->lane;
    thread->result = barrier.sum;
    thread->wait.name = nullptr;
    if (thread != running_thread) make_ready(*thread);
  }
  for (uint32_t left = warps; left != 0; left &= left - 1) {
    const auto warp = static_cast<std::size_t>(std::countr_zero(left));
    if (lanes[warp] != warps_[warp].members)
      fail(fmt::format("{}: of warp {} only lanes {} take part", wait.name, warp, text(lanes[warp])),
           wait.place);
  }
  if (RaceChecker* races = shared_.races()) races->meet(warps, barrier.published);
  barrier.waiting.clear();
  barrier.arrived = 0;
  barrier.sum = 0;
  barrier.published = {};
}

Block::Barrier& Block::enter_barrier(int id, int threads, int arriving, const Wait& wait) {
  if (id < 0 || id >= kNamedBarriers) fail(fmt::format("barrier {}; there are 0 to 15", id), wait.place);
  const int all = static_cast<int>(grid_->threads.x);
  if (threads != all && (threads <= 0 || threads % kLanes != 0 || threads > all)) {
    fail(fmt::format("barrier {} of {} threads; it takes whole warps of a block of {}", id, threads, all),
         wait.place);
  }
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (barrier.arrived != 0 && barrier.threads != threads) {
    fail(fmt::format("barrier {} of {} threads, but others wait there for {}", id, threads, barrier.threads),
         wait.place);
  }
  barrier.threads = threads;
  barrier.arrived += arriving;
  if (barrier.arrived > threads)
    fail(fmt::format("more than {} threads come to barrier {}", threads, id), wait.place);
  return barrier;
}

void Block::arrive_warp(int id, int threads, const Wait& wait) {
  Barrier& barrier = enter_barrier(id, threads, kLanes, wait);
  if (RaceChecker* races = shared_.races()) races->publish_warp(running_thread->warp->id, barrier.published);
  if (barrier.arrived != threads) return;
  if (barrier.waiting.empty())
    fail(fmt::format("all come to barrier {} and nobody waits there", id), wait.place);
  release(barrier, wait);
}

uint64_t Block::barrier(int id, int threads, const Wait& wait, bool value) {
  Thread& self = *running_thread;
  Barrier& barrier = enter_barrier(id, threads, 1, wait);
  barrier.sum += value ? 1 : 0;
  if (!barrier.waiting.empty() && barrier.waiting.front()->wait.name != wait.name) {
    fail(fmt::format("barrier {}: this thread in {}, others in {}", id, wait.name,
                     text(barrier.waiting.front()->wait)),
         wait.place);
  }
  self.wait = wait;
  barrier.waiting.push_back(&self);
  if (barrier.arrived == threads) {
    release(barrier, wait);
  } else {
    wait_for_others();
  }
  return self.result;
}

void run_grid(const Grid& grid) {
  static Block block;
  ++counters().launches;
  std::vector<uint32_t> order(grid.blocks.x);
  std::iota(order.begin(), order.end(), 0U);
  uint64_t state = settings().seed * 0x9e3779b97f4a7c15ULL + 1;
  if (settings().shuffle_blocks) {
    for (std::size_t i = order.size(); i > 1; --i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      std::swap(order[i - 1], order[(state >> 33) % i]);
    }
  }
  for (const uint32_t index : order) {
    counters().blocks += 1;
    counters().threads += grid.threads.x;
    block.run(grid, {index, 0, 0}, settings().seed * 0x100000001b3ULL + index);
  }
}

}  // namespace branchsae::emulator
