#include "cuda/sae/sort_pairs.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "tests/cuda/gradient_fixture.h"

using namespace branchsae::cuda;
using namespace branchsae::cuda::test;

namespace {

using Scheme = GradientOptions::Scheme;

struct Sorted {
  std::vector<int32_t> rows, latents, begin;  // group after group
  std::vector<float> z, g;
  auto all() const { return std::tuple{rows, latents, begin, z, g}; }
};

// Groups of rows as sae_desc.h describes them.
struct Group {
  bool aux;
  int32_t first, count;
};
std::vector<Group> groups(const GradientCase& c, const SaeDesc& sae) {
  std::vector<Group> result;
  for (const bool aux : {false, true}) {
    if (aux && c.aux_k == 0) continue;
    const int32_t size = sae.dw_rows > 0 ? sae.dw_rows : c.rows;
    for (int32_t first = 0; first < c.rows; first += size)
      result.push_back({aux, first, std::min(size, c.rows - first)});
  }
  return result;
}

Sorted expected_sort(const GradientCase& c, const GradientData& data, const SaeDesc& sae,
                     const std::vector<float>& g, const std::vector<float>& aux_g) {
  Sorted result;
  for (const Group& group : groups(c, sae)) {
    const int32_t k = group.aux ? c.aux_k : c.k;
    const HostSlots& slots = group.aux ? data.aux : data.main;
    std::vector<std::tuple<int32_t, int32_t, size_t>> pairs;
    for (int32_t t = group.first; t < group.first + group.count; ++t) {
      for (int32_t s = 0; s < k; ++s) {
        const auto at = static_cast<size_t>(t * k + s);
        if (slots.indices[at] >= 0) pairs.emplace_back(slots.indices[at], t, at);
      }
    }
    std::sort(pairs.begin(), pairs.end());
    const int32_t base = (group.aux ? c.max_batch * c.k : 0) + group.first * k;
    size_t place = 0;
    for (int32_t i = 0; i <= c.n; ++i) {
      while (place < pairs.size() && std::get<0>(pairs[place]) < i) ++place;
      result.begin.push_back(base + static_cast<int32_t>(place));
    }
    for (const auto& [latent, row, at] : pairs) {
      result.latents.push_back(latent);
      result.rows.push_back((group.aux ? sae.rows_padded : 0) + row);
      result.z.push_back(slots.values[at]);
      result.g.push_back((group.aux ? aux_g : g)[at]);
    }
  }
  return result;
}

Sorted device_sort(const GradientCase& c, const DeviceGradient& device) {
  const SaeDesc& sae = device.sae;
  const auto all = device.read(sae.pairs, int64_t{c.max_batch} * (c.k + c.aux_k));
  Sorted result;
  for (const Group& group : groups(c, sae)) {
    const int32_t index =
        (group.aux ? sae.main_groups : 0) + (sae.dw_rows > 0 ? group.first / sae.dw_rows : 0);
    const auto begin = device.read(sae.pair_begin + int64_t{index} * (c.n + 1), c.n + 1);
    result.begin.insert(result.begin.end(), begin.begin(), begin.end());
    for (int32_t p = begin.front(); p < begin.back(); ++p) {
      const Pair& pair = all.at(static_cast<size_t>(p));
      result.rows.push_back(pair.row);
      result.latents.push_back(pair.latent);
      result.z.push_back(pair.z);
      result.g.push_back(pair.g);
    }
  }
  return result;
}

void check_case(const GradientCase& c, const GradientData& data) {
  INFO("n ", c.n, " k ", c.k, " rows ", c.rows, " of ", c.max_batch, " aux ", c.aux_k, " dw_rows ",
       c.options.dw_rows);
  std::vector<float> g(data.main.indices.size()), aux_g(data.aux.indices.size());
  for (size_t i = 0; i < g.size(); ++i) g[i] = static_cast<float>(i);
  for (size_t i = 0; i < aux_g.size(); ++i) aux_g[i] = -static_cast<float>(i);
  Sorted expected;
  const auto sorted = in_every_order([&] {
    DeviceGradient device(c, data);
    device.set_pair_gradients(g, aux_g);
    device.sort();
    expected = expected_sort(c, data, device.sae, g, aux_g);
    return device_sort(c, device).all();
  });
  CHECK(sorted == expected.all());
}

std::vector<GradientOptions> schemes() {
  return {{.scheme = Scheme::kGather},
          {.scheme = Scheme::kTile, .dw_rows = 256},
          {.scheme = Scheme::kTile, .dw_rows = 512}};
}

}  // namespace

TEST_CASE("sort_pairs: by latent, rows in order, in either scheme") {
  for (const GradientOptions& options : schemes()) {
    for (const int32_t k : {1, 32, 64, 100}) {
      const GradientCase c{.d = 16, .n = 300, .k = k, .rows = 700, .max_batch = 800, .options = options};
      check_case(c, integer_data(c, 1));
    }
  }
}

TEST_CASE("sort_pairs: more latents than one block takes") {
  for (const GradientOptions& options : schemes()) {
    for (const int32_t n : {255, 256, 2048, 2049, 5000}) {
      const GradientCase c{.d = 1, .n = n, .k = 8, .rows = 300, .max_batch = 300, .options = options};
      check_case(c, integer_data(c, 2));
    }
  }
}

TEST_CASE("sort_pairs: ragged batches, and batches much smaller than the largest") {
  for (const GradientOptions& options : schemes()) {
    for (const int32_t rows : {1, 255, 256, 257, 600}) {
      const GradientCase c{.d = 16, .n = 64, .k = 4, .rows = rows, .max_batch = 1000, .options = options};
      check_case(c, integer_data(c, 3));
    }
  }
}

TEST_CASE("sort_pairs: AuxK's pairs make groups of their own") {
  for (const GradientOptions& options : schemes()) {
    for (const int32_t aux_k : {1, 40}) {
      const GradientCase c{
          .d = 16, .n = 100, .k = 32, .rows = 400, .max_batch = 520, .aux_k = aux_k, .options = options};
      check_case(c, integer_data(c, 4));
    }
  }
}

TEST_CASE("sort_pairs: a latent in every row, latents in none, no pairs at all") {
  for (const GradientOptions& options : schemes()) {
    const GradientCase c{.d = 16, .n = 3000, .k = 2, .rows = 600, .max_batch = 600, .options = options};
    GradientData data = integer_data(c, 5);
    for (size_t t = 0; t < 600; ++t) {
      data.main.indices[2 * t] = 7;
      data.main.indices[2 * t + 1] = 2500;
    }
    check_case(c, data);
    check_case(c, integer_data(c, 5, 0.0));
  }
}
