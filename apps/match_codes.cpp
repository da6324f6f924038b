#include "apps/match_codes.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/signals.h"
#include "engine/error.h"
#include "engine/random.h"

namespace branchsae::apps {
namespace {

constexpr int64_t kUsualBytes = int64_t{1} << 30;
constexpr uint64_t kPositionStream = 0x706f73;

/// Bytes of all members' codes for one token each.
int64_t bytes_a_token(const CodePass& pass, size_t members) {
  int64_t bytes = 0;
  for (size_t i = 0; i < members; ++i) {
    for (int64_t k : pass.ks(i)) bytes += CodeStore::bytes(1, k);
  }
  return bytes;
}

int64_t most_positions(const CodePass& pass, size_t members) {
  int64_t most = 0;
  for (size_t i = 0; i < members; ++i) most = std::max(most, pass.tokens_per_image(i));
  return most;
}

int64_t chosen_positions(const Context& context, const CodePass& pass, const MatchInput& input,
                         int64_t asked) {
  const size_t members = input.members.size();
  const int64_t all = most_positions(pass, members), images = input.run.images->size();
  const int64_t token = images * bytes_a_token(pass, members);
  const int64_t limit = context.common.max_memory > 0 ? context.common.max_memory : kUsualBytes;
  if (asked > 0) {
    const int64_t positions = std::min(asked, all);
    if (context.common.max_memory > 0 && token * positions > limit) {
      throw InputError(fmt::format("codes at {} positions of {} images take up to {}, --max-memory is {}",
                                   positions, images, as_bytes(token * positions), as_bytes(limit)));
    }
    return positions;
  }
  const int64_t positions = std::clamp(limit / token, int64_t{1}, all);
  if (positions < all) {
    info(
        fmt::format("codes at {} of {} positions of an image, which keeps them within {} (--positions, "
                    "--max-memory)",
                    positions, all, as_bytes(limit)));
  }
  return positions;
}

/// Ascending; the same for every image, so that the shuffled null compares equal places too.
std::vector<int64_t> drawn_positions(int64_t count, int64_t of, uint64_t seed) {
  const std::vector<int32_t> order = random_permutation(of, seed, kPositionStream);
  std::vector<int64_t> drawn(order.begin(), order.begin() + std::min(count, of));
  std::ranges::sort(drawn);
  return drawn;
}

/// One member's part of the pass.
class Recorder {
 public:
  /// kept: positions of an image.
  Recorder(const SaeFile& sae, std::vector<int64_t> ks, int64_t kept, int64_t images)
      : squares_(static_cast<size_t>(sae.spec.d)) {
    member_.ks = std::move(ks);
    for (int64_t k : member_.ks) {
      member_.codes.emplace_back(sae.spec.n, kept);
      member_.codes.back().reserve(images * kept, k);
    }
  }

  void add(const CodeBatch& batch) {
    const auto place = std::ranges::find(member_.ks, batch.k) - member_.ks.begin();
    CodeStore& codes = member_.codes[static_cast<size_t>(place)];
    for (size_t image = 0; image < batch.images.size(); ++image) {
      codes.add_image(batch.values.rows(batch.first(image), batch.codes_per_image),
                      batch.indices.rows(batch.first(image), batch.codes_per_image));
    }
    if (place == 0) add_energy(batch.tokens);
  }

  MatchCodes::Member finish() && {
    for (double sum : squares_)
      member_.channel_energy.push_back(sum / static_cast<double>(std::max<int64_t>(tokens_, 1)));
    return std::move(member_);
  }

 private:
  void add_energy(View<const float, 2> tokens) {
    tokens_ += tokens.shape[0];
    for (int64_t t = 0; t < tokens.shape[0]; ++t) {
      for (size_t c = 0; c < squares_.size(); ++c) {
        const auto value = static_cast<double>(tokens(t, static_cast<int64_t>(c)));
        squares_[c] += value * value;
      }
    }
  }

  MatchCodes::Member member_;
  std::vector<double> squares_;
  int64_t tokens_ = 0;
};

}  // namespace

MatchCodes read_codes(const Context& context, const Device& device, const MatchInput& input,
                      int64_t positions) {
  CodePass pass(device, input.run.graph, *input.run.images, input.saes, input.options);
  const int64_t kept = chosen_positions(context, pass, input, positions);
  const int64_t images = input.run.images->size();
  std::vector<Recorder> recorders;
  for (size_t i = 0; i < input.members.size(); ++i) {
    auto drawn = drawn_positions(kept, pass.tokens_per_image(i), static_cast<uint64_t>(context.common.seed));
    recorders.emplace_back(input.saes[i], pass.ks(i), std::ssize(drawn), images);
    pass.encode_only(i, std::move(drawn));
  }
  MatchCodes codes;
  {
    ScanProgress progress(context, "match", images);
    const CodePassResult result = pass.run(
        [&](const CodeBatch& batch) {
          recorders[batch.sae].add(batch);
          const bool first = batch.sae == 0 && batch.k == pass.ks(0).front();
          for (size_t i = 0; first && input.labels.synsets && i < batch.images.size(); ++i)
            codes.class_of.push_back(input.labels.synsets->synset(static_cast<int32_t>(batch.images[i])));
        },
        progress.next_pass());
    codes.skipped = result.skipped;
  }
  check_stop();
  for (Recorder& recorder : recorders) codes.members.push_back(std::move(recorder).finish());
  codes.of_positions = most_positions(pass, input.members.size());
  codes.positions = kept;
  return codes;
}

}  // namespace branchsae::apps
