#include "cpu/network/lane.h"

#include <algorithm>

#include "cpu/memory.h"
#include "cpu/network/input.h"

namespace branchsae::cpu {
namespace {

int64_t largest_scratch(const std::vector<LayerPtr>& layers) {
  int64_t size_bytes = 0;
  for (const LayerPtr& layer : layers) size_bytes = std::max(size_bytes, layer->scratch_bytes());
  return size_bytes;
}

}  // namespace

Lane::Lane(const CompiledNetwork& network, std::vector<LayerPtr> layers)
    : layers_(std::move(layers)),
      arena_(allocate_host(network.plan.size_bytes(), "activations")),
      scratch_(allocate_host(largest_scratch(layers_), "scratch")) {
  const Addresses addresses{.arena = static_cast<std::byte*>(arena_.data()),
                            .scratch = static_cast<std::byte*>(scratch_.data()),
                            .plan = &network.plan};
  input_ = addresses.at(network.input);
  write_input(View<const float, 4>(), input_);  // zeros, for a profile before the first run
  for (const LayerPtr& layer : layers_) layer->bind(addresses);
}

void Lane::run(const Chunk& chunk) {
  chunk_ = chunk;
  for (const LayerPtr& layer : layers_) layer->run(chunk);
}

}  // namespace branchsae::cpu
