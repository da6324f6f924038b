#pragma once
/// What nvcc knows without being told, for a C++ compiler: the keywords of CUDA C++, the built-in vector
/// types and the indices of the running thread.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__ inline
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

#define BRANCHSAE_VECTOR_TYPES(element, name, bytes2, bytes4)                 \
  struct alignas(bytes2) name##2 {                                            \
    element x, y;                                                             \
  };                                                                          \
  struct alignas(bytes4) name##4 {                                            \
    element x, y, z, w;                                                       \
  };                                                                          \
  inline name##2 make_##name##2(element x, element y) {                       \
    return {x, y};                                                            \
  }                                                                           \
  inline name##4 make_##name##4(element x, element y, element z, element w) { \
    return {x, y, z, w};                                                      \
  }
BRANCHSAE_VECTOR_TYPES(float, float, 8, 16)
BRANCHSAE_VECTOR_TYPES(int, int, 8, 16)
BRANCHSAE_VECTOR_TYPES(unsigned, uint, 8, 16)
BRANCHSAE_VECTOR_TYPES(short, short, 4, 8)
BRANCHSAE_VECTOR_TYPES(unsigned short, ushort, 4, 8)
BRANCHSAE_VECTOR_TYPES(signed char, char, 2, 4)
BRANCHSAE_VECTOR_TYPES(unsigned char, uchar, 2, 4)
#undef BRANCHSAE_VECTOR_TYPES
struct alignas(16) double2 {
  double x, y;
};
inline double2 make_double2(double x, double y) {
  return {x, y};
}
struct alignas(16) longlong2 {
  long long x, y;
};
struct alignas(16) ulonglong2 {
  unsigned long long x, y;
};

namespace branchsae::emulator {

const uint3& thread_index();
const uint3& block_index();
const dim3& block_size();
const dim3& grid_size();

}  // namespace branchsae::emulator

#define threadIdx (::branchsae::emulator::thread_index())
#define blockIdx (::branchsae::emulator::block_index())
#define blockDim (::branchsae::emulator::block_size())
#define gridDim (::branchsae::emulator::grid_size())

// min and max as nvcc's kernels see them.
namespace branchsae::cuda {
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
}  // namespace branchsae::cuda
