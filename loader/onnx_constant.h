#pragma once
/// Constants while a model is being read: weights, and the small integers of shape arithmetic.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/host_tensor.h"

namespace branchsae::loader {

/// An integer of shape arithmetic. The batch size is a symbol, so that what a model computes from it stays
/// right for any batch; so are heights and widths that the file leaves open. What is computed from them by
/// more than multiplying with one is unknown.
struct Extent {
  enum class Kind : uint8_t { kKnown, kBatch, kOpen, kUnknown };
  int64_t value = 0;  ///< when known; when open, which of the open sizes it is
  Kind kind = Kind::kKnown;

  static Extent known(int64_t value) { return {value, Kind::kKnown}; }
  static Extent batch() { return {0, Kind::kBatch}; }
  static Extent open(int64_t which) { return {which, Kind::kOpen}; }
  static Extent unknown() { return {0, Kind::kUnknown}; }
  bool is_known() const { return kind == Kind::kKnown; }
  bool is_batch() const { return kind == Kind::kBatch; }
  /// Equal symbols stand for equal sizes.
  bool is_symbol() const { return kind == Kind::kBatch || kind == Kind::kOpen; }
  bool is_known(int64_t other) const { return is_known() && value == other; }
  bool operator==(const Extent&) const = default;
};

/// "[N, 1024, ?]"
std::string to_string(const std::vector<Extent>& extents);

/// A constant tensor: floats, or integers when `floats` is null. Integer types of any width (and bool) are
/// integers, floating types of any width are float32.
struct Constant {
  Shape shape;
  ConstTensor floats;            ///< of the same shape
  std::vector<Extent> integers;  ///< row-major

  bool is_integral() const { return floats == nullptr; }
  int64_t size() const { return is_integral() ? static_cast<int64_t>(integers.size()) : floats->size(); }
};

/// The largest image side or number of channels, and the largest kernel, stride, dilation or pad accepted:
/// they keep every size computed from them inside 64 bits (the engine's own limits are as large or larger).
inline constexpr int64_t kMaxExtent = int64_t{1} << 20;
inline constexpr int64_t kMaxWindow = int64_t{1} << 16;

/// Bounds the memory that constants may take.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit_bytes) : left_(limit_bytes), limit_(limit_bytes) {}
  /// Takes count * element_bytes. Throws InputError "<what> needs ..." when more than the rest is asked for.
  void spend(int64_t count, int64_t element_bytes, const std::string& what);

 private:
  int64_t left_, limit_;
};

/// Elements of a shape from a file. Throws InputError "<what> has shape ..." when a dimension is negative or
/// the product of those that are not 0 passes 2^48, which no file holds.
int64_t checked_count(const Shape& shape, const std::string& what);

}  // namespace branchsae::loader
