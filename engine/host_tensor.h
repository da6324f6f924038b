#pragma once
/// Owning float32 array in host memory: weights, constants, SAE parameters.
#include <memory>
#include <span>

#include "engine/shape.h"
#include "engine/view.h"

namespace branchsae {

/// Row-major float32 data, 64-byte aligned, zero-initialised. Move-only; copy with clone().
class HostTensor {
 public:
  HostTensor() = default;
  /// Throws ShapeError when the shape is negative or absurd, Error when memory cannot be had.
  explicit HostTensor(Shape shape);
  HostTensor(Shape shape, std::span<const float> values);

  HostTensor clone() const { return HostTensor(shape_, values()); }

  const Shape& shape() const { return shape_; }
  int64_t dim(size_t axis) const { return shape_.at(axis); }
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::span<float> values() { return {data_.get(), static_cast<size_t>(size_)}; }
  std::span<const float> values() const { return {data_.get(), static_cast<size_t>(size_)}; }
  float& operator[](int64_t i) { return data_.get()[i]; }
  float operator[](int64_t i) const { return data_.get()[i]; }

  View<float, 2> matrix() { return {data(), {shape_.at(0), size_ / shape_.at(0)}}; }
  View<const float, 2> matrix() const { return {data(), {shape_.at(0), size_ / shape_.at(0)}}; }

 private:
  struct Free {
    void operator()(float* pointer) const noexcept;
  };
  Shape shape_;
  int64_t size_ = 0;
  std::unique_ptr<float[], Free> data_;
};

/// Weights are shared between graphs and backends, never changed.
using ConstTensor = std::shared_ptr<const HostTensor>;

}  // namespace branchsae
