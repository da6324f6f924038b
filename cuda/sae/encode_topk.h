#pragma once
/// Encode and TopK of many autoencoders: u = W x + b_enc and the k largest u > 0 of each token, by the
/// selection contract of engine/sae.h. No tokens x latents array is stored. Design: the headers of the
/// kernels named below.
///
/// A step:
///   list_dead(s, saes, list);                        with AuxK, first
///   encode_topk(s, variant, saes, work);             merge_topk(s, saes, merges);
///   encode_topk(s, aux_variant, saes, work, dead);   merge_topk(s, saes, merges, dead);    with AuxK
/// With another k: encode_variant(desc, k, true), and encode_topk() with a target that has its own memory.
#include <cuda_runtime_api.h>

#include <compare>
#include <cstdint>
#include <vector>

#include "cuda/sae/encode_target.h"
#include "cuda/sae/sae_desc.h"
#include "cuda/sae/workspace.h"

namespace branchsae::cuda {

enum class EncodeRoute : int32_t {
  kTensor,   ///< encode_topk.cuh: selection beside the product, any architecture
  kSm90a,    ///< encode_topk_hopper.cuh: sm_90a
  kChunked,  ///< project_chunk.cuh, select_chunk.cuh: any k; slower, which the caller should log
};

/// What one launch has in common. SAEs of equal variants share launches.
struct EncodeVariant {
  EncodeRoute route = EncodeRoute::kTensor;
  Precision precision = Precision::kF32;
  int32_t width = 0;       ///< class of d_padded: 64, 128, 256, 512; 0: streamed, any d
  int32_t wide = 0;        ///< 1: 32 < k <= 64
  int32_t block_rows = 0;  ///< tokens of a block
  int32_t splits = 1;      ///< blocks that share a token's latents; above 1 merge_topk() must follow
  int32_t chunks = 0, chunk_rows = 0, n_padded = 0;  ///< kChunked: so many launches of so many tokens
  auto operator<=>(const EncodeVariant&) const = default;
};

/// Takes the work space for the SAE's own k and aux_k. With BRANCHSAE_ENCODE=hopper in the environment, also
/// what kSm90a needs, where the device and the SAE are for it.
void plan_encode(SaeDesc& sae, Workspace& workspace);
/// Once the SAE has its memory, before the first step: fills what the plan took. Blocking.
void prepare_encode_sync(cudaStream_t stream, const SaeDesc& sae);

/// For k selected latents: sae.k, sae.aux_k or any other in 1..n.
/// whole  the latents of a token are never split among blocks: for targets with their own memory, and where
/// one
///        launch has many autoencoders, which fill the device without. The results are the same bits
EncodeVariant encode_variant(const SaeDesc& sae, int32_t k, bool whole = false);
/// Of the step's own selection: kSm90a where that was asked for (plan_encode) and offers it, else
/// encode_variant().
EncodeVariant main_encode_variant(const SaeDesc& sae, bool whole = false);
/// Floats of EncodeTarget::scratch that a target with its own memory needs; 0 for k <= kMaxFusedK.
int64_t scratch_floats(const SaeDesc& sae, int32_t k);

/// Blocks for max_batch tokens; those beyond the batch return at once.
std::vector<WorkItem> encode_work(int32_t sae, const SaeDesc& desc, const EncodeVariant& variant);
/// saes    device array of descriptors, indexed by the items
/// work    items of autoencoders that all have `variant`
/// Stream  enqueues, never synchronises. Throws DeviceError on launch
void encode_topk(cudaStream_t stream, const EncodeVariant& variant, const SaeDesc* saes, WorkList work,
                 const EncodeTarget& target = {});

/// Empty unless the SAE's variant for k has splits.
std::vector<WorkItem> merge_work(int32_t sae, const SaeDesc& desc, const EncodeVariant& variant);
/// Merges what the splits selected; one launch for all SAEs with splits.
void merge_topk(cudaStream_t stream, const SaeDesc* saes, WorkList work, const EncodeTarget& target = {});

/// Empty without AuxK.
std::vector<WorkItem> list_dead_work(int32_t sae, const SaeDesc& desc);
/// dead, state->dead_count: latents with tokens_seen - last_fired >= batch->dead_after, ascending.
void list_dead(cudaStream_t stream, const SaeDesc* saes, WorkList work);

}  // namespace branchsae::cuda
