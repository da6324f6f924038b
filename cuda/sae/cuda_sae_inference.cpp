// Encode, decode and evaluation: any number of tokens, in chunks that the work space holds.
#include <fmt/format.h>

#include <algorithm>

#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/memory.h"
#include "cuda/sae/cuda_sae.h"
#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::cuda {
namespace {

constexpr int64_t kAnyBatch = INT64_MAX;
constexpr int64_t kMostCounted = int64_t{1} << 30;  // firings are counted in 32 bits between two downloads

}  // namespace

void CudaSae::note_slow_k(int64_t k) {
  if (k <= kMaxFusedK || noted_slow_k_) return;
  noted_slow_k_ = true;
  log(LogLevel::kInfo,
      fmt::format("k = {} is above {}: the selection takes its slower path, the result is as exact", k,
                  kMaxFusedK));
}

// Tokens whose selections fit the executor's own arrays.
int64_t CudaSae::chunk_rows(int64_t k) const {
  return std::min(spec_.max_batch, plan_.selection_slots / k);
}

// Made at the first use of a k of that kind, kept.
WorkList CudaSae::encode_list(const EncodeVariant& variant) {
  const std::vector<WorkItem> items = encode_work(0, plan_.inference, variant);
  DeviceMemory& list = encode_lists_[variant];
  if (list.data() == nullptr) {
    const auto bytes = static_cast<int64_t>(items.size() * sizeof(WorkItem));
    list = allocate(device_, bytes, "work list of an encode");
    upload_sync(list.data(), items.data(), bytes, "upload a work list");
  }
  return {static_cast<const WorkItem*>(list.data()), static_cast<int32_t>(items.size())};
}

float* CudaSae::encode_scratch(int64_t k) {
  const int64_t bytes = scratch_floats(plan_.inference, static_cast<int32_t>(k)) * 4;
  if (bytes > scratch_.size_bytes()) scratch_ = allocate(device_, bytes, "selection of a large k");
  return bytes == 0 ? nullptr : static_cast<float*>(scratch_.data());
}

CudaSae::Encode CudaSae::prepare_encode(int64_t k) {
  note_slow_k(k);
  const auto kept = static_cast<int32_t>(k);
  const EncodeVariant variant = encode_variant(plan_.inference, kept, true);
  return {variant, encode_list(variant), kept, encode_scratch(k)};
}

void CudaSae::encode_chunk(cudaStream_t stream, const Encode& encode, View<const float, 2> tokens,
                           float* values, int32_t* indices) const {
  const SaeBatch batch = plain_batch(tokens);
  inference_->set_batches(stream, {&batch, 1});
  inference_->gather(stream);
  EncodeTarget target;
  target.values = values;
  target.indices = indices;
  target.k = encode.k;
  target.scratch = encode.scratch;
  encode_topk(stream, encode.variant, inference_->descriptions(), encode.list, target);
}

void CudaSae::encode(Stream& stream, View<const float, 2> tokens, View<float, 2> values,
                     View<int32_t, 2> indices) {
  check_tokens(spec_, tokens, kAnyBatch);
  check_selection(values.shape, indices.shape, tokens.shape[0]);
  const int64_t slots = values.shape[1], k = std::min(slots, spec_.n);
  const bool direct = slots == k && values.contiguous() && indices.contiguous();
  const int64_t most = direct ? spec_.max_batch : chunk_rows(k);
  const cudaStream_t to = cuda_stream(stream, device_).handle();
  const CurrentDevice current(device_);
  const Encode encode = prepare_encode(k);
  use(to, [&] {
    for (int64_t first = 0; first < tokens.shape[0]; first += most) {
      const int64_t rows = std::min(most, tokens.shape[0] - first);
      if (direct) {
        encode_chunk(to, encode, tokens.rows(first, rows), values.row(first), indices.row(first));
        continue;
      }
      encode_chunk(to, encode, tokens.rows(first, rows), plan_.inference.values, plan_.inference.indices);
      copy_selection(to, plan_.inference.values, plan_.inference.indices, k, values.rows(first, rows),
                     indices.rows(first, rows));
    }
  });
}

void CudaSae::decode(Stream& stream, View<const float, 2> values, View<const int32_t, 2> indices,
                     View<float, 2> x_hat) {
  check_selection(values.shape, indices.shape, x_hat.shape[0]);
  check_decoded(spec_, x_hat.shape, values.shape[0]);
  const cudaStream_t to = cuda_stream(stream, device_).handle();
  const CurrentDevice current(device_);
  use(to, [&] { decode_tokens(to, inference_->descriptions(), values, indices, x_hat, plan_.fault); });
}

void CudaSae::evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) {
  check_tokens(spec_, tokens, kAnyBatch);
  if (k < 0) throw InputError(fmt::format("k must be 0 (the autoencoder's own) or more, not {}", k));
  prepare_sums(spec_, sums);
  check_fault_sync();
  const CurrentDevice current(device_);
  const Encode encode = prepare_encode(std::min(k == 0 ? spec_.k : k, spec_.n));
  for (int64_t first = 0; first < tokens.shape[0]; first += kMostCounted)
    evaluate_part_sync(encode, tokens.rows(first, std::min(kMostCounted, tokens.shape[0] - first)), sums);
}

void CudaSae::evaluate_part_sync(const Encode& encode, View<const float, 2> tokens, SaeEvalSums& sums) {
  const SaeDesc& sae = plan_.inference;
  const cudaStream_t to = stream_.handle();
  const int64_t most = chunk_rows(encode.k);
  EvaluateSums totals{};
  std::vector<double> channels(static_cast<size_t>(3 * sae.d_padded));
  std::vector<int32_t> fired(static_cast<size_t>(spec_.n));
  use_sync([&] {
    clear_evaluation(to, sae, plan_.evaluation);
    for (int64_t first = 0; first < tokens.shape[0]; first += most) {
      const int64_t rows = std::min(most, tokens.shape[0] - first);
      encode_chunk(to, encode, tokens.rows(first, rows), sae.values, sae.indices);
      evaluate_tokens(to, sae, inference_->descriptions(), plan_.evaluation, sae.values, sae.indices, rows,
                      encode.k);
    }
    const auto download = [&](void* host, const void* from, size_t size_bytes) {
      check(cudaMemcpyAsync(host, from, size_bytes, cudaMemcpyDeviceToHost, to),
            "copy evaluation sums to the host");
    };
    download(&totals, plan_.evaluation.sums, sizeof totals);
    download(channels.data(), plan_.evaluation.channels, channels.size() * sizeof(double));
    download(fired.data(), plan_.evaluation.fired, fired.size() * sizeof(int32_t));
  });
  sums.tokens += tokens.shape[0];
  sums.squared_error += totals.squared_error;
  sums.squared_norm += totals.squared_norm;
  sums.cosine += totals.cosine;
  sums.active += static_cast<double>(totals.active);
  const auto padded = static_cast<size_t>(sae.d_padded);
  for (size_t j = 0; j < static_cast<size_t>(spec_.d); ++j) {
    sums.channel_sum[j] += channels[j];
    sums.channel_squared_sum[j] += channels[padded + j];
    sums.channel_squared_error[j] += channels[2 * padded + j];
  }
  for (size_t i = 0; i < fired.size(); ++i) sums.fired[i] += fired[i];
}

}  // namespace branchsae::cuda
