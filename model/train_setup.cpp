#include "model/train_setup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>

#include "engine/error.h"
#include "engine/log.h"
#include "engine/network_checks.h"
#include "model/json.h"
#include "model/size_text.h"

namespace branchsae::model {
namespace {

/// Activations are kept when more than this part of the images comes twice.
constexpr int64_t kLeastRepeated = 10;

/// A round is cut to an epoch of at least so many batches.
constexpr int64_t kEpochBatches = 16;

/// Names that a run's folder uses itself.
constexpr std::array<std::string_view, 9> kReserved{
    "", ".", "..", "checkpoints", "sweep", "lock", "run.json", "checkpoint.json", "visualize"};

/// Options that may differ when a run goes on: the total, and what does not change the result.
constexpr std::array<std::string_view, 12> kFree{
    "tokens",     "epochs",    "checkpoint-every", "log-every", "log-format", "plot",
    "max-memory", "precision", "strict",           "cache",     "cache-size", "decode-threads"};

/// FNV-1a.
uint64_t hash_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

std::vector<RunTap> plan_taps(const Graph& graph, const TrainOptions& options) {
  std::vector<Tap> resolved;
  std::vector<RunTap> taps;
  for (const std::string& text : options.taps) {
    resolved.push_back(resolve_tap(graph, text));
    const RunTap tap{text, tap_file_name(text), resolved.back().width(),
                     options.expansion * resolved.back().width(), options.k};
    if (std::ranges::find(kReserved, tap.folder) != kReserved.end()) {
      throw InputError(
          fmt::format("tap '{}' would need the folder name '{}', which a run uses itself", text, tap.folder));
    }
    try {
      check_spec({.d = tap.d, .n = tap.n, .k = tap.k, .max_batch = options.batch});
    } catch (const InputError& error) {
      throw InputError(fmt::format("tap '{}' ({} channels, --expansion {}): {}", text, tap.d,
                                   options.expansion, error.what()));
    }
    taps.push_back(tap);
  }
  check_tap_file_names(resolved);
  return taps;
}

ImageSplit plan_split(const ImageSource& images, const TrainOptions& options) {
  ImageSplit split = split_images(images.size(), options.holdout);
  if (split.train.empty()) throw InputError("there is no image to train on");
  if (images.size() > std::numeric_limits<int32_t>::max()) {
    throw InputError(fmt::format("{} images are more than the {} that can be shuffled", images.size(),
                                 std::numeric_limits<int32_t>::max()));
  }
  if (split.held_out.empty()) {
    log(LogLevel::kWarning,
        fmt::format("none of the {} images is held out (--holdout {}): no evaluation at the end",
                    images.size(), options.holdout));
  }
  return split;
}

ImageSequence plan_sequence(const ImageSource& images, const std::vector<int64_t>& train,
                            const TrainOptions& options) {
  if (options.order == ImageOrder::kRandom) return {train, options.seed};
  return {train, places_by_shard(images, train), options.shuffle_buffer, options.seed};
}

void check_augment(const ImageSource& images, const Augment& augment) {
  if (!augment.crop || images.has_room()) return;
  throw InputError(
      fmt::format("--augment {}: the images are arrays of the network's own size, with no room for other "
                  "crops; flip works on them",
                  to_string(augment)));
}

int64_t plan_positions(const ImageForward& forward, const TrainOptions& options) {
  int64_t least = std::numeric_limits<int64_t>::max(), most = 0;
  for (size_t tap = 0; tap < forward.taps().size(); ++tap) {
    least = std::min(least, forward.positions(tap));
    most = std::max(most, forward.positions(tap));
  }
  if (options.positions_per_image > least) {
    throw InputError(fmt::format("--positions-per-image {} is more than the {} positions of a tap",
                                 options.positions_per_image, least));
  }
  if (options.sample == TokenSampling::kNorm && options.positions_per_image == 0 && least == most) {
    log(LogLevel::kWarning,
        fmt::format("--sample norm makes no difference where all {} positions of an image are taken; give "
                    "--positions-per-image",
                    least));
  }
  if (options.positions_per_image > 0) return options.positions_per_image;
  if (least != most) {
    log(LogLevel::kInfo,
        fmt::format("the taps' grids differ: {} random positions of each image are taken from every "
                    "tap, all that the smallest has",
                    least));
  }
  return least;
}

int64_t plan_tokens(const TrainOptions& options, int64_t train_images, int64_t positions) {
  if (options.epochs <= 0) return options.tokens;
  const double tokens =
      std::round(options.epochs * static_cast<double>(train_images) * static_cast<double>(positions));
  if (tokens > 0x1p50)
    throw InputError(fmt::format("--epochs {} come to {:.3g} tokens: too many", options.epochs, tokens));
  return std::max<int64_t>(1, static_cast<int64_t>(tokens));
}

RoundSizes plan_rounds(const TrainOptions& options, int64_t positions, int64_t train_images,
                       int64_t total_steps, int64_t round_images) {
  RoundSizes sizes{
      .batch = options.batch, .positions = positions, .images = round_images, .sample = options.sample};
  if (round_images == 0) {
    // A job shorter than the buffer reads no more than it trains on.
    int64_t wanted = std::min(options.buffer_tokens, total_steps * options.batch);
    // One epoch is as well shuffled as more; a round drops up to a batch, which has to be little of it.
    const int64_t epoch = train_images * positions;
    if (epoch >= kEpochBatches * options.batch) wanted = std::min(wanted, epoch);
    sizes.images = (std::max(wanted, options.batch) + positions - 1) / positions;
  }
  if (sizes.tokens() > std::numeric_limits<int32_t>::max()) {
    throw InputError(fmt::format("a buffer of {} tokens is more than the {} that can be shuffled",
                                 sizes.tokens(), std::numeric_limits<int32_t>::max()));
  }
  return sizes;
}

SaeConfig sae_config(const RunTap& tap, const TrainOptions& options, int64_t total_steps) {
  return {.d = tap.d,
          .n = tap.n,
          .k = tap.k,
          .tied = options.tied,
          .unit_norm = options.unit_norm,
          .batch = options.batch,
          .learning_rate = options.learning_rate,
          .schedule = options.schedule,
          .warmup = options.warmup,
          .total_steps = total_steps,
          .start_norm = options.start_norm,
          .centre = options.centre,
          .aux_k = options.aux_k,
          .aux_alpha = options.aux_alpha,
          .dead_after = options.dead_after,
          .precision = options.precision.value_or(SaePrecision::kF32),
          .seed = options.seed,
          // By name, so that a tap trained alone starts as it does among others.
          .stream = random_stream(RandomUse::kStart, hash_of(tap.name))};
}

SaePrecision choose_precision(const Backend& backend, std::optional<SaePrecision> wanted,
                              std::optional<SaePrecision> recorded) {
  const SaePrecision usual = backend.usual_precision();
  if (wanted && !backend.offers(*wanted)) {
    throw InputError(
        fmt::format("--precision {} is not offered by {}; leave it out ({}), or use --device cuda",
                    to_string(*wanted), backend.name(), to_string(usual)));
  }
  if (!recorded) return wanted.value_or(usual);
  const SaePrecision chosen = wanted ? *wanted : backend.offers(*recorded) ? *recorded : usual;
  if (chosen != *recorded) {
    log(LogLevel::kWarning,
        fmt::format(
            "the run was trained in {} so far and goes on in {}{}: its bytes are those of no run that kept "
            "one precision",
            to_string(*recorded), to_string(chosen),
            wanted ? "" : ", which is what " + backend.name() + " offers"));
  } else if (chosen != usual && !wanted) {
    log(LogLevel::kInfo,
        fmt::format("the run goes on in {}, as it was started; {} usually takes {} (--precision)",
                    to_string(chosen), backend.name(), to_string(usual)));
  }
  return chosen;
}

void MemoryPlan::add_buffers(const RoundSizes& sizes, const std::vector<RunTap>& taps) {
  for (const RunTap& tap : taps) {
    buffers += static_cast<double>(sizes.tokens() + sizes.batch) * static_cast<double>(tap.d) * sizeof(float);
  }
}

/// Copies of W: itself, packed, two moments, gradient. On the host, while a checkpoint is written, once more
/// itself and the moments; the members of a sweep write theirs one after the other.
void MemoryPlan::add_autoencoders(const Device& device, const TrainOptions& options,
                                  const std::vector<RunTap>& taps) {
  const int matrices = options.tied ? 1 : 2;
  double of_checkpoint = 0;
  for (const RunTap& tap : taps) {
    const double weights = static_cast<double>(tap.n) * static_cast<double>(tap.d) * sizeof(float);
    autoencoders += weights * (options.tied ? 5 : 9);
    if (device.backend().is_host()) of_checkpoint += weights * 3 * matrices;
    ++count;
  }
  checkpoint = std::max(checkpoint, of_checkpoint);
}

void check_memory(const Device& device, const TrainOptions& options, const MemoryPlan& plan) {
  const bool given = options.max_memory > 0;
  const auto limit = static_cast<double>(given ? options.max_memory : machine_memory());
  if (plan.bytes() <= limit || !(given || device.backend().is_host())) return;
  const std::string members =
      options.sweep.empty() ? "" : fmt::format(" of {} sweep members", options.sweep.size());
  throw InputError(fmt::format(
      "token buffers ({}) and {} autoencoder{}{} ({}) need more than the {} {}; lower --buffer-tokens, "
      "--expansion or the number of {}",
      size_text(plan.buffers), plan.count, plan.count == 1 ? "" : "s", members,
      size_text(plan.autoencoders + plan.checkpoint), size_text(limit),
      given ? "of --max-memory" : "of this machine",
      options.sweep.empty() ? "taps" : "taps or combinations"));
}

CacheBudget plan_cache(const Device& device, const TrainOptions& options, const RoundSizes& sizes,
                       const MemoryPlan& plan, int64_t train_images, int64_t total_steps) {
  const int64_t rounds = (total_steps + sizes.batches() - 1) / sizes.batches();
  // Rounds drop less than a batch each, so that one epoch asks for a few images twice: no reason to keep all.
  const int64_t twice = rounds * sizes.images - train_images;
  if (twice <= train_images / kLeastRepeated) return {};
  if (options.augment.any()) {
    log(LogLevel::kDebug, fmt::format("activations are not kept: --augment {} changes them in every epoch",
                                      to_string(options.augment)));
    return {};
  }
  const bool given = options.max_memory > 0;
  const auto left = [&](int64_t of) {
    return static_cast<int64_t>(std::max(0.0, static_cast<double>(of) - plan.bytes()));
  };
  const int64_t of_host = given ? options.max_memory : machine_memory() / 3;
  if (device.backend().is_host()) return {.device_bytes = left(of_host)};
  const int64_t free = device.backend().memory_free().value_or(0);
  // A tenth stays for what libraries allocate when they are first used.
  const int64_t spare = free - free / 10;
  return {.device_bytes = given ? std::min(spare, left(options.max_memory)) : spare, .host_bytes = of_host};
}

std::unique_ptr<DiskCache> open_disk_cache(const Device& device, const TrainOptions& options,
                                           const RunInfo& run, const ImageForward& forward,
                                           const ImageSource& images) {
  if (options.cache.empty()) return nullptr;
  // All that the bits of a token depend on. The batch is among it: which algorithm a convolution takes may
  // depend on it. The device's description names processor, threads and library; another version of the
  // program may have other kernels.
  const auto program = run.origin.versions.find("branchsae");
  const CacheIdentity identity{
      {"version of the program", program == run.origin.versions.end() ? "unknown" : program->second},
      {"model", run.model_sha256},
      {"images", run.images_fingerprint},
      {"number of images", std::to_string(images.size())},
      {"preprocessing", run.preprocess.empty() ? "none" : run.preprocess},
      {"preparation of images", images.preparation()},
      {"image size", fmt::format("{} x {} x {}", images.height(), images.width(), images.channels())},
      {"precision of the network", to_string(*options.precision)},
      {"convolutions", to_string(options.conv)},
      {"forward batch", std::to_string(options.forward_batch)},
      {"device", device.backend().description()}};
  std::vector<CachedTap> taps;
  for (size_t tap = 0; tap < run.taps.size(); ++tap) {
    taps.push_back({run.taps[tap].name, {forward.positions(tap), run.taps[tap].d}});
  }
  return std::make_unique<DiskCache>(
      DiskCacheOptions{options.cache, options.cache_precision, options.cache_size}, identity, taps, images);
}

int64_t machine_memory() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES);
  const int64_t page_bytes = ::sysconf(_SC_PAGE_SIZE);
  int64_t bytes = pages > 0 && page_bytes > 0 ? pages * page_bytes : int64_t{1} << 32;
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  int64_t allowed = 0;
  if (limit >> allowed && allowed > 0) bytes = std::min(bytes, allowed);
  return bytes;
}

void check_same_options(const TrainOptions& recorded, const TrainOptions& wanted) {
  const Json before = Json::parse(to_json(recorded));
  const Json now = Json::parse(to_json(wanted));
  for (const auto& [name, value] : before.items()) {
    if (std::ranges::find(kFree, name) != kFree.end() || now.at(name) == value) continue;
    if (name == "sweep") {
      throw InputError(fmt::format("the run '{}' was started with another --sweep; leave it out to go on",
                                   recorded.out.string()));
    }
    throw InputError(
        fmt::format("--{} is {}, but the run '{}' was started with {}; only --tokens, --threads, "
                    "--device and --precision may change",
                    name, now.at(name).dump(), recorded.out.string(), value.dump()));
  }
}

}  // namespace branchsae::model
