#include "cuda/sae/sae_launches.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/memory.h"
#include "cuda/sae/finish_step.h"
#include "cuda/sae/set_batches.h"
#include "cuda/sae/sort_pairs.h"
#include "engine/sync_debug.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kItemAlignment = 256;

int64_t descriptions_bytes(int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(SaeDesc));
  return (bytes + kItemAlignment - 1) / kItemAlignment * kItemAlignment;
}

}  // namespace

SaeLaunches::SaeLaunches(int device, std::span<const SaeDesc> saes)
    : device_(device), count_(static_cast<int64_t>(saes.size())), order_(saes.size()) {
  const CurrentDevice current(device);
  // Blocks start in the order of the list; the long ones first, so that none is left alone at the end.
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    const auto length = [&](int32_t i) {
      const SaeDesc& sae = saes[static_cast<size_t>(i)];
      return int64_t{sae.n_padded} * sae.d_padded;
    };
    return length(a) > length(b);
  });
  gather_ = stage<GatherVariant>(saes, gather_tokens_variant, add_gather_tokens_work);
  list_encodes(saes);
  decode_grad_ = stage<DecodeGradVariant>(saes, decode_grad_variant, add_decode_grad_work);
  check_ = list(saes, add_check_step_work);
  count_pairs_ = list(saes, add_count_pairs_work);
  scan_pairs_ = list(saes, add_scan_pairs_work);
  place_pairs_ = list(saes, add_place_pairs_work);
  tied_dw_ = stage<TiedDwVariant>(saes, tied_dw_variant, add_tied_dw_work);
  adam_ = list(saes, add_adam_project_work);
  finish_ = list(saes, add_finish_step_work);
  upload(saes);
}

template <class Variant, class VariantOf, class AddWork>
SaeLaunches::Stage<Variant> SaeLaunches::stage(std::span<const SaeDesc> saes, VariantOf variant_of,
                                               AddWork add_work) {
  std::map<Variant, std::vector<WorkItem>> by_variant;
  for (const int32_t i : order_) {
    const SaeDesc& sae = saes[static_cast<size_t>(i)];
    const Variant variant = variant_of(sae);
    add_work(i, sae, by_variant[variant]);
  }
  Stage<Variant> result;
  for (const auto& [variant, work] : by_variant) {
    if (work.empty()) continue;
    result.emplace_back(variant,
                        Range{static_cast<int64_t>(host_items_.size()), static_cast<int32_t>(work.size())});
    host_items_.insert(host_items_.end(), work.begin(), work.end());
  }
  return result;
}

template <class AddWork>
SaeLaunches::Range SaeLaunches::list(std::span<const SaeDesc> saes, AddWork add_work) {
  const auto first = static_cast<int64_t>(host_items_.size());
  for (const int32_t i : order_) add_work(i, saes[static_cast<size_t>(i)], host_items_);
  return {first, static_cast<int32_t>(static_cast<int64_t>(host_items_.size()) - first)};
}

void SaeLaunches::list_encodes(std::span<const SaeDesc> saes) {
  const auto append = [](std::vector<WorkItem>& work, const std::vector<WorkItem>& more) {
    work.insert(work.end(), more.begin(), more.end());
  };
  // A few autoencoders fill the device by themselves: then nothing is gained by sharing a token among blocks.
  constexpr size_t kFew = 4;
  const bool whole = saes.size() > kFew;
  const auto main_variant = [&](const SaeDesc& sae) { return main_encode_variant(sae, whole); };
  const auto dead_variant = [&](const SaeDesc& sae) {
    return sae.aux_k > 0 ? encode_variant(sae, sae.aux_k, whole) : EncodeVariant{};
  };
  encode_ = stage<EncodeVariant>(saes, main_variant, [&](int32_t i, const SaeDesc& sae, auto& work) {
    append(work, encode_work(i, sae, main_variant(sae)));
  });
  merge_ = list(saes, [&](int32_t i, const SaeDesc& sae, auto& work) {
    append(work, merge_work(i, sae, main_variant(sae)));
  });
  list_dead_ =
      list(saes, [&](int32_t i, const SaeDesc& sae, auto& work) { append(work, list_dead_work(i, sae)); });
  encode_dead_ = stage<EncodeVariant>(saes, dead_variant, [&](int32_t i, const SaeDesc& sae, auto& work) {
    if (sae.aux_k > 0) append(work, encode_work(i, sae, dead_variant(sae)));
  });
  merge_dead_ = list(saes, [&](int32_t i, const SaeDesc& sae, auto& work) {
    if (sae.aux_k > 0) append(work, merge_work(i, sae, dead_variant(sae)));
  });
}

void SaeLaunches::upload(std::span<const SaeDesc> saes) {
  const auto item_bytes = static_cast<int64_t>(host_items_.size() * sizeof(WorkItem));
  memory_ = allocate(device_, descriptions_bytes(count_) + item_bytes, "work lists of autoencoders");
  auto* base = static_cast<char*>(memory_.data());
  upload_sync(base, saes.data(), static_cast<int64_t>(saes.size_bytes()), "upload descriptions");
  upload_sync(base + descriptions_bytes(count_), host_items_.data(), item_bytes, "upload work lists");
  host_items_ = {};
}

void SaeLaunches::describe(cudaStream_t stream, std::span<const SaeDesc> saes) {
  check(cudaMemcpyAsync(memory_.data(), saes.data(), saes.size_bytes(), cudaMemcpyHostToDevice, stream),
        "upload descriptions");
}

void SaeLaunches::set_batches(cudaStream_t stream, std::span<const SaeBatch> batches) {
  cuda::set_batches(stream, descriptions(), batches);
}

const SaeDesc* SaeLaunches::descriptions() const {
  return static_cast<const SaeDesc*>(memory_.data());
}

WorkList SaeLaunches::items(Range range) const {
  const char* base = static_cast<const char*>(memory_.data()) + descriptions_bytes(count_);
  return {reinterpret_cast<const WorkItem*>(base) + range.first, range.count};
}

void SaeLaunches::step(cudaStream_t stream) {
  if (sync_debug()) {
    launch_all(stream);
    return;
  }
  if (graph_.empty()) graph_ = CudaGraph(device_, [this](cudaStream_t to) { launch_all(to); });
  graph_.launch(stream);
}

void SaeLaunches::rehearse(cudaStream_t stream) {
  SaeBatch nothing{};
  nothing.error_only = 1;
  set_batches(stream, std::vector<SaeBatch>(static_cast<size_t>(count_), nothing));
  launch_all(stream);
}

void SaeLaunches::launch_all(cudaStream_t stream) const {
  gather(stream);
  forward(stream);
  backward(stream);
}

void SaeLaunches::gather(cudaStream_t stream) const {
  for (const auto& [variant, range] : gather_) gather_tokens(stream, variant, descriptions(), items(range));
}

void SaeLaunches::encode(cudaStream_t stream, const Stage<EncodeVariant>& stage, Range merges,
                         bool dead) const {
  EncodeTarget target;
  target.dead = dead;
  for (const auto& [variant, range] : stage)
    encode_topk(stream, variant, descriptions(), items(range), target);
  if (merges.count > 0) merge_topk(stream, descriptions(), items(merges), target);
}

void SaeLaunches::forward(cudaStream_t stream) const {
  encode(stream, encode_, merge_, false);
  if (list_dead_.count > 0) {
    list_dead(stream, descriptions(), items(list_dead_));
    encode(stream, encode_dead_, merge_dead_, true);
  }
  for (const auto& [variant, range] : decode_grad_)
    decode_grad(stream, variant, descriptions(), items(range));
  check_step(stream, descriptions(), items(check_));
}

void SaeLaunches::backward(cudaStream_t stream, const GradientArrays& gradients) const {
  count_pairs(stream, descriptions(), items(count_pairs_));
  scan_pairs(stream, descriptions(), items(scan_pairs_));
  place_pairs(stream, descriptions(), items(place_pairs_));
  for (const auto& [variant, range] : tied_dw_) tied_dw(stream, variant, descriptions(), items(range));
  adam_project(stream, descriptions(), items(adam_), gradients);
  finish_step(stream, descriptions(), items(finish_), gradients);
}

}  // namespace branchsae::cuda
