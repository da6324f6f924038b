#pragma once
/// What is settled before a run's first step, and every check that needs no training.
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/images.h"
#include "model/image_split.h"
#include "model/token_rounds.h"
#include "model/train.h"

namespace branchsae::model {

/// Resolves the taps, and throws InputError unless they can be trained with these options: unknown, shared or
/// reserved folder names, k > n.
std::vector<RunTap> plan_taps(const Graph& graph, const TrainOptions& options);

/// Splits the images; throws InputError when none is left to train on, warns when none is held out.
ImageSplit plan_split(const ImageSource& images, const TrainOptions& options);

/// In which order the images train; options.order is settled.
ImageSequence plan_sequence(const ImageSource& images, const std::vector<int64_t>& train,
                            const TrainOptions& options);

/// Throws InputError when the images cannot be cut as asked.
void check_augment(const ImageSource& images, const Augment& augment);

/// Tokens per image that every tap gives: as many as the smallest grid has, or as asked.
int64_t plan_positions(const ImageForward& forward, const TrainOptions& options);

/// options.tokens, or what options.epochs come to.
int64_t plan_tokens(const TrainOptions& options, int64_t train_images, int64_t positions);

/// round_images: as an earlier process decided, or 0.
RoundSizes plan_rounds(const TrainOptions& options, int64_t positions, int64_t train_images,
                       int64_t total_steps, int64_t round_images);

SaeConfig sae_config(const RunTap& tap, const TrainOptions& options, int64_t total_steps);

/// The precision to train in. wanted: what the user asked for; recorded: what a resumed run used so far.
/// Throws InputError when the device does not offer what is wanted; says so when a resumed run goes on in
/// another one, or in another than is usual there.
SaePrecision choose_precision(const Backend& backend, std::optional<SaePrecision> wanted,
                              std::optional<SaePrecision> recorded);

/// What a job needs beside the network, about. In double: absurd sizes must not wrap round.
struct MemoryPlan {
  double buffers = 0, autoencoders = 0;  ///< bytes
  double checkpoint = 0;                 ///< bytes while one is written
  int64_t count = 0;                     ///< autoencoders
  void add_buffers(const RoundSizes& sizes, const std::vector<RunTap>& taps);
  /// Those of one run, or of one member of a sweep.
  void add_autoencoders(const Device& device, const TrainOptions& options, const std::vector<RunTap>& taps);
  double bytes() const { return buffers + autoencoders + checkpoint; }
};

/// Throws InputError when token buffers and autoencoders alone exceed options.max_memory, or the machine.
void check_memory(const Device& device, const TrainOptions& options, const MemoryPlan& plan);

/// Bytes left for kept activations, once everything else has its memory; none when less than a tenth of the
/// images would come twice.
CacheBudget plan_cache(const Device& device, const TrainOptions& options, const RoundSizes& sizes,
                       const MemoryPlan& plan, int64_t train_images, int64_t total_steps);

/// The cache that options.cache names; none when it is empty. Throws InputError when the folder holds another
/// one's tokens.
std::unique_ptr<DiskCache> open_disk_cache(const Device& device, const TrainOptions& options,
                                           const RunInfo& run, const ImageForward& forward,
                                           const ImageSource& images);

/// Memory of the machine, or of the container.
int64_t machine_memory();

/// Throws InputError naming the first option that differs where it must not, and both values.
void check_same_options(const TrainOptions& recorded, const TrainOptions& wanted);

}  // namespace branchsae::model
