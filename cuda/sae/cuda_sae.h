#pragma once
/// The autoencoder on a CUDA device. All of its memory is one allocation made with it (and a small one of
/// descriptions and work lists); a training step is one launch that sets the batch, then one CUDA graph.
#include <functional>
#include <map>
#include <memory>

#include "cuda/event.h"
#include "cuda/sae/sae_launches.h"
#include "cuda/sae/sae_plan.h"
#include "cuda/stream.h"
#include "engine/sae.h"

namespace branchsae::cuda {

/// Streams: any, also one after another: work waits for the executor's earlier work on the device. Blocking
/// calls wait for that too; tokens given to them must be ready.
/// Numbers: an index outside -1..n-1 given to decode() counts as unused; the next blocking call of evaluation
/// or statistics throws InputError. After a step that saw NaN or infinity nothing is updated until
/// load_sync().
class CudaSae final : public SaeExecutor {
 public:
  /// Throws InputError; MemoryError when the device's memory does not suffice: naming what, how large, how
  /// much is free and the option that would make it fit.
  CudaSae(int device, const SaeSpec& spec);
  ~CudaSae() override;

  const SaeSpec& spec() const override { return spec_; }
  void load_sync(const SaeParameters& parameters) override;
  SaeParameters parameters_sync() const override;
  void load_optimizer_sync(const SaeOptimizerState& state) override;
  SaeOptimizerState optimizer_sync() const override;
  void step(Stream& stream, View<const float, 2> tokens, const SaeStep& step) override;
  SaeStats read_stats_sync() override;
  void encode(Stream& stream, View<const float, 2> tokens, View<float, 2> values,
              View<int32_t, 2> indices) override;
  void decode(Stream& stream, View<const float, 2> values, View<const int32_t, 2> indices,
              View<float, 2> x_hat) override;
  void evaluate_sync(View<const float, 2> tokens, int64_t k, SaeEvalSums& sums) override;
  SaeGradients gradients_sync(View<const float, 2> tokens, const SaeStep& step) override;
  std::string description() const override;
  int64_t memory_bytes() const override;

  // For groups of several (cuda/sae/sae_groups.h).
  int device() const { return device_; }
  const SaeDesc& training_description() const { return plan_.training; }
  /// Changes whenever training_description() does.
  int64_t version() const { return version_; }
  /// Not expired while this executor lives.
  std::weak_ptr<const void> life() const { return life_; }
  /// The batch of one step. Throws ShapeError.
  SaeBatch batch_of(View<const float, 2> tokens, const SaeStep& step) const;
  /// Reached when the executor's work so far is done; null before the first. Waited for by begin_use().
  const CudaEvent* last_use() const { return last_use_.get(); }
  /// Lets `stream` wait for the executor's earlier work.
  void begin_use(cudaStream_t stream) const;
  /// `done` is recorded after what was enqueued since begin_use().
  void end_use(std::shared_ptr<CudaEvent> done, const SaeStep* trained = nullptr) const;

 private:
  /// An encode into memory of its own.
  struct Encode {
    EncodeVariant variant;
    WorkList list;
    int32_t k;
    float* scratch;
  };

  // cuda_sae.cpp
  /// What `enqueue` puts on the stream comes after the executor's earlier work and before its later one.
  void use(cudaStream_t stream, const std::function<void()>& enqueue) const;
  void use_sync(const std::function<void()>& enqueue) const;  ///< on stream_, and waits
  SaeBatch plain_batch(View<const float, 2> tokens) const;
  SaeState state_sync(const SaeDesc& sae) const;
  void set_state_sync(const SaeDesc& sae, const SaeState& state) const;
  void check_fault_sync() const;

  // cuda_sae_transfer.cpp
  void start_sync();
  void upload_rows(const HostTensor& tensor, float* rows) const;
  void upload_vector(const HostTensor& tensor, float* values, int64_t count) const;
  HostTensor download_rows(const float* rows) const;
  HostTensor download_vector(const float* values, int64_t count) const;

  // cuda_sae_inference.cpp
  void note_slow_k(int64_t k);
  int64_t chunk_rows(int64_t k) const;
  WorkList encode_list(const EncodeVariant& variant);
  float* encode_scratch(int64_t k);
  Encode prepare_encode(int64_t k);
  void encode_chunk(cudaStream_t stream, const Encode& encode, View<const float, 2> tokens, float* values,
                    int32_t* indices) const;
  void evaluate_part_sync(const Encode& encode, View<const float, 2> tokens, SaeEvalSums& sums);

  SaeSpec spec_;
  int device_;
  SaePlan plan_;
  DeviceMemory memory_;
  std::unique_ptr<SaeLaunches> training_, inference_;
  mutable CudaStream stream_;  ///< of the blocking calls
  mutable std::shared_ptr<CudaEvent> last_use_;
  std::shared_ptr<CudaEvent> own_event_;
  mutable int64_t dead_after_ = 0;  ///< of the last step, for SaeStats::dead
  int64_t version_ = 0;
  std::shared_ptr<const int> life_ = std::make_shared<int>(0);
  // Of encodes with another k than the spec's; made at the first one of a kind.
  std::map<EncodeVariant, DeviceMemory> encode_lists_;
  DeviceMemory scratch_;
  bool noted_slow_k_ = false;
};

}  // namespace branchsae::cuda
