#pragma once
/// Steps of several autoencoders with launches in common: at every stage one launch for all that take the
/// same variant of its kernel. An autoencoder's bits are those of its own step.
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "cuda/event.h"
#include "cuda/sae/cuda_sae.h"
#include "cuda/sae/sae_launches.h"

namespace branchsae::cuda {

/// Keeps the launches of the groups it has seen last; the first step of a new group allocates.
class SaeGroups {
 public:
  explicit SaeGroups(int device) : device_(device) {}

  /// As Backend::step_group. Nothing is enqueued when a shape is wrong. Throws DeviceError for executors of
  /// another device.
  void step(Stream& stream, std::span<SaeExecutor* const> saes, std::span<const View<const float, 2>> tokens,
            std::span<const SaeStep> steps);

 private:
  struct Group {
    std::vector<std::weak_ptr<const void>> members;
    std::vector<int64_t> versions;  ///< of the descriptions that `launches` has
    std::unique_ptr<SaeLaunches> launches;
    std::shared_ptr<CudaEvent> done;
  };
  Group& group_of(std::span<CudaSae* const> saes);

  int device_;
  std::list<Group> groups_;  ///< the last used first
};

}  // namespace branchsae::cuda
