#pragma once
/// Moments of latents that have stopped firing decay into denormal numbers, on which many processors are a
/// hundred times slower.
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace branchsae::cpu {

/// While it lives, this thread's results below the normal range become zero, and such inputs count as zero.
/// Does nothing except on x86.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero);
  }
  ~FlushDenormals() {
    _mm_setcsr(before_);
  }
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__)
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  unsigned before_;
#endif
};

}  // namespace branchsae::cpu
