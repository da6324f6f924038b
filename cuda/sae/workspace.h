#pragma once
/// Plans the pieces of one allocation: run once without memory to learn the size, once more with it.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace branchsae::cuda {

class Workspace {
 public:
  /// base  null: only measures, and take() returns null
  explicit Workspace(void* base = nullptr) : base_(static_cast<char*>(base)) {}

  /// Room for `count` elements at a multiple of 256 bytes. category  as in memory reports: "weights",
  /// "moments"
  template <class T>
  T* take(int64_t count, std::string_view category) {
    const int64_t at = size_bytes_;
    const int64_t bytes =
        (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    size_bytes_ += bytes;
    bytes_by_category_[std::string(category)] += bytes;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }

  int64_t size_bytes() const { return size_bytes_; }
  const std::map<std::string, int64_t>& bytes_by_category() const { return bytes_by_category_; }

 private:
  static constexpr int64_t kAlignment = 256;
  char* base_;
  int64_t size_bytes_ = 0;
  std::map<std::string, int64_t> bytes_by_category_;
};

}  // namespace branchsae::cuda
