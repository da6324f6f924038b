#pragma once
/// The processor's limit for single-precision arithmetic.

namespace branchsae::bench {

/// GFLOP/s of independent fused multiply-adds in registers on `threads` cores at once, at the widest
/// instruction set; 0 where this build cannot tell (not x86, or without FMA).
double fma_peak_gflops(int threads, double (*now_s)());

}  // namespace branchsae::bench
