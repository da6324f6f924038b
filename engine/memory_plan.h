#pragma once
/// One arena for all activations: buffers whose lives do not overlap share addresses.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace branchsae {

class MemoryPlan {
 public:
  /// alignment  of every buffer, bytes: a cache line by default
  explicit MemoryPlan(int64_t alignment = 64) : alignment_(alignment) {}

  /// A new buffer; returns its id.
  int add(int64_t size_bytes);
  /// The buffer is written or read at this step; it lives from its first to its last use.
  void use(int buffer, int64_t step);
  /// It must survive the whole run.
  void keep(int buffer);
  /// Assigns offsets: largest buffers first, each at the lowest address that no buffer alive at the same time
  /// covers. Source: Pisarchyk and Lee 2020, arXiv:2001.03288, "greedy by size for offset calculation".
  void place();

  int64_t size_bytes() const { return size_bytes_; }  ///< of the arena; after place()
  int64_t offset(int buffer) const { return buffers_.at(static_cast<size_t>(buffer)).offset; }

 private:
  struct Buffer {
    int64_t size_bytes, first, last, offset;
    bool overlaps(const Buffer& other) const { return first <= other.last && other.first <= last; }
  };
  int64_t lowest_offset(const Buffer& buffer, const std::vector<const Buffer*>& placed) const;

  int64_t alignment_;
  std::vector<Buffer> buffers_;
  int64_t size_bytes_ = 0;
};

}  // namespace branchsae
