#pragma once
/// The kernels of a step of one autoencoder or of many: descriptions and work lists in device memory, one
/// launch for all autoencoders of a kernel's variant.
#include <cuda_runtime_api.h>

#include <span>
#include <utility>
#include <vector>

#include "cuda/graph.h"
#include "cuda/sae/adam_project.h"
#include "cuda/sae/decode_grad.h"
#include "cuda/sae/encode_topk.h"
#include "cuda/sae/gather_tokens.h"
#include "cuda/sae/sae_desc.h"
#include "cuda/sae/tied_dw.h"
#include "engine/device_buffer.h"

namespace branchsae::cuda {

class SaeLaunches {
 public:
  /// Allocates; the arrays that the descriptions point to must outlive this object. Throws DeviceError.
  SaeLaunches(int device, std::span<const SaeDesc> saes);

  /// Other values in the descriptions (the scale): same sizes, same arrays. Enqueued.
  void describe(cudaStream_t stream, std::span<const SaeDesc> saes);
  void set_batches(cudaStream_t stream, std::span<const SaeBatch> batches);

  /// All of a training step on the batches that were set: one graph, captured at the first call. With
  /// sync_debug() kernel by kernel.
  void step(cudaStream_t stream);
  /// All kernels once, on no tokens, changing nothing: a kernel is loaded at its first launch, and that must
  /// not fall into a capture.
  void rehearse(cudaStream_t stream);
  /// Its parts: gather_tokens; then up to the sums of the loss; then the rest, or gradients instead of
  /// updates.
  void gather(cudaStream_t stream) const;
  void forward(cudaStream_t stream) const;
  void backward(cudaStream_t stream, const GradientArrays& gradients = {}) const;

  /// In device memory, in the order given.
  const SaeDesc* descriptions() const;
  int64_t memory_bytes() const { return memory_.size_bytes(); }

 private:
  /// A part of items_.
  struct Range {
    int64_t first = 0;
    int32_t count = 0;
  };
  template <class Variant>
  using Stage = std::vector<std::pair<Variant, Range>>;

  template <class Variant, class VariantOf, class AddWork>
  Stage<Variant> stage(std::span<const SaeDesc> saes, VariantOf variant_of, AddWork add_work);
  template <class AddWork>
  Range list(std::span<const SaeDesc> saes, AddWork add_work);
  void list_encodes(std::span<const SaeDesc> saes);
  void upload(std::span<const SaeDesc> saes);
  WorkList items(Range range) const;
  void launch_all(cudaStream_t stream) const;
  void encode(cudaStream_t stream, const Stage<EncodeVariant>& stage, Range merges, bool dead) const;

  int device_;
  DeviceMemory memory_;  ///< descriptions, then items
  int64_t count_;
  std::vector<int32_t> order_;  ///< autoencoders by the length of their items, longest first
  std::vector<WorkItem> host_items_;
  Stage<GatherVariant> gather_;
  Stage<EncodeVariant> encode_, encode_dead_;
  Range merge_, merge_dead_, list_dead_;
  Stage<DecodeGradVariant> decode_grad_;
  Range check_, count_pairs_, scan_pairs_, place_pairs_;
  Stage<TiedDwVariant> tied_dw_;
  Range adam_, finish_;
  CudaGraph graph_;
};

}  // namespace branchsae::cuda
