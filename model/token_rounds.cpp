#include "model/token_rounds.h"

#include <algorithm>
#include <numeric>

#include "engine/random.h"
#include "model/device_rows.h"

namespace branchsae::model {
namespace {

std::vector<TapExtent> extents(const ImageForward& forward) {
  std::vector<TapExtent> taps;
  for (size_t tap = 0; tap < forward.taps().size(); ++tap) {
    taps.push_back({forward.positions(tap), forward.taps()[tap].width()});
  }
  return taps;
}

int64_t largest_width(const std::vector<TapExtent>& taps) {
  return std::ranges::max_element(taps, {}, &TapExtent::width)->width;
}

int64_t largest_image(const std::vector<TapExtent>& taps) {
  int64_t largest = 0;
  for (const TapExtent& tap : taps) largest = std::max(largest, tap.positions * tap.width);
  return largest;
}

}  // namespace

std::vector<int32_t> sample_positions(int64_t count, int64_t total, uint64_t seed, int64_t epoch,
                                      int64_t image) {
  std::vector<int32_t> positions(static_cast<size_t>(total));
  std::iota(positions.begin(), positions.end(), 0);
  // 24 bits of epoch beside 32 of image: a repeat after 16 million epochs does no harm.
  Random random(seed, random_stream(RandomUse::kPositions,
                                    static_cast<uint64_t>(epoch) << 32 | static_cast<uint64_t>(image)));
  for (int64_t i = 0; i < count; ++i) {
    const auto drawn = static_cast<size_t>(i) + random.below(static_cast<uint64_t>(total - i));
    std::swap(positions[static_cast<size_t>(i)], positions[drawn]);
  }
  positions.resize(static_cast<size_t>(count));
  std::ranges::sort(positions);
  return positions;
}

int64_t TokenRounds::buffer_bytes(const RoundSizes& sizes, const std::vector<TapExtent>& taps) {
  int64_t floats = sizes.batch * largest_width(taps) + sizes.tokens();
  for (const TapExtent& tap : taps) floats += sizes.tokens() * tap.width;
  return floats * static_cast<int64_t>(sizeof(float));
}

TokenRounds::TokenRounds(const Device& device, ImageForward& forward, SkippedImages& skipped,
                         ImageSequence sequence, const RoundSizes& sizes, uint64_t seed, int64_t cache_bytes)
    : device_(device),
      forward_(forward),
      skipped_(skipped),
      sequence_(std::move(sequence)),
      sizes_(sizes),
      seed_(seed),
      taps_(extents(forward)),
      cache_(taps_, cache_bytes) {
  Backend& backend = device_.backend();
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    buffers_.push_back(backend.buffer<float>(sizes.tokens() * taps_[tap].width,
                                             "token buffer of " + forward.taps()[tap].name));
  }
  batch_ = backend.buffer<float>(sizes.batch * largest_width(taps_), "batch of tokens");
  order_ = backend.buffer<int32_t>(sizes.tokens(), "order of tokens");
  rows_ = backend.buffer<int32_t>(sizes.positions, "sampled positions");
  if (!backend.is_host()) staged_ = backend.buffer<float>(largest_image(taps_), "cached tokens");
}

bool TokenRounds::prepare(Stream& stream, const OnImages& on_images) {
  if (filled_) return true;
  sequence_.seek(place_.start);
  if (!fill(stream, on_images)) return false;
  upload_order(stream);
  filled_ = true;
  return true;
}

View<const float, 2> TokenRounds::batch(Stream& stream, size_t tap) {
  const View<float, 2> gathered = batch_.matrix(sizes_.batch, taps_[tap].width);
  device_.backend().gather_rows(stream, buffers_[tap].matrix(sizes_.tokens(), taps_[tap].width),
                                order_.view().rows(place_.batch * sizes_.batch, sizes_.batch), gathered);
  return gathered;
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

View<const float, 2> TokenRounds::first_tokens(Stream& stream, size_t tap, int64_t rows,
                                               DeviceBuffer<float>& storage) {
  rows = std::min(rows, sizes_.tokens());
  std::vector<int32_t> order(static_cast<size_t>(rows));
  for (int64_t token = 0; token < rows; ++token) {
    order[static_cast<size_t>(token)] = static_cast<int32_t>(row_of(token));
  }
  Backend& backend = device_.backend();
  auto device_order = backend.buffer<int32_t>(rows, "first tokens");
  backend.copy_to_device(stream, device_order.data(), order.data(),
                         rows * static_cast<int64_t>(sizeof(int32_t)));
  storage = backend.buffer<float>(rows * taps_[tap].width, "first tokens");
  const View<float, 2> gathered = storage.matrix(rows, taps_[tap].width);
  backend.gather_rows(stream, buffers_[tap].matrix(sizes_.tokens(), taps_[tap].width), device_order.view(),
                      gathered);
  stream.synchronize();
  return gathered;
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
    if (!read_pass(stream, candidates, on_images)) return false;
    for (const Candidate& candidate : candidates) {
      (candidate.readable ? slots_ : free_slots).push_back(candidate.slot);
    }
  }
  return true;
}

/// The sequence's next images, at most as many as there are free slots, all of one epoch: no image twice.
std::vector<TokenRounds::Candidate> TokenRounds::draw(std::vector<int64_t>& free_slots) {
  std::vector<Candidate> candidates;
  const int64_t epoch = sequence_.place().epoch;
  while (!free_slots.empty() && sequence_.place().epoch == epoch) {
    const ImageSequence::Entry entry = sequence_.next();
    if (skipped_.contains(entry.image)) continue;
    candidates.push_back({entry.image, entry.epoch, free_slots.back()});
    free_slots.pop_back();
  }
  return candidates;
}

bool TokenRounds::read_pass(Stream& stream, std::vector<Candidate>& candidates, const OnImages& on_images) {
  std::vector<int64_t> to_read;
  std::unordered_map<int64_t, Candidate*> by_image;
  auto done = static_cast<int64_t>(slots_.size());
  for (Candidate& candidate : candidates) {
    if (cache_.contains(candidate.image)) {
      place_cached(stream, candidate);
      ++done;
    } else {
      to_read.push_back(candidate.image);
      by_image[candidate.image] = &candidate;
    }
  }
  if (!on_images(done, sizes_.images)) return false;
  if (to_read.empty()) return true;
  const auto on_unreadable = [&](int64_t image, const std::string& reason) {
    skipped_.add(image, reason);
    by_image.at(image)->readable = false;
  };
  return forward_.run(stream, to_read, on_unreadable, [&](const std::vector<int64_t>& images) {
    for (size_t i = 0; i < images.size(); ++i) {
      place_forwarded(stream, *by_image.at(images[i]), static_cast<int64_t>(i));
    }
    done += static_cast<int64_t>(images.size());
    return on_images(done, sizes_.images);
  });
}

void TokenRounds::place_forwarded(Stream& stream, const Candidate& candidate, int64_t place) {
  const bool keep = cache_.has_room();
  if (keep) cache_.add(candidate.image);
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const View<const float, 2> tokens = forward_.tokens(tap, place);
    place_tokens(stream, candidate, tap, tokens);
    if (!keep) continue;
    const View<float, 2> kept = cache_.tokens(candidate.image, tap);
    if (device_.backend().is_host()) {
      device_.backend().copy_rows(stream, tokens, kept);
    } else {
      const View<float, 2> packed = staged_.matrix(tokens.shape[0], tokens.shape[1]);
      device_.backend().copy_rows(stream, tokens, packed);
      rows_to_host_sync(device_.backend(), stream, packed, kept.data);
    }
  }
}

void TokenRounds::place_cached(Stream& stream, const Candidate& candidate) {
  for (size_t tap = 0; tap < taps_.size(); ++tap) {
    const View<float, 2> kept = cache_.tokens(candidate.image, tap);
    if (device_.backend().is_host()) {
      place_tokens(stream, candidate, tap, kept);
      continue;
    }
    const View<float, 2> staged = staged_.matrix(kept.shape[0], kept.shape[1]);
    device_.backend().copy_to_device(stream, staged.data, kept.data,
                                     kept.size() * static_cast<int64_t>(sizeof(float)));
    place_tokens(stream, candidate, tap, staged);
  }
}

/// Copies one image's tokens, all or a sample, to its slot.
void TokenRounds::place_tokens(Stream& stream, const Candidate& candidate, size_t tap,
                               View<const float, 2> tokens) {
  const View<float, 2> slot = buffers_[tap]
                                  .matrix(sizes_.tokens(), taps_[tap].width)
                                  .rows(candidate.slot * sizes_.positions, sizes_.positions);
  if (tokens.shape[0] == sizes_.positions) {
    device_.backend().copy_rows(stream, tokens, slot);
    return;
  }
  const std::vector<int32_t> rows =
      sample_positions(sizes_.positions, tokens.shape[0], seed_, candidate.epoch, candidate.image);
  device_.backend().copy_to_device(stream, rows_.data(), rows.data(),
                                   sizes_.positions * static_cast<int64_t>(sizeof(int32_t)));
  device_.backend().gather_rows(stream, tokens, rows_.view(), slot);
  stream.synchronize();  // `rows` goes
}

void TokenRounds::upload_order(Stream& stream) {
  const auto round = static_cast<uint64_t>(place_.round);
  std::vector<int32_t> order =
      random_permutation(sizes_.tokens(), seed_, random_stream(RandomUse::kRoundOrder, round));
  for (int32_t& token : order) token = static_cast<int32_t>(row_of(token));
  device_.backend().copy_to_device(stream, order_.data(), order.data(),
                                   sizes_.tokens() * static_cast<int64_t>(sizeof(int32_t)));
  stream.synchronize();  // `order` goes
}

/// Row in the buffers of the round's token number `token`, counted in the images' order.
int64_t TokenRounds::row_of(int64_t token) const {
  const int64_t slot = slots_[static_cast<size_t>(token / sizes_.positions)];
  return slot * sizes_.positions + token % sizes_.positions;
}

}  // namespace branchsae::model
