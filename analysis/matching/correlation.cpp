#include "analysis/matching/correlation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae {
namespace {

constexpr int64_t kBlockRows = 32;           // rows of the result a thread holds
constexpr int64_t kEntriesAtOnce = 8 << 20;  // of a's latents listed at a time: 128 MiB

void check_images(std::span<const int32_t> images, const CodeStore& codes) {
  for (int32_t image : images) {
    if (image < 0 || image >= codes.images())
      throw InputError(fmt::format("image {} of codes of {} images", image, codes.images()));
  }
}

}  // namespace

/// Entries of a range of a's latents, latent by latent, in the order of the paired images.
class CodeCorrelation::Columns {
 public:
  struct Entry {
    int64_t token = 0;  ///< place in the pairing x positions + position
    float value = 0;
  };

  Columns(const CodeStore& codes, std::span<const int32_t> images, int64_t first, int64_t count)
      : first_(first), begins_(static_cast<size_t>(count) + 1) {
    visit(codes, images, [&](int64_t, size_t latent, float) { ++begins_[latent + 1]; });
    for (size_t i = 1; i < begins_.size(); ++i) begins_[i] += begins_[i - 1];
    entries_.resize(static_cast<size_t>(begins_.back()));
    std::vector<int64_t> next(begins_.begin(), begins_.end() - 1);
    visit(codes, images, [&](int64_t token, size_t latent, float value) {
      entries_[static_cast<size_t>(next[latent]++)] = {token, value};
    });
  }

  std::span<const Entry> of(int64_t latent) const {
    const auto i = static_cast<size_t>(latent - first_);
    return {entries_.data() + begins_[i], static_cast<size_t>(begins_[i + 1] - begins_[i])};
  }

 private:
  template <class Each>
  void visit(const CodeStore& codes, std::span<const int32_t> images, const Each& each) const {
    const auto end = first_ + static_cast<int64_t>(begins_.size()) - 1;
    int64_t token = 0;
    for (int32_t image : images) {
      for (int64_t p = 0; p < codes.positions(); ++p, ++token) {
        for (const CodeEntry& entry : codes.token(image, p)) {
          if (entry.latent >= first_ && entry.latent < end)
            each(token, static_cast<size_t>(entry.latent - first_), entry.value);
        }
      }
    }
  }

  int64_t first_;
  std::vector<int64_t> begins_;
  std::vector<Entry> entries_;
};

CodeCorrelation::CodeCorrelation(const CodeStore& a, const CodeStore& b, const ImagePairing& pairing)
    : a_(&a), b_(&b), pairing_(pairing) {
  if (a.positions() != b.positions() || pairing.a.size() != pairing.b.size()) {
    throw ShapeError(fmt::format("codes of {} images at {} positions beside {} at {}: they must be equal",
                                 pairing.a.size(), a.positions(), pairing.b.size(), b.positions()));
  }
  check_images(pairing.a, a);
  check_images(pairing.b, b);
  moments_a_ = moments(a, pairing.a);
  moments_b_ = moments(b, pairing.b);
}

std::vector<CodeCorrelation::Moments> CodeCorrelation::moments(const CodeStore& codes,
                                                               std::span<const int32_t> images) const {
  std::vector<double> sums(static_cast<size_t>(codes.latents())), squares(sums);
  for (int32_t image : images) {
    for (const CodeEntry& entry : codes.image(image)) {
      const auto value = static_cast<double>(entry.value);
      sums[static_cast<size_t>(entry.latent)] += value;
      squares[static_cast<size_t>(entry.latent)] += value * value;
    }
  }
  const auto tokens = static_cast<double>(std::ssize(images) * codes.positions());
  std::vector<Moments> result(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i] == 0) continue;
    const double spread = squares[i] - sums[i] * sums[i] / tokens;
    // A latent of one value on every token leaves the rounding of two sums, which is no variation.
    const bool flat = spread <= 1e-12 * squares[i];
    result[i] = {sums[i] / tokens, flat ? 0 : std::sqrt(spread)};
  }
  return result;
}

std::vector<uint8_t> CodeCorrelation::varied(const std::vector<Moments>& moments) {
  std::vector<uint8_t> live;
  for (const Moments& latent : moments) live.push_back(latent.deviation > 0 ? 1 : 0);
  return live;
}

void CodeCorrelation::fill_row(int64_t latent, const Columns& entries, std::vector<double>& products,
                               float* r) const {
  const Moments& own = moments_a_[static_cast<size_t>(latent)];
  if (own.deviation == 0) {
    std::fill_n(r, columns(), 0.0F);
    return;
  }
  std::ranges::fill(products, 0.0);
  const int64_t positions = a_->positions();
  double sum = 0;
  for (const Columns::Entry& entry : entries.of(latent)) {
    const auto value = static_cast<double>(entry.value);
    const int32_t image = pairing_.b[static_cast<size_t>(entry.token / positions)];
    for (const CodeEntry& other : b_->token(image, entry.token % positions))
      products[static_cast<size_t>(other.latent)] += value * static_cast<double>(other.value);
    sum += value;
  }
  for (size_t j = 0; j < products.size(); ++j) {
    const Moments& other = moments_b_[j];
    const double spread = own.deviation * other.deviation;
    r[j] = spread > 0 ? static_cast<float>((products[j] - sum * other.mean) / spread) : 0.0F;
  }
}

void CodeCorrelation::for_rows(int threads, const Visit& visit) const {
  int64_t first = 0;
  while (first < rows()) {
    int64_t entries = 0, count = 0;
    while (first + count < rows() && (count == 0 || entries < kEntriesAtOnce))
      entries += a_->fired()[static_cast<size_t>(first + count++)];
    const Columns columns_of(*a_, pairing_.a, first, count);
    on_threads(threads, (count + kBlockRows - 1) / kBlockRows, [&](int64_t block) {
      const int64_t begin = first + block * kBlockRows, end = std::min(begin + kBlockRows, first + count);
      std::vector<double> products(static_cast<size_t>(columns()));
      std::vector<float> r(static_cast<size_t>((end - begin) * columns()));
      for (int64_t i = begin; i < end; ++i)
        fill_row(i, columns_of, products, r.data() + (i - begin) * columns());
      visit(begin, {r.data(), {end - begin, columns()}});
    });
    first += count;
  }
}

}  // namespace branchsae
