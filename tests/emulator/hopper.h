#pragma once
/// What compute capability 9.0a adds, for one block: mbarriers, the copy engine, products of warp groups.
/// Not modelled: proxy fences, clusters, registers. Bytes of a copy arrive at once, or late and in any order;
/// a product reads its operands at the wait and its accumulators are NaN until then.
#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "cuda/tensor_map.h"
#include "tests/emulator/failure.h"
#include "tests/emulator/shared_memory.h"

namespace branchsae::emulator {

struct Thread;
using cuda::TensorMap;

/// What the emulator's make_tensor_map() writes into a TensorMap.
struct MatrixMap {
  static constexpr uint64_t kMagic = 0x627261'6e636873ULL;
  uint64_t magic;
  const std::byte* data;
  int64_t rows, columns, row_stride, box_rows;
};

/// A product of a warp group, as one of its warps sees it.
struct WarpProduct {
  uint64_t a, b;
  int columns;  ///< N
  bool accumulate;
  int group;
  std::array<float*, 32> sums;  ///< of each lane, [N / 2]
  Place place;
};

class Hopper {
 public:
  void reset();
  /// Throws Failure when the block leaves something unfinished.
  void check_end(const std::string& kernel, uint32_t block, int warps);

  void init(uint32_t at, int arrivals, const Place& place);
  void arrive(uint32_t at, int64_t announced_bytes, const Place& place);
  void wait(uint32_t at, uint32_t parity, const Place& place);

  void copy_box(Span to, int64_t at, const TensorMap* map, int64_t row, int64_t column, uint32_t barrier,
                const Place& place);
  void copy_bulk(Span to, int64_t at, const void* from, int64_t bytes, uint32_t barrier, const Place& place);
  /// Lets one copy's bytes arrive; false when none is under way.
  bool land_one();

  // As the work of a warp's collective.
  void fence(int warp);
  void issue(int warp, WarpProduct product);
  void commit(int warp);
  void wait_products(int warp, int pending);

 private:
  struct Mbarrier {
    int arrivals = 0, missing = 0;
    int64_t bytes = 0;  ///< announced and not come yet; negative when they came before they were announced
    uint32_t phase = 0;
    int copier = 0;
    int64_t copied_phase = -1, waited_phase = -1;  ///< the last into which bytes came; that was waited for
    Knowledge published, ended;                    ///< of this phase so far; of the last
    std::vector<Thread*> waiting;
  };
  struct Copy {
    std::byte* to;
    int64_t bytes;
    MatrixMap map;  ///< magic 0: `map.data` are plain bytes
    int64_t row, column;
    uint32_t barrier;
  };
  /// Accumulators in flight: their values while the registers hold NaN.
  struct Sums {
    int products = 0;
    std::vector<float> values;  // [lane, N / 2]
  };
  struct Products {
    std::vector<WarpProduct> pending;
    std::map<float*, Sums> sums;  // by lane 0's pointer
    int group = 0;
    bool fenced = false;
    int64_t issued = 0;
  };

  Mbarrier& find(uint32_t at, const Place& place);
  void end_phase_if_complete(Mbarrier& barrier);
  void begin(const Copy& copy, Span to, int64_t at, const Place& place);
  void land(const Copy& copy);
  /// Into `to`; when null, only marks what is going to be read.
  void load_operand(uint64_t descriptor, int first_row, int rows, float* to, const Place& place) const;
  void begin_operands(int warp, const WarpProduct& product) const;
  void multiply(int warp, const WarpProduct& product, Sums& sums) const;
  void return_sums(const WarpProduct& product, const Sums& sums) const;

  std::map<uint32_t, Mbarrier> barriers_;
  std::vector<Copy> copies_;
  std::array<Products, 32> products_;
  bool used_ = false;
};

// What the twins call; each for the running thread.
void mbarrier_init(Span barriers, int i, int arrivals, const Place& place);
void mbarrier_arrive(Span barriers, int i, int64_t announced_bytes, const Place& place);
void mbarrier_wait(Span barriers, int i, uint32_t parity, const Place& place);
void copy_box(Span to, int64_t at, const TensorMap* map, int row, int column, Span barriers, int i,
              const Place& place);
void copy_bulk(Span to, int64_t at, const void* from, int bytes, Span barriers, int i, const Place& place);
void wgmma_fence(const Place& place);
void wgmma_bf16(float* sums, int columns, uint64_t a, uint64_t b, bool accumulate, const Place& place);
void wgmma_commit(const Place& place);
void wgmma_wait(int pending, const Place& place);
void set_registers(int count, const Place& place);

}  // namespace branchsae::emulator
