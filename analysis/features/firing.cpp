#include "analysis/features/firing.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace branchsae {

std::vector<FiringLatent> firing_latents(const CodeBatch& batch, size_t place, std::array<int64_t, 2> grid) {
  const int64_t first = batch.first(place), positions = batch.tokens_per_image;
  std::map<int32_t, std::vector<float>> maps;
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t slot = 0; slot < batch.k; ++slot) {
      const float value = batch.values(first + p, slot);
      if (batch.indices(first + p, slot) < 0 || !(value > 0)) continue;
      std::vector<float>& map = maps[batch.indices(first + p, slot)];
      map.resize(static_cast<size_t>(positions));
      map[static_cast<size_t>(p)] = value;
    }
  }
  std::vector<FiringLatent> firing;
  for (auto& [latent, z] : maps) {
    const auto highest = std::ranges::max_element(z);
    const int64_t position = highest - z.begin();
    const auto fired = std::ranges::count_if(z, [](float value) { return value > 0; });
    firing.push_back({latent, *highest, position / grid[1], position % grid[1],
                      static_cast<double>(fired) / static_cast<double>(positions), std::move(z)});
  }
  std::ranges::sort(firing, {}, [](const FiringLatent& f) { return std::tuple(-f.max, f.latent); });
  return firing;
}

}  // namespace branchsae
