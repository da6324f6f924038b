#include "model/sae_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "engine/error.h"

namespace branchsae {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw InputError(fmt::format("'{}' is no autoencoder of this program: {}", path.string(), why));
}

std::string metadata(const SafeTensors& file, const std::string& key, const fs::path& path) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) fail(path, fmt::format("its metadata lacks \"{}\"", key));
  return found->second;
}

template <class T>
T number(const SafeTensors& file, const std::string& key, const fs::path& path) {
  const std::string text = metadata(file, key, path);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(path, fmt::format("its metadata \"{}\" is '{}', not a number", key, text));
  }
  return value;
}

bool choice(const SafeTensors& file, const std::string& key, const char* yes, const char* no,
            const fs::path& path) {
  const std::string text = metadata(file, key, path);
  if (text != yes && text != no) {
    fail(path, fmt::format("its metadata \"{}\" is '{}', not {} or {}", key, text, yes, no));
  }
  return text == yes;
}

HostTensor tensor(const SafeTensors& file, const std::string& name, const Shape& shape,
                  const fs::path& path) {
  if (!file.tensors.contains(name)) fail(path, fmt::format("it lacks tensor '{}'", name));
  const SafeTensor& stored = file.at(name);
  if (stored.dtype != "F32") fail(path, fmt::format("its tensor '{}' is {}, not F32", name, stored.dtype));
  if (stored.shape != shape) {
    fail(path, fmt::format("its tensor '{}' has shape {} where {} is needed", name, to_string(stored.shape),
                           to_string(shape)));
  }
  HostTensor values = stored.to_host_tensor(name);
  for (int64_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      fail(path, fmt::format("its tensor '{}' has {} at {}", name, values[i], i));
  }
  return values;
}

}  // namespace

SafeTensors to_safetensors(const SaeFile& sae) {
  SafeTensors file;
  file.tensors["W"] = SafeTensor::from(sae.parameters.w);
  file.tensors["b_enc"] = SafeTensor::from(sae.parameters.b_enc);
  file.tensors["b_pre"] = SafeTensor::from(sae.parameters.b_pre);
  if (!sae.spec.tied) file.tensors["W_dec"] = SafeTensor::from(sae.parameters.w_dec);
  file.metadata = {
      {"scale", fmt::format("{}", sae.parameters.scale)},  // shortest text that reads back the same
      {"k", fmt::format("{}", sae.spec.k)},
      {"tap", sae.tap},
      {"tied", sae.spec.tied ? "true" : "false"},
      {"decoder_norm", sae.spec.unit_norm ? "unit" : "free"},
      {"model_sha256", sae.model_sha256},
      {"preprocess", sae.preprocess}};
  return file;
}

void save_sae(const fs::path& path, const SaeFile& sae) {
  write_safetensors(path, to_safetensors(sae));
}

SaeFile load_sae(const fs::path& path) {
  const SafeTensors file = read_safetensors(path);
  if (!file.tensors.contains("W")) fail(path, "it lacks tensor 'W'");
  const Shape& shape = file.at("W").shape;
  if (shape.size() != 2) fail(path, fmt::format("its tensor 'W' has shape {}, not [n, d]", to_string(shape)));
  SaeFile sae;
  sae.spec.n = shape[0];
  sae.spec.d = shape[1];
  sae.spec.k = number<int64_t>(file, "k", path);
  sae.spec.tied = choice(file, "tied", "true", "false", path);
  sae.spec.unit_norm = choice(file, "decoder_norm", "unit", "free", path);
  try {
    check_spec(sae.spec);
  } catch (const InputError& error) {
    fail(path, error.what());
  }
  sae.tap = metadata(file, "tap", path);
  sae.model_sha256 = metadata(file, "model_sha256", path);
  sae.preprocess = metadata(file, "preprocess", path);
  sae.parameters.scale = number<float>(file, "scale", path);
  if (!std::isfinite(sae.parameters.scale) || sae.parameters.scale <= 0) {
    fail(path, fmt::format("its scale is {}, not a positive number", sae.parameters.scale));
  }
  sae.parameters.w = tensor(file, "W", {sae.spec.n, sae.spec.d}, path);
  sae.parameters.b_enc = tensor(file, "b_enc", {sae.spec.n}, path);
  sae.parameters.b_pre = tensor(file, "b_pre", {sae.spec.d}, path);
  if (!sae.spec.tied) sae.parameters.w_dec = tensor(file, "W_dec", {sae.spec.n, sae.spec.d}, path);
  return sae;
}

std::unique_ptr<SaeExecutor> make_executor(const Device& device, const SaeFile& sae, int64_t max_batch,
                                           std::optional<SaePrecision> precision) {
  SaeSpec spec = sae.spec;
  spec.max_batch = max_batch;
  spec.aux_k = 0;
  spec.precision = precision.value_or(sae.spec.precision);
  auto executor = device.backend().make_sae(spec);
  executor->load_sync(sae.parameters);
  return executor;
}

}  // namespace branchsae
