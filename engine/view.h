#pragma once
/// Non-owning strided views of host or device memory.
#include <array>
#include <cstdint>
#include <type_traits>

namespace branchsae {

/// A strided array that somebody else owns. Strides are in elements. Never dereferenced on the host when the
/// memory lives on a device.
template <class T, int Rank>
struct View {
  T* data = nullptr;
  std::array<int64_t, Rank> shape{};
  std::array<int64_t, Rank> stride{};

  View() = default;
  View(T* pointer, std::array<int64_t, Rank> dims) : data(pointer), shape(dims) {  // contiguous, row-major
    int64_t step = 1;
    for (int axis = Rank - 1; axis >= 0; --axis) {
      stride[axis] = step;
      step *= shape[axis];
    }
  }
  View(T* pointer, std::array<int64_t, Rank> dims, std::array<int64_t, Rank> strides)
      : data(pointer), shape(dims), stride(strides) {}

  /// A view of T is a view of const T.
  operator View<const T, Rank>() const requires(!std::is_const_v<T>) { return {data, shape, stride}; }

  int64_t size() const {
    int64_t product = 1;
    for (int64_t extent : shape) product *= extent;
    return product;
  }

  bool contiguous() const { return View(data, shape).stride == stride; }

  /// Part of the outermost axis: [begin, begin + count).
  View rows(int64_t begin, int64_t count) const {
    View part = *this;
    part.data += begin * stride[0];
    part.shape[0] = count;
    return part;
  }

  /// Part of the innermost axis: [begin, begin + count). For tokens: one branch's columns.
  View columns(int64_t begin, int64_t count) const {
    View part = *this;
    part.data += begin * stride[Rank - 1];
    part.shape[Rank - 1] = count;
    return part;
  }

  T& operator()(int64_t i) const requires(Rank == 1) { return data[i * stride[0]]; }
  T& operator()(int64_t i, int64_t j) const requires(Rank == 2) {
    return data[i * stride[0] + j * stride[1]];
  }
  T& operator()(int64_t a, int64_t b, int64_t c, int64_t e) const requires(Rank == 4) {
    return data[a * stride[0] + b * stride[1] + c * stride[2] + e * stride[3]];
  }
  T* row(int64_t i) const requires(Rank == 2) { return data + i * stride[0]; }
};

}  // namespace branchsae
