#include "model/token_rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <system_error>

#include "engine/error.h"
#include "engine/log.h"
#include "engine/random.h"
#include "model/device_rows.h"

namespace branchsae::model {
namespace {

std::vector<TapExtent> extents(const ImageTokens& tokens) {
  std::vector<TapExtent> taps;
  for (size_t tap = 0; tap < tokens.taps().size(); ++tap) {
    taps.push_back({tokens.positions(tap), tokens.taps()[tap].width()});
  }
  return taps;
}

int64_t largest_image(const std::vector<TapExtent>& taps) {
  int64_t largest = 0;
  for (const TapExtent& tap : taps) largest = std::max(largest, tap.positions * tap.width);
  return largest;
}

int64_t largest_width(const std::vector<TapExtent>& taps) {
  return std::ranges::max_element(taps, {}, &TapExtent::width)->width;
}

/// The first tap of each group that shares positions.
std::vector<size_t> leaders(const std::vector<TapExtent>& taps, TokenSampling sample) {
  std::vector<size_t> found;
  for (size_t tap = 0; tap < taps.size(); ++tap) {
    const bool shared = std::ranges::any_of(found, [&](size_t leader) {
      return sample == TokenSampling::kUniform && taps[leader].positions == taps[tap].positions;
    });
    if (!shared) found.push_back(tap);
  }
  return found;
}

/// Kept on the device, kept on the host, not kept.
int kind_of(const std::optional<ActivationCache::Place>& kept) {
  if (!kept) return 2;
  return kept->on_device ? 0 : 1;
}

constexpr auto kRowBytes = static_cast<int64_t>(sizeof(int32_t));

}  // namespace

TokenRounds::TokenRounds(const Device& device, ImageTokens& tokens, SkippedImages& skipped,
                         ImageSequence sequence, const RoundSizes& sizes, uint64_t seed)
    : device_(device),
      tokens_(tokens),
      skipped_(skipped),
      sequence_(std::move(sequence)),
      sizes_(sizes),
      seed_(seed),
      taps_(extents(tokens)),
      leaders_(leaders(taps_, sizes.sample)),
      cache_(std::make_unique<ActivationCache>(device.backend(), taps_, CacheBudget{}, 0)),
      orders_(device.backend(), sizes.tokens() * kRowBytes, true, "order of tokens"),
      rows_(device.backend(), static_cast<int64_t>(leaders_.size()) * sizes.tokens() * kRowBytes, true,
            "rows of tokens") {
  Backend& backend = device_.backend();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const auto leader = std::ranges::find_if(leaders_, [&](size_t of) {
      return of == tap ||
             (sizes.sample == TokenSampling::kUniform && taps_[of].positions == taps_[tap].positions);
    });
    leader_of_.push_back(static_cast<size_t>(leader - leaders_.begin()));
    const std::string& name = tokens.taps()[tap].name;
    buffers_.push_back(backend.buffer<float>(sizes.tokens() * taps_[tap].width, "token buffer of " + name));
    batches_.push_back(backend.buffer<float>(sizes.batch * taps_[tap].width, "batch of " + name));
    batch_views_.push_back(batches_[tap].matrix(sizes.batch, taps_[tap].width));
  }
}

TokenRounds::~TokenRounds() = default;

void TokenRounds::keep_activations(const CacheBudget& budget) {
  Backend& backend = device_.backend();
  CacheBudget possible = budget;
  if (!backend.is_host() && budget.host_bytes > 0) {
    try {
      packed_ = backend.buffer<float>(tokens_.batch() * largest_image(taps_), "activations to be kept");
      samples_ = std::make_unique<UploadRing>(
          backend, sizes_.positions * largest_width(taps_) * static_cast<int64_t>(sizeof(float)), true,
          "kept activations");
    } catch (const MemoryError& error) {
      log(LogLevel::kInfo, fmt::format("activations are not kept on the host: {}", error.what()));
      possible.host_bytes = 0;
      packed_ = {};
    }
  }
  cache_ = std::make_unique<ActivationCache>(backend, taps_, possible, sequence_.size());
}

bool TokenRounds::prepare(Stream& stream, const OnImages& on_images) {
  if (filled_) return true;
  sequence_.seek(place_.start);
  draw_order(place_.round);
  if (!fill(stream, on_images)) return false;
  upload_order(stream);
  stream.synchronize();
  filled_ = true;
  return true;
}

/// Finding the next round's first images does no harm to the sequence: prepare() goes back to the round's
/// start.
void TokenRounds::prefetch() {
  draw_order(place_.round + 1);
  const SequencePlace place = sequence_.place();
  std::vector<int64_t> free_slots(static_cast<size_t>(sizes_.images));
  std::vector<int64_t> to_read;
  for (const Candidate& candidate : draw(free_slots)) {
    if (!candidate.kept) to_read.push_back(candidate.image);
  }
  sequence_.seek(place);
  tokens_.prefetch(to_read, place.epoch);
}

const std::vector<View<const float, 2>>& TokenRounds::batches(Stream& stream) {
  const View<const int32_t, 1> rows(order_ + place_.batch * sizes_.batch, {sizes_.batch});
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const int64_t width = taps_[tap].width;
    device_.backend().gather_rows(stream, buffers_[tap].matrix(sizes_.tokens(), width), rows,
                                  batches_[tap].matrix(sizes_.batch, width));
  }
  return batch_views_;
}

void TokenRounds::advance() {
  if (++place_.batch < sizes_.batches()) return;
  // A finished round is written as the start of the next one, so that a place has one form only.
  place_ = {place_.round + 1, sequence_.place(), 0};
  filled_ = false;
}

void TokenRounds::seek(const RoundPlace& place) {
  place_ = place;
  filled_ = false;
}

HostTensor TokenRounds::first_tokens_sync(Stream& stream, size_t tap, int64_t rows) {
  rows = std::min(rows, sizes_.tokens());
  HostTensor tokens({rows, taps_[tap].width});
  for (int64_t begin = 0; begin < rows; begin += sizes_.batch) {
    const int64_t count = std::min(sizes_.batch, rows - begin);
    auto* staged = static_cast<int32_t*>(rows_.stage());
    for (int64_t i = 0; i < count; ++i) staged[i] = static_cast<int32_t>(row_of(begin + i));
    const auto* numbers = static_cast<const int32_t*>(rows_.send(stream, staged, count * kRowBytes));
    const View<float, 2> gathered = batches_[tap].matrix(count, taps_[tap].width);
    device_.backend().gather_rows(stream, slots(tap, 0, sizes_.images), {numbers, {count}}, gathered);
    rows_to_host_sync(device_.backend(), stream, gathered, tokens.matrix().row(begin));
  }
  return tokens;
}

/// Images arrive in passes: a pass takes as many of the sequence as are still missing, and those that cannot
/// be read leave their slots to the next pass. slots_ lists the readable ones in the sequence's order
/// whatever pass they came in, so finding an image unreadable now or having known it before makes no
/// difference.
bool TokenRounds::fill(Stream& stream, const OnImages& on_images) {
  slots_.clear();
  std::vector<int64_t> free_slots(static_cast<size_t>(sizes_.images));
  std::iota(free_slots.rbegin(), free_slots.rend(), 0);
  while (!free_slots.empty()) {
    std::vector<Candidate> candidates = draw(free_slots);
    const bool go_on = read_pass(stream, candidates, on_images);
    stream.synchronize();  // a pass may read what the one before kept
    if (!go_on) return false;
    for (const Candidate& candidate : candidates) {
      (candidate.readable ? slots_ : free_slots).push_back(candidate.slot);
    }
    std::ranges::sort(free_slots, std::greater<>());
  }
  return true;
}

/// The sequence's next images, at most as many as there are free slots, all of one epoch: no image twice.
/// Those that come from one place get slots side by side, so that few copies move them.
std::vector<TokenRounds::Candidate> TokenRounds::draw(std::vector<int64_t>& free_slots) {
  std::vector<Candidate> candidates;
  const int64_t epoch = sequence_.place().epoch;
  while (candidates.size() < free_slots.size() && sequence_.place().epoch == epoch) {
    const ImageSequence::Entry entry = sequence_.next();
    if (skipped_.contains(entry.image)) continue;
    candidates.push_back({entry.image, entry.epoch, cache_->find(entry.image)});
  }
  std::vector<Candidate*> by_kind;
  for (Candidate& candidate : candidates) by_kind.push_back(&candidate);
  std::ranges::stable_sort(by_kind, {}, [](const Candidate* candidate) { return kind_of(candidate->kept); });
  for (Candidate* candidate : by_kind) {
    candidate->slot = free_slots.back();
    free_slots.pop_back();
  }
  return candidates;
}

bool TokenRounds::read_pass(Stream& stream, std::vector<Candidate>& candidates, const OnImages& on_images) {
  std::vector<int64_t> to_read;
  std::unordered_map<int64_t, Candidate*> by_image;
  Candidates on_device;
  auto done = static_cast<int64_t>(slots_.size());
  for (Candidate& candidate : candidates) {
    if (!candidate.kept) {
      to_read.push_back(candidate.image);
      by_image[candidate.image] = &candidate;
      continue;
    }
    ++done;
    if (candidate.kept->on_device) {
      on_device.push_back(&candidate);
    } else {
      place_from_host(stream, candidate);
    }
  }
  place_from_device(stream, on_device);
  if (!on_images(done, sizes_.images)) return false;
  if (to_read.empty()) return true;
  const auto on_unreadable = [&](int64_t image, const std::string& reason) {
    skipped_.add(image, reason);
    by_image.at(image)->readable = false;
  };
  return tokens_.run(
      stream, to_read, on_unreadable,
      [&](const std::vector<int64_t>& images) {
        Candidates batch;
        for (int64_t image : images) batch.push_back(by_image.at(image));
        note_norms(batch);
        place_batch(stream, batch);
        keep(stream, batch);
        forget_norms(batch);
        done += static_cast<int64_t>(images.size());
        return on_images(done, sizes_.images);
      },
      candidates.front().epoch);
}

std::vector<TokenRounds::Run> TokenRounds::runs(const Candidates& images) const {
  std::vector<Run> found;
  for (size_t i = 0; i < images.size(); ++i) {
    if (i > 0 && images[i]->slot == images[i - 1]->slot + 1) {
      ++found.back().count;
    } else {
      found.push_back({i, 1});
    }
  }
  return found;
}

View<float, 2> TokenRounds::slots(size_t tap, int64_t first, int64_t count) {
  return buffers_[tap]
      .matrix(sizes_.tokens(), taps_[tap].width)
      .rows(first * sizes_.positions, count * sizes_.positions);
}

/// The images' row numbers in a tap: all of an image's positions or a sample.
void TokenRounds::number_rows(const Candidates& images, const std::vector<int64_t>& at, size_t tap,
                              int32_t* rows) const {
  const int64_t positions = taps_[tap].positions;
  for (size_t i = 0; i < images.size(); ++i) {
    const auto first = static_cast<int32_t>(at[i] * positions);
    if (positions == sizes_.positions) {
      std::iota(rows, rows + positions, first);
    } else {
      const std::vector<int32_t> sample = positions_of(*images[i], tap);
      std::ranges::transform(sample, rows, [first](int32_t position) { return first + position; });
    }
    rows += sizes_.positions;
  }
}

/// Those of an image that train this time, where a tap has more.
std::vector<int32_t> TokenRounds::positions_of(const Candidate& image, size_t tap) const {
  const int64_t positions = taps_[tap].positions;
  if (sizes_.sample == TokenSampling::kUniform)
    return sample_positions(sizes_.positions, positions, seed_, image.epoch, image.image);
  const float* norms = norms_.at(image.image).data();
  for (size_t before = 0; before < tap; ++before) norms += taps_[before].positions;
  return sample_by_norm(sizes_.positions, {norms, static_cast<size_t>(positions)}, seed_, image.epoch,
                        image.image);
}

/// Of the batch that is being visited. Norms stay as long as their image is kept.
void TokenRounds::note_norms(const Candidates& images) {
  if (sizes_.sample == TokenSampling::kUniform) return;
  for (size_t i = 0; i < images.size(); ++i) {
    const std::span<const float> norms = tokens_.norms(static_cast<int64_t>(i));
    norms_[images[i]->image].assign(norms.begin(), norms.end());
  }
}

void TokenRounds::forget_norms(const Candidates& images) {
  if (sizes_.sample == TokenSampling::kUniform) return;
  for (const Candidate* image : images) {
    if (!cache_->find(image->image)) norms_.erase(image->image);
  }
}

/// One upload of row numbers for all taps: each further one would make the host wait for the device.
void TokenRounds::place(Stream& stream, const Candidates& images, const std::vector<int64_t>& at,
                        const std::function<View<const float, 2>(size_t tap)>& source) {
  const int64_t tokens = static_cast<int64_t>(images.size()) * sizes_.positions;
  auto* staged = static_cast<int32_t*>(rows_.stage());
  for (size_t group = 0; group < leaders_.size(); ++group) {
    number_rows(images, at, leaders_[group], staged + static_cast<int64_t>(group) * tokens);
  }
  const void* sent = rows_.send(stream, staged, static_cast<int64_t>(leaders_.size()) * tokens * kRowBytes);
  const std::vector<Run> found = runs(images);
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const auto group = static_cast<int64_t>(leader_of_[tap]);
    const View<const int32_t, 1> rows(static_cast<const int32_t*>(sent) + group * tokens, {tokens});
    for (const Run& run : found) {
      const auto begin = static_cast<int64_t>(run.begin), count = static_cast<int64_t>(run.count);
      device_.backend().gather_rows(stream, source(tap),
                                    rows.rows(begin * sizes_.positions, count * sizes_.positions),
                                    slots(tap, images[run.begin]->slot, count));
    }
  }
}

/// The batch that is being visited.
void TokenRounds::place_batch(Stream& stream, const Candidates& images) {
  std::vector<int64_t> at(images.size());
  std::iota(at.begin(), at.end(), 0);
  const auto count = static_cast<int64_t>(images.size());
  place(stream, images, at, [&](size_t tap) { return tokens_.tokens(tap, 0, count); });
}

void TokenRounds::place_from_device(Stream& stream, const Candidates& images) {
  if (images.empty()) return;
  std::vector<int64_t> at;
  for (const Candidate* image : images) at.push_back(image->kept->entry);
  place(stream, images, at, [&](size_t tap) { return cache_->device_tokens(tap); });
}

/// Straight to the slot, or by way of the positions that are wanted.
void TokenRounds::place_from_host(Stream& stream, const Candidate& image) {
  Backend& backend = device_.backend();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const View<const float, 2> kept = cache_->host_tokens(image.kept->entry, tap);
    const View<float, 2> slot = slots(tap, image.slot, 1);
    const int64_t row_bytes = kept.shape[1] * static_cast<int64_t>(sizeof(float));
    if (kept.shape[0] == sizes_.positions) {
      backend.copy_to_device(stream, slot.data, kept.data, sizes_.positions * row_bytes);
      continue;
    }
    auto* sample = static_cast<float*>(samples_->stage());
    float* next = sample;
    for (const int32_t row : positions_of(image, tap)) {
      std::memcpy(next, kept.row(row), static_cast<size_t>(row_bytes));
      next += kept.shape[1];
    }
    const void* sent = samples_->send(stream, sample, sizes_.positions * row_bytes);
    backend.copy_rows(stream, View<const float, 2>(static_cast<const float*>(sent), slot.shape), slot);
  }
}

/// Of the batch that is being visited, as many as there is room for.
void TokenRounds::keep(Stream& stream, const Candidates& images) {
  std::vector<ActivationCache::Place> places;
  for (const Candidate* image : images) {
    const std::optional<ActivationCache::Place> kept = cache_->add(image->image);
    if (!kept) break;
    places.push_back(*kept);
  }
  const auto total = static_cast<int64_t>(places.size());
  for (int64_t begin = 0, count = 0; begin < total; begin += count) {
    const ActivationCache::Place first = places[static_cast<size_t>(begin)];
    count = 1;
    while (begin + count < total && places[static_cast<size_t>(begin + count)].on_device == first.on_device)
      ++count;
    if (!first.on_device) count = cache_->host_neighbours(first.entry, count);
    keep_run(stream, first, begin, count);
  }
}

/// `count` images of the batch from number `place` on, to entries from `first` on.
void TokenRounds::keep_run(Stream& stream, ActivationCache::Place first, int64_t place, int64_t count) {
  Backend& backend = device_.backend();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const View<const float, 2> tokens = tokens_.tokens(tap, place, count);
    if (first.on_device) {
      const int64_t positions = taps_[tap].positions;
      backend.copy_rows(stream, tokens,
                        cache_->device_tokens(tap).rows(first.entry * positions, count * positions));
      continue;
    }
    const View<float, 2> packed = packed_.matrix(tokens.shape[0], tokens.shape[1]);
    backend.copy_rows(stream, tokens, packed);
    backend.copy_to_host(stream, cache_->host_tokens(first.entry, tap).data, packed.data,
                         packed.size() * static_cast<int64_t>(sizeof(float)));
  }
}

/// On a thread of its own: a permutation of the usual buffer takes as long as training on a batch or two.
void TokenRounds::draw_order(int64_t round) {
  if (drawn_round_ == round) return;
  const auto work = [tokens = sizes_.tokens(), seed = seed_, round] {
    return random_permutation(tokens, seed,
                              random_stream(RandomUse::kRoundOrder, static_cast<uint64_t>(round)));
  };
  try {
    drawn_order_ = std::async(std::launch::async, work);
  } catch (const std::system_error&) {  // no thread to be had
    drawn_order_ = std::async(std::launch::deferred, work);
  }
  drawn_round_ = round;
}

void TokenRounds::upload_order(Stream& stream) {
  const std::vector<int32_t> drawn = drawn_order_.get();
  drawn_round_ = -1;
  auto* order = static_cast<int32_t*>(orders_.stage());
  std::ranges::transform(drawn, order, [this](int32_t token) { return static_cast<int32_t>(row_of(token)); });
  order_ = static_cast<const int32_t*>(orders_.send(stream, order, sizes_.tokens() * kRowBytes));
}

/// Row in the buffers of the round's token number `token`, counted in the images' order.
int64_t TokenRounds::row_of(int64_t token) const {
  const int64_t slot = slots_[static_cast<size_t>(token / sizes_.positions)];
  return slot * sizes_.positions + token % sizes_.positions;
}

}  // namespace branchsae::model
