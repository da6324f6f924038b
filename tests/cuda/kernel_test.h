#pragma once
/// What tests of kernels share. The same test runs in the emulator and, where there is one, on a GPU.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace branchsae::cuda::test {

/// Whether kernels run in the emulator.
bool emulated();
/// The stream of these tests.
cudaStream_t stream();
/// Waits for it; throws for what failed.
void synchronize();

/// Leaves out the emulator's checks for races from now on: for long runs of kernels that had them elsewhere.
void relax_checks();

/// Runs `body` under every order of threads and blocks that the emulator has, or twice on a device.
/// `describe` is told each time how it runs.
void for_each_order(const std::function<void(std::string_view how)>& body);

/// Device memory between guard zones, filled with 0xff.
class GuardedMemory {
 public:
  explicit GuardedMemory(int64_t bytes);
  ~GuardedMemory();
  GuardedMemory(GuardedMemory&& other) noexcept;
  GuardedMemory& operator=(GuardedMemory&&) = delete;
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* data() const;
  void upload(const void* from);
  /// Everything; throws std::logic_error when a guard zone was written.
  void download(void* to) const;

 private:
  void check_guards() const;
  std::byte* block_ = nullptr;
  int64_t bytes_ = 0;
};

/// Device memory of a test: `count` elements between guard zones, all bytes 0xff (NaN, -1) until written.
/// Guards are checked in download() and at the end.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Buffer(int64_t count) : count_(count), memory_(count * static_cast<int64_t>(sizeof(T))) {}
  explicit Buffer(const std::vector<T>& values) : Buffer(static_cast<int64_t>(values.size())) {
    memory_.upload(values.data());
  }
  T* data() const { return static_cast<T*>(memory_.data()); }
  int64_t size() const { return count_; }
  void upload(const std::vector<T>& values) {
    if (static_cast<int64_t>(values.size()) != count_) throw std::logic_error("upload of another size");
    memory_.upload(values.data());
  }
  std::vector<T> download() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    memory_.download(values.data());
    return values;
  }

 private:
  int64_t count_;
  GuardedMemory memory_;
};

/// Equal bit for bit: NaN equals itself, 0 differs from -0.
template <class T>
requires(std::has_unique_object_representations_v<T> ||
         std::is_floating_point_v<T>) bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if constexpr (std::has_unique_object_representations_v<T> || std::is_floating_point_v<T>) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
  } else {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same_bits(a[i], b[i])) return false;
    }
    return true;
  }
}
template <class A, class B>
bool same_bits(const std::pair<A, B>& a, const std::pair<A, B>& b) {
  return same_bits(a.first, b.first) && same_bits(a.second, b.second);
}
template <class... T>
bool same_bits(const std::tuple<T...>& a, const std::tuple<T...>& b) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return (same_bits(std::get<I>(a), std::get<I>(b)) && ...);
  }
  (std::index_sequence_for<T...>());
}
/// Anything else compares by ==.
template <class T>
concept HasSameBits = requires(const T& a) {
  same_bits(a, a);
};

[[noreturn]] void orders_disagree(std::string_view first, std::string_view other);

/// What `body` returns (vectors, tuples of vectors, anything with ==), which must not depend on the order in
/// which threads and blocks run.
template <class Body>
auto in_every_order(Body body) {
  using Result = decltype(body());
  if constexpr (std::is_void_v<Result>) {
    for_each_order([&](std::string_view) { body(); });
  } else {
    std::vector<Result> first;  // of at most one
    std::string first_how;
    for_each_order([&](std::string_view how) {
      Result result = body();
      if (first.empty()) {
        first.push_back(std::move(result));
        first_how = how;
        return;
      }
      if constexpr (HasSameBits<Result>) {
        if (!same_bits(first.front(), result)) orders_disagree(first_how, how);
      } else {
        if (!(first.front() == result)) orders_disagree(first_how, how);
      }
    });
    return std::move(first.front());
  }
}

}  // namespace branchsae::cuda::test
