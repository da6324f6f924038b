#pragma once
// encode_topk_hopper: as encode_topk, bf16, with the copy engine and the tensor instructions of sm_90a.
// Work     as encode_topk. B=65536 d=128 n=2048: w read 512 times, 268 MB, 49 us of L2 at 5.5 TB/s; products
//          43 us at 790 TFLOP/s beside the selection's 17000 issue slots a warp, 77 us of 132 x 4 schedulers
//          at 1.7 GHz, if two warps a scheduler keep it busy. B=16384 d=512 n=8192: products 174 us, L2 2.1
//          GB, 390 us, since rows of x come again with every tile (d > 256): there encode_topk should win.
//          Not measured on a GPU.
// Launch   a block of 128 rows: warps 0..3 and 4..7, warp groups of 64 rows each that multiply and select, and
//          one more warp that copies. 288 threads of up to 168 registers. Shared: HopperShape::smem_bytes()
// Limits   sm_90a, bf16, k <= 32; all latents: the copy engine cannot gather the dead ones
// Order    deterministic, no atomics but the flags
//
// The copying warp fills a ring of stages with [128 latents, 64 channels] of w (and of x, streamed, if its
// rows do not stay in shared memory). A warp group multiplies a tile of 128 latents from there, then offers
// it to its lists. Where the ring holds a tile the groups take turns at the tensor cores: one multiplies
// while the other selects.
#include "cuda/arch/hopper.cuh"
#include "cuda/kernels/candidates.cuh"
#include "cuda/kernels/encode_job.cuh"

namespace branchsae::cuda {

constexpr int kHopperRows = 128;
constexpr int kHopperLatents = 128;
constexpr int kHopperGroups = kHopperRows / 64;
constexpr int kHopperWarps = kHopperRows / kWarpRows;  // that multiply
constexpr int kHopperSlots = 24;                       // longer lists leave too few registers
constexpr int kHopperThreads = kHopperWarps * kWarp + kWarp;
constexpr int kPanelElements = kHopperRows * kBoxColumns;  // of x; w's are as large
constexpr int kMostHopperStages = 8;                       // more would not keep the copies further ahead
static_assert(kHopperRows == kHopperLatents);

/// Rows of x stay as x_panels of 64 channels; with 0 they are streamed beside w.
struct HopperShape {
  int32_t x_panels, stages;

  BRANCHSAE_HOST_DEVICE int32_t stage_panels() const { return x_panels > 0 ? 1 : 2; }
  int64_t smem_bytes() const {
    return cuda::smem_bytes<Bf16>(int64_t{x_panels + stages * stage_panels()} * kPanelElements) +
           cuda::smem_bytes<uint2>(kHopperWarps * CandidateLists<kHopperSlots>::kWarpEntries) +
           cuda::smem_bytes<uint64_t>(2 * stages + 1 + kHopperGroups);
  }
};

/// Shared memory of the block but for the lists, and the barriers by which its warps tell each other of it.
struct HopperStages {
  Smem<Bf16> panels;
  Smem<uint64_t> barriers;
  HopperShape shape;

  BRANCHSAE_DEVICE HopperStages(SmemArena& arena, const HopperShape& s)
      : panels(arena.take<Bf16>((s.x_panels + s.stages * s.stage_panels()) * kPanelElements)),
        barriers(arena.take<uint64_t>(2 * s.stages + 1 + kHopperGroups)),
        shape(s) {}

  BRANCHSAE_DEVICE int full(int stage) const { return stage; }
  BRANCHSAE_DEVICE int empty(int stage) const { return shape.stages + stage; }
  BRANCHSAE_DEVICE int rows_here() const { return 2 * shape.stages; }
  BRANCHSAE_DEVICE int turn(int group) const { return 2 * shape.stages + 1 + group; }

  BRANCHSAE_DEVICE int w(int stage) const {
    return (shape.x_panels + stage * shape.stage_panels()) * kPanelElements;
  }
  /// Rows of a panel of channels, or of the stage.
  BRANCHSAE_DEVICE int x(int panel, int stage) const {
    return shape.x_panels > 0 ? panel * kPanelElements : w(stage) + kPanelElements;
  }

  /// By one thread.
  BRANCHSAE_DEVICE void begin() {
    for (int stage = 0; stage < shape.stages; ++stage) {
      mbarrier_init(barriers, full(stage), 1);
      mbarrier_init(barriers, empty(stage), kHopperWarps);
    }
    mbarrier_init(barriers, rows_here(), 1);
    for (int group = 0; group < kHopperGroups; ++group)
      mbarrier_init(barriers, turn(group), kHopperWarps / kHopperGroups);
    init_mbarriers_done();
  }
};

/// A place in the ring of stages.
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;
  BRANCHSAE_DEVICE void advance(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

/// What the copying thread does.
BRANCHSAE_DEVICE void copy_tiles(HopperStages& stages, const EncodeJob<Bf16>& job, const TensorMap* x,
                                 const TensorMap* w, int panels) {
  constexpr int kPanelBytes16 = kPanelElements * static_cast<int>(sizeof(Bf16));
  fence_tensor_map(x);
  fence_tensor_map(w);
  if (stages.shape.x_panels > 0) {
    mbarrier_arrive_expect(stages.barriers, stages.rows_here(), panels * kPanelBytes16);
    for (int panel = 0; panel < panels; ++panel) {
      copy_box(stages.panels, stages.x(panel, 0), x, job.first_row, panel * kBoxColumns, stages.barriers,
               stages.rows_here());
    }
  }
  RingPlace place;
  for (int32_t tile = job.first_tile; tile < job.end_tile; ++tile) {
    for (int panel = 0; panel < panels; ++panel) {
      mbarrier_wait(stages.barriers, stages.empty(place.stage), place.parity ^ 1);
      const int full = stages.full(place.stage);
      mbarrier_arrive_expect(stages.barriers, full, stages.shape.stage_panels() * kPanelBytes16);
      copy_box(stages.panels, stages.w(place.stage), w, tile * kHopperLatents, panel * kBoxColumns,
               stages.barriers, full);
      if (stages.shape.x_panels == 0) {
        copy_box(stages.panels, stages.x(panel, place.stage), x, job.first_row, panel * kBoxColumns,
                 stages.barriers, full);
      }
      place.advance(stages.shape.stages);
    }
  }
}

/// What a warp group does between selections: its 64 rows by a tile of latents.
class GroupTile {
 public:
  static constexpr int kSums = kHopperLatents / 2;

  BRANCHSAE_DEVICE GroupTile(const HopperStages& stages, int panels)
      : stages_(stages),
        panels_(panels),
        group_(warp_id() / (kHopperWarps / kHopperGroups)),
        takes_turns_(stages.shape.stages > panels) {
    if (stages_.shape.x_panels > 0) mbarrier_wait(stages_.barriers, stages_.rows_here(), 0);
  }

  /// sums hold b_enc
  BRANCHSAE_DEVICE void accumulate(float (&sums)[kSums]) {
    if (takes_turns_) mbarrier_wait(stages_.barriers, stages_.turn(group_), turn_ ^ (group_ == 0 ? 1U : 0U));
    turn_ ^= 1;
    keep_registers(sums);
    for (int panel = 0; panel < panels_; ++panel) {
      const RingPlace last = place_;
      if (panel > 0) place_.advance(stages_.shape.stages);
      mbarrier_wait(stages_.barriers, stages_.full(place_.stage), place_.parity);
      multiply(sums, panel);
      if (panel == 0) continue;
      wgmma_wait<1>();
      release(last);
    }
    wgmma_wait<0>();
    keep_registers(sums);
    release(place_);
    place_.advance(stages_.shape.stages);
    if (takes_turns_ && lane_id() == 0) mbarrier_arrive(stages_.barriers, stages_.turn(1 - group_));
  }

 private:
  BRANCHSAE_DEVICE void multiply(float (&sums)[kSums], int panel) {
    const uint64_t x =
        matrix_descriptor(stages_.panels, stages_.x(panel, place_.stage) + group_ * 64 * kBoxColumns);
    const uint64_t w = matrix_descriptor(stages_.panels, stages_.w(place_.stage));
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < kBoxColumns / 16; ++step)
      wgmma_bf16(sums, x + static_cast<uint64_t>(2 * step), w + static_cast<uint64_t>(2 * step));
    wgmma_commit();
  }
  BRANCHSAE_DEVICE void release(const RingPlace& place) {
    sync_warp();
    if (lane_id() == 0) mbarrier_arrive(stages_.barriers, stages_.empty(place.stage));
  }

  HopperStages stages_;
  int panels_, group_;
  bool takes_turns_;
  RingPlace place_;
  uint32_t turn_ = 0;
};

/// b_enc of a lane's columns of a tile, for both of its rows; -infinity beyond the latents.
BRANCHSAE_DEVICE void begin_sums(float (&sums)[GroupTile::kSums], const EncodeJob<Bf16>& job, int32_t tile,
                                 int32_t n_padded) {
#pragma unroll
  for (int j = 0; j < kHopperLatents / 8; ++j) {
    const int32_t first = tile * kHopperLatents + 8 * j + 2 * (lane_id() % kQuad);
    const float never = as_float(0xff800000U);
    float2 bias = make_float2(never, never);
    if (first < n_padded) bias = load_read_only(reinterpret_cast<const float2*>(job.b_enc + first));
    sums[4 * j] = sums[4 * j + 2] = bias.x;
    sums[4 * j + 1] = sums[4 * j + 3] = bias.y;
  }
}

__global__ void __launch_bounds__(kHopperThreads, 1)
    encode_topk_hopper_kernel(const SaeDesc* saes, WorkList work, EncodeTarget target, int32_t splits,
                              HopperShape shape) {
  if constexpr (kHopper) {
    const WorkItem item = work.items[blockIdx.x];
    const SaeDesc& sae = saes[item.sae];
    const EncodeJob<Bf16> job(sae, false, item.tile / splits * kHopperRows, item.tile % splits, splits,
                              kHopperLatents);
    if (job.first_row >= job.rows) return;

    SmemArena arena;
    HopperStages stages(arena, shape);
    constexpr int kEntries = CandidateLists<kHopperSlots>::kWarpEntries;
    const Smem<uint2> slots = arena.take<uint2>(kHopperWarps * kEntries);
    if (threadIdx.x == 0) stages.begin();
    sync_block();
    const int panels = (job.d_padded + kBoxColumns - 1) / kBoxColumns;
    if (warp_id() == kHopperWarps) {
      if (lane_id() == 0) copy_tiles(stages, job, sae.encode_maps, sae.encode_maps + 1, panels);
      return;
    }
    const int32_t warp_row = job.first_row + warp_id() * kWarpRows;
    const int32_t warp_rows = job.rows - warp_row;
    CandidateLists<kHopperSlots> lists(slots.part(warp_id() * kEntries, kEntries),
                                       EncodeOutput::k_of(sae, target), warp_rows);
    GroupTile products(stages, panels);
    for (int32_t tile = job.first_tile; tile < job.end_tile; ++tile) {
      float sums[GroupTile::kSums];
      begin_sums(sums, job, tile, sae.n_padded);
      products.accumulate(sums);
      float offered[GroupTile::kSums / 4][4];
#pragma unroll
      for (int i = 0; i < GroupTile::kSums; ++i) offered[i / 4][i % 4] = sums[i];
      lists.offer(offered, tile * kHopperLatents);
    }
    const EncodeOutput output(sae, target, item.tile % splits, splits);
    lists.finish(output.values, output.indices, warp_row, warp_rows, nullptr);
    if (lists.flags() != 0) atomic_or(&sae.state->flags, lists.flags());
  } else {
    stop_without_hopper();
  }
}

}  // namespace branchsae::cuda
