#include "model/state_file.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "engine/error.h"

namespace branchsae::model {
namespace fs = std::filesystem;
namespace {

struct Moment {
  const char* name;
  HostTensor SaeOptimizerState::*tensor;
  bool untied_only;
};
constexpr std::array<Moment, 8> kMoments{{{"m_W", &SaeOptimizerState::m_w, false},
                                          {"v_W", &SaeOptimizerState::v_w, false},
                                          {"m_W_dec", &SaeOptimizerState::m_w_dec, true},
                                          {"v_W_dec", &SaeOptimizerState::v_w_dec, true},
                                          {"m_b_enc", &SaeOptimizerState::m_b_enc, false},
                                          {"v_b_enc", &SaeOptimizerState::v_b_enc, false},
                                          {"m_b_pre", &SaeOptimizerState::m_b_pre, false},
                                          {"v_b_pre", &SaeOptimizerState::v_b_pre, false}}};

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw InputError(fmt::format("'{}' is no training state: {}", path.string(), why));
}

Shape moment_shape(const Moment& moment, const SaeSpec& spec) {
  const std::string name = moment.name;
  if (name.ends_with("b_enc")) return {spec.n};
  if (name.ends_with("b_pre")) return {spec.d};
  return {spec.n, spec.d};
}

template <class T>
T metadata_number(const SafeTensors& file, const std::string& key, const fs::path& path) {
  const auto found = file.metadata.find(key);
  const std::string text = found == file.metadata.end() ? "" : found->second;
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(path, fmt::format("its metadata \"{}\" is '{}', not a number", key, text));
  }
  return value;
}

std::vector<int64_t> integers(const SafeTensors& file, const std::string& name, const fs::path& path) {
  if (!file.tensors.contains(name)) fail(path, fmt::format("it lacks tensor '{}'", name));
  return file.at(name).to_int64(name);
}

}  // namespace

SafeTensors to_safetensors(const TrainState& state) {
  const SaeOptimizerState& optimizer = state.trainer.optimizer;
  SafeTensors file;
  for (const Moment& moment : kMoments) {
    const HostTensor& tensor = optimizer.*moment.tensor;
    if (!tensor.empty()) file.tensors[moment.name] = SafeTensor::from(tensor);
  }
  file.tensors["last_fired"] = SafeTensor::from(optimizer.last_fired);
  file.tensors["position"] = SafeTensor::from(
      {state.place.round, state.place.start.epoch, state.place.start.position, state.place.batch});
  file.tensors["skipped"] = SafeTensor::from(state.skipped);
  file.metadata = {{"step", fmt::format("{}", state.trainer.steps)},
                   {"tokens_seen", fmt::format("{}", optimizer.tokens_seen)},
                   {"start_norm", fmt::format("{}", state.trainer.start_norm)},
                   {"seed", fmt::format("{}", state.seed)}};
  return file;
}

TrainState load_state(const fs::path& path, const SaeSpec& spec) {
  const SafeTensors file = read_safetensors(path);
  TrainState state;
  SaeOptimizerState& optimizer = state.trainer.optimizer;
  for (const Moment& moment : kMoments) {
    if (moment.untied_only && spec.tied) continue;
    if (!file.tensors.contains(moment.name)) fail(path, fmt::format("it lacks tensor '{}'", moment.name));
    optimizer.*moment.tensor = file.at(moment.name).to_host_tensor(moment.name);
    const Shape& shape = (optimizer.*moment.tensor).shape();
    const Shape expected = moment_shape(moment, spec);
    if (shape != expected) {
      fail(path, fmt::format("its tensor '{}' has shape {} where {} is needed", moment.name, to_string(shape),
                             to_string(expected)));
    }
  }
  optimizer.last_fired = integers(file, "last_fired", path);
  if (static_cast<int64_t>(optimizer.last_fired.size()) != spec.n) {
    fail(path, fmt::format("its tensor 'last_fired' has {} values where {} are needed",
                           optimizer.last_fired.size(), spec.n));
  }
  const std::vector<int64_t> place = integers(file, "position", path);
  if (place.size() != 4) fail(path, fmt::format("its tensor 'position' has {} values, not 4", place.size()));
  state.place = {place[0], {place[1], place[2]}, place[3]};
  state.skipped = integers(file, "skipped", path);
  state.seed = metadata_number<uint64_t>(file, "seed", path);
  state.trainer.steps = metadata_number<int64_t>(file, "step", path);
  state.trainer.start_norm = metadata_number<double>(file, "start_norm", path);
  optimizer.tokens_seen = metadata_number<int64_t>(file, "tokens_seen", path);
  return state;
}

}  // namespace branchsae::model
