// Memory: the plan's arithmetic, and that running allocates nothing.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <vector>

#include "cpu/cpu_backend.h"
#include "engine/memory_plan.h"
#include "tests/cpu/network_check.h"
#include "tests/reference/graph_builder.h"
#include "tests/reference/inception_graph.h"

// The C library's allocation functions, counted. A sanitizer has its own.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_ALLOCATIONS 1
namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> largest_bytes{0}, live_blocks{0};

void count(size_t size_bytes) {
  if (!counting) return;
  ++live_blocks;
  int64_t before = largest_bytes;
  while (before < static_cast<int64_t>(size_bytes) &&
         !largest_bytes.compare_exchange_weak(before, size_bytes)) {
  }
}
}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_memalign(size_t, size_t);
void* __libc_calloc(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) noexcept {
  count(size);
  return __libc_malloc(size);
}
void* calloc(size_t number, size_t size) noexcept {
  count(number * size);
  return __libc_calloc(number, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  count(size);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** pointer, size_t alignment, size_t size) noexcept {
  count(size);
  *pointer = __libc_memalign(alignment, size);
  return *pointer == nullptr ? 12 : 0;
}
void free(void* pointer) noexcept {
  if (counting && pointer != nullptr) --live_blocks;
  __libc_free(pointer);
}
}
#endif

using namespace branchsae;

#ifdef COUNTS_ALLOCATIONS
TEST_CASE("a run allocates nothing but oneDNN's small argument records") {
  const test::InceptionGraph net = test::inception_graph(4, 10, 1);
  const std::vector<Tap> taps{test::whole_tap(net.graph, net.blocks[4]),
                              test::whole_tap(net.graph, net.prob)};
  for (const int64_t batch : {1, 12}) {
    const Shape shape{batch, 3, 64, 64};
    const auto network = test::compile_cpu(net.graph, taps, shape);
    const test::Nhwc images(reference::random_images(shape, 2));
    const auto stream = cpu::CpuBackend(2).make_stream();
    network->run(*stream, images.view);  // libraries may set up on first use
    largest_bytes = live_blocks = 0;
    counting = true;
    network->run(*stream, images.view);
    counting = false;
    // oneDNN copies each primitive's arguments into a hash table at every call and frees it: a bucket array
    // and a few nodes, all below 1 KiB. The smallest activation of this network's own is 10 floats x 8; its
    // arena is megabytes.
    CHECK(largest_bytes < 1024);
    CHECK(live_blocks == 0);
    // The counter does count.
    counting = true;
    std::free(std::malloc(5000));
    counting = false;
    CHECK(largest_bytes >= 5000);
  }
}
#endif

TEST_CASE("memory is reported by category and the arena is smaller than the activations' sum") {
  const test::InceptionGraph net = test::inception_graph(2, 100, 3);
  const auto network = test::compile_cpu(
      net.graph, {test::whole_tap(net.graph, net.prob), test::whole_tap(net.graph, net.blocks[2])},
      {8, 3, 96, 96});
  int64_t weights = 0, arena = 0, taps = 0;
  for (const MemoryUse& use : network->memory()) {
    if (use.category == "weights") weights = use.bytes;
    if (use.category == "arena") arena = use.bytes;
    if (use.category == "taps") taps = use.bytes;
  }
  int64_t weight_floats = 0, activation_floats = 0;
  for (const Node& node : net.graph.nodes) {
    if (const auto* conv = std::get_if<ConvOp>(&node.op)) weight_floats += conv->weight->size();
  }
  const auto shapes = reference::run_network(net.graph, reference::random_images({1, 3, 96, 96}, 4));
  for (const reference::Array& value : shapes) activation_floats += static_cast<int64_t>(value.data.size());
  CHECK(weights > weight_floats * 4);
  CHECK(taps == 8 * (100 + 6 * 6 * 256) * 4);
  CHECK(arena > 0);
  CHECK(arena < 8 * activation_floats * 4 / 3);
}

TEST_CASE("buffers alive together never overlap, others share") {
  Random random(5, 0);
  for (int trial = 0; trial < 50; ++trial) {
    MemoryPlan plan;
    struct Use {
      int64_t size, first, last;
    };
    std::vector<Use> uses;
    int64_t sum = 0;
    for (int i = 0; i < 30; ++i) {
      const auto size = static_cast<int64_t>(1 + random.below(10'000)),
                 first = static_cast<int64_t>(random.below(40));
      const int64_t last = first + static_cast<int64_t>(random.below(6));
      const int id = plan.add(size);
      plan.use(id, last);
      plan.use(id, first);
      uses.push_back({size, first, last});
      sum += size;
    }
    plan.place();
    int64_t end = 0;
    for (size_t i = 0; i < uses.size(); ++i) {
      const int64_t begin_i = plan.offset(static_cast<int>(i));
      end = std::max(end, begin_i + uses[i].size);
      CHECK(begin_i % 64 == 0);
      for (size_t j = 0; j < i; ++j) {
        const int64_t begin_j = plan.offset(static_cast<int>(j));
        const bool together = uses[i].first <= uses[j].last && uses[j].first <= uses[i].last;
        if (together) CHECK((begin_i + uses[i].size <= begin_j || begin_j + uses[j].size <= begin_i));
      }
    }
    CHECK(plan.size_bytes() >= end);
    CHECK(plan.size_bytes() < sum);
  }
  MemoryPlan kept;
  const int first = kept.add(64), forever = kept.add(64), second = kept.add(64);
  kept.use(first, 0);
  kept.use(second, 1);
  kept.keep(forever);
  kept.place();
  CHECK(kept.offset(first) == kept.offset(second));
  CHECK(kept.offset(forever) != kept.offset(first));
  CHECK(kept.size_bytes() == 128);
}
