#include "cuda/sae/sae_groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/device.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

constexpr size_t kMostGroups = 8;

std::vector<CudaSae*> members_of(std::span<SaeExecutor* const> saes, int device) {
  std::vector<CudaSae*> members;
  for (SaeExecutor* sae : saes) {
    auto* member = dynamic_cast<CudaSae*>(sae);
    if (member == nullptr || member->device() != device)
      throw DeviceError(fmt::format("cuda:{} was given an autoencoder of another device", device));
    members.push_back(member);
  }
  return members;
}

bool all_different(std::vector<CudaSae*> saes) {
  std::sort(saes.begin(), saes.end());
  return std::adjacent_find(saes.begin(), saes.end()) == saes.end();
}

std::vector<SaeDesc> descriptions_of(std::span<CudaSae* const> saes) {
  std::vector<SaeDesc> descriptions;
  for (const CudaSae* sae : saes) descriptions.push_back(sae->training_description());
  return descriptions;
}

std::vector<int64_t> versions_of(std::span<CudaSae* const> saes) {
  std::vector<int64_t> versions;
  for (const CudaSae* sae : saes) versions.push_back(sae->version());
  return versions;
}

}  // namespace

SaeGroups::Group& SaeGroups::group_of(std::span<CudaSae* const> saes) {
  std::erase_if(groups_, [](const Group& group) {
    return std::ranges::any_of(group.members, [](const auto& member) { return member.expired(); });
  });
  const auto same = [&](const Group& group) {
    return std::ranges::equal(group.members, saes, [](const auto& member, const CudaSae* sae) {
      return member.lock() == sae->life().lock();
    });
  };
  const auto found = std::ranges::find_if(groups_, same);
  if (found != groups_.end()) {
    groups_.splice(groups_.begin(), groups_, found);
    return groups_.front();
  }
  Group group;
  for (const CudaSae* sae : saes) group.members.push_back(sae->life());
  group.versions = versions_of(saes);
  group.launches = std::make_unique<SaeLaunches>(device_, descriptions_of(saes));
  group.done = std::make_shared<CudaEvent>();
  groups_.push_front(std::move(group));
  if (groups_.size() > kMostGroups) groups_.pop_back();
  return groups_.front();
}

void SaeGroups::step(Stream& stream, std::span<SaeExecutor* const> saes,
                     std::span<const View<const float, 2>> tokens, std::span<const SaeStep> steps) {
  if (saes.size() != tokens.size() || saes.size() != steps.size()) {
    throw ShapeError(fmt::format("a group step of {} autoencoders was given {} batches and {} settings",
                                 saes.size(), tokens.size(), steps.size()));
  }
  const std::vector<CudaSae*> members = members_of(saes, device_);
  if (members.size() < 2 || !all_different(members)) {
    for (size_t i = 0; i < saes.size(); ++i) saes[i]->step(stream, tokens[i], steps[i]);
    return;
  }
  std::vector<SaeBatch> batches;
  for (size_t i = 0; i < members.size(); ++i) batches.push_back(members[i]->batch_of(tokens[i], steps[i]));
  const cudaStream_t to = cuda_stream(stream, device_).handle();
  const CurrentDevice current(device_);
  Group& group = group_of(members);
  const CudaEvent* waited = nullptr;  // members that were stepped together have one event
  for (const CudaSae* member : members) {
    if (member->last_use() != waited) member->begin_use(to);
    waited = member->last_use();
  }
  if (const std::vector<int64_t> versions = versions_of(members); versions != group.versions) {
    group.launches->describe(to, descriptions_of(members));
    group.versions = versions;
  }
  for (size_t i = 0; i < members.size(); ++i) members[i]->end_use(group.done, &steps[i]);
  try {
    group.launches->set_batches(to, batches);
    group.launches->step(to);
  } catch (...) {
    group.done->record_quietly(to);
    throw;
  }
  group.done->record(to);
}

}  // namespace branchsae::cuda
