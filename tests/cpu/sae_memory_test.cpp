// No allocation in a step, and nothing of the size tokens x latents, counted at malloc.
#include <doctest/doctest.h>
#include <malloc.h>

#include <atomic>
#include <cerrno>

#include "tests/cpu/sae_levels.h"
#include "tests/sae_cases/sae_cases.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BRANCHSAE_COUNTS_MALLOC 1

namespace {
std::atomic<int64_t> allocations{0};
std::atomic<int64_t> live_bytes{0}, peak_bytes{0};

void* counted(void* pointer) {
  if (pointer == nullptr) return pointer;
  ++allocations;
  const int64_t live = live_bytes += static_cast<int64_t>(malloc_usable_size(pointer));
  int64_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return pointer;
}
}  // namespace

// The C library's own functions under their internal names, so that libgomp and operator new are counted too.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) {
  return counted(__libc_malloc(size));
}
void* calloc(size_t count, size_t size) {
  return counted(__libc_calloc(count, size));
}
void* realloc(void* old, size_t size) {
  if (old != nullptr) live_bytes -= static_cast<int64_t>(malloc_usable_size(old));
  return counted(__libc_realloc(old, size));
}
void* aligned_alloc(size_t alignment, size_t size) {
  return counted(__libc_memalign(alignment, size));
}
void* memalign(size_t alignment, size_t size) {
  return counted(__libc_memalign(alignment, size));
}
int posix_memalign(void** pointer, size_t alignment, size_t size) {
  *pointer = counted(__libc_memalign(alignment, size));
  return *pointer == nullptr ? ENOMEM : 0;
}
void free(void* pointer) {
  if (pointer != nullptr) live_bytes -= static_cast<int64_t>(malloc_usable_size(pointer));
  __libc_free(pointer);
}
}
#endif

namespace {

#ifdef BRANCHSAE_COUNTS_MALLOC
// Without this a sanitizer's or another allocator's malloc would make the tests below pass for nothing.
bool counting_works() {
  const int64_t before = allocations;
  std::vector<char> bytes(12345);
  return allocations > before && bytes.size() == 12345;
}
#endif

}  // namespace

TEST_CASE("a step allocates nothing") {
#ifdef BRANCHSAE_COUNTS_MALLOC
  REQUIRE(counting_works());
  for (const int64_t d : {48, 160}) {  // scattered, sorted
    SaeSpec spec;
    spec.d = d, spec.n = 16 * d, spec.max_batch = 512, spec.aux_k = 40;
    const auto sae = make_loaded(spec, random_parameters(spec, 3), 3);
    const HostTensor x = normal_tensor({512, d}, 1, 4);
    NoStream stream;
    SaeStep step;
    step.dead_after = 600, step.aux_alpha = 0.03F;
    sae->step(stream, x.matrix(), step);  // OpenMP starts its threads
    const int64_t before = allocations;
    for (int i = 2; i < 6; ++i) {
      step.adam_step = i;
      sae->step(stream, x.matrix().rows(0, 512 - i), step);
    }
    CHECK(sae->read_stats_sync().aux_error > 0);  // AuxK took part
    CHECK(allocations == before);
  }
#else
  skip("malloc cannot be counted in this build");
#endif
}

TEST_CASE("memory stays far below tokens x latents and is reported") {
#ifdef BRANCHSAE_COUNTS_MALLOC
  REQUIRE(counting_works());
  SaeSpec spec;
  spec.d = 8, spec.n = 65536, spec.max_batch = 4096;
  const int64_t matrix_bytes = spec.max_batch * spec.n * 4;  // 1 GiB
  const HostTensor x = normal_tensor({4096, 8}, 1, 4);
  const SaeParameters parameters = random_parameters(spec, 3);
  const int64_t before = live_bytes;
  peak_bytes = before;
  {
    const auto sae = make_loaded(spec, parameters, 2);
    const int64_t reported = sae->memory_bytes(), held = live_bytes - before;
    // Reported is what was asked for; alignment and the allocator add a little.
    CHECK(held >= reported);
    CHECK(static_cast<double>(held) < static_cast<double>(reported) * 1.5 + (8 << 20));
    NoStream stream;
    sae->step(stream, x.matrix(), SaeStep{});
    SaeEvalSums sums;
    sae->evaluate_sync(x.matrix(), 0, sums);
    encode_lists(*sae, x.matrix(), 32);
    CHECK(sums.active > 4096 * 31);
  }
  // Weights, packed weights, two moments and pairs are 30 MiB; the matrix would be 1,024.
  CHECK(peak_bytes - before < matrix_bytes / 8);
  MESSAGE("peak MiB: ", (peak_bytes - before) >> 20);
#else
  skip("malloc cannot be counted in this build");
#endif
}
