#include "tests/cuda/encode_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/random.h"
#include "tests/cuda/gradient_fixture.h"

namespace branchsae::cuda::test {
namespace {

int32_t round_up(int32_t value, int32_t step) {
  return (value + step - 1) / step * step;
}
std::size_t size(int64_t count) {
  return static_cast<std::size_t>(count);
}

float as_read(Precision precision, float value) {
  if (precision == Precision::kBf16) return round_bf16(value);
  if (precision == Precision::kF32) return value;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000U) & 0xffffe000U);
}

/// [rows, d] padded to [padded_rows, d_padded]: channels with zeros, rows with `fill`.
std::vector<float> padded(const std::vector<float>& from, int64_t rows, int64_t d, int64_t padded_rows,
                          int64_t d_padded, float fill) {
  std::vector<float> to(size(padded_rows * d_padded), fill);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < d_padded; ++j) to[size(r * d_padded + j)] = j < d ? from[size(r * d + j)] : 0.0F;
  }
  return to;
}

std::vector<uint16_t> bits_of(const std::vector<float>& values) {
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), bf16_bits);
  return bits;
}

}  // namespace

std::string name(const EncodeCase& c) {
  static constexpr const char* kNames[] = {"f32", "tf32", "bf16"};
  return std::string(kNames[static_cast<int>(c.precision)]) + " d " + std::to_string(c.d) + " n " +
         std::to_string(c.n) + " k " + std::to_string(c.k) + " rows " + std::to_string(c.rows);
}

std::vector<double> EncodeData::pre_activations(const EncodeCase& c, int64_t row) const {
  std::vector<double> u(size(c.n));
  for (int64_t i = 0; i < c.n; ++i) {
    double sum = b_enc[size(i)];
    for (int64_t j = 0; j < c.d; ++j)
      sum += static_cast<double>(x[size(row * c.d + j)]) * static_cast<double>(w[size(i * c.d + j)]);
    u[size(i)] = sum;
  }
  return u;
}

EncodeData integer_data(const EncodeCase& c, uint64_t seed) {
  Random random(seed, 1);
  const auto integers = [&](int64_t count, int64_t most) {
    std::vector<float> values(size(count));
    for (float& value : values)
      value = static_cast<float>(static_cast<int64_t>(random.below(2 * most + 1)) - most);
    return values;
  };
  return {integers(int64_t{c.rows} * c.d, 3), integers(int64_t{c.n} * c.d, 3), integers(c.n, 20), {}};
}

EncodeData real_data(const EncodeCase& c, uint64_t seed) {
  Random random(seed, 2);
  const auto normals = [&](int64_t count, double scale, Precision precision) {
    std::vector<float> values(size(count));
    for (float& value : values) value = as_read(precision, static_cast<float>(scale * random.normal()));
    return values;
  };
  return {normals(int64_t{c.rows} * c.d, 1, c.precision),
          normals(int64_t{c.n} * c.d, 1 / std::sqrt(c.d), c.precision),
          normals(c.n, 0.1, Precision::kF32),
          {}};
}

EncodeData given_pre_activations(const EncodeCase& c, const std::vector<float>& u) {
  EncodeData data;
  data.x.resize(size(int64_t{c.rows} * c.d));
  data.w.resize(size(int64_t{c.n} * c.d));
  data.b_enc.resize(size(c.n));
  for (int64_t t = 0; t < c.rows; ++t) {
    data.x[size(t * c.d + t)] = 1;
    for (int64_t i = 0; i < c.n; ++i) data.w[size(i * c.d + t)] = u[size(t * c.n + i)];
  }
  return data;
}

Selected expected(const EncodeCase& c, const EncodeData& data, int32_t k, bool dead) {
  Selected result;
  for (int64_t t = 0; t < c.rows; ++t) {
    std::vector<double> u = data.pre_activations(c, t);
    std::vector<char> wanted(u.size(), dead ? 0 : 1);
    for (const int32_t latent : data.dead) wanted[size(latent)] = 1;
    for (std::size_t i = 0; i < u.size(); ++i) {
      if (wanted[i] == 0) u[i] = -1;
      if (std::isnan(u[i])) result.flags |= kSawNan;
    }
    const reference::Selection selection = reference::select_topk(u, k);
    for (const reference::Selected& selected : selection) {
      result.values.push_back(static_cast<float>(selected.value));
      result.indices.push_back(static_cast<int32_t>(selected.latent));
      if (std::isinf(selected.value)) result.flags |= kSawInf;
    }
    result.values.resize(size((t + 1) * k), 0.0F);
    result.indices.resize(size((t + 1) * k), -1);
  }
  return result;
}

void check_equal(const Selected& selected, const Selected& wanted) {
  CHECK(selected.indices == wanted.indices);
  CHECK(same_bits(selected.values, wanted.values));
  CHECK(selected.flags == wanted.flags);
}

template <class T>
T* DeviceEncode::reserve(int64_t count) {
  memory_.emplace_back(count * static_cast<int64_t>(sizeof(T)));
  return reinterpret_cast<T*>(memory_.back().data());
}
template <class T>
T* DeviceEncode::keep(const std::vector<T>& values) {
  T* data = reserve<T>(static_cast<int64_t>(values.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  memory_.back().upload(std::vector<std::byte>(bytes, bytes + values.size() * sizeof(T)));
  return data;
}

DeviceEncode::DeviceEncode(const EncodeCase& c, const EncodeData& data) : case_(c) {
  sae.d = c.d, sae.n = c.n, sae.k = c.k, sae.aux_k = c.aux_k, sae.precision = c.precision;
  sae.d_padded = round_up(c.d, kChannelPadding), sae.n_padded = round_up(c.n, kLatentPadding);
  sae.max_batch = c.rows + 3, sae.rows_padded = round_up(sae.max_batch, kRowPadding);
  SaeBatch batch = {};
  batch.rows = c.rows;
  SaeState state = {};
  state.dead_count = static_cast<int32_t>(data.dead.size());
  sae.batch = keep(std::vector{batch});
  sae.state = keep(std::vector{state});
  // Rows beyond the batch hold NaN: nothing of them may be seen, though by contract they are zero.
  const std::vector<float> x =
      padded(data.x, c.rows, c.d, sae.rows_padded, sae.d_padded, std::numeric_limits<float>::quiet_NaN());
  const std::vector<float> w = padded(data.w, c.n, c.d, sae.n_padded, sae.d_padded, 0);
  if (c.precision == Precision::kBf16) {
    sae.x = keep(bits_of(x));
    sae.w16 = reinterpret_cast<Bf16*>(keep(bits_of(w)));
  } else {
    sae.x = keep(x);
    sae.w = keep(w);
  }
  std::vector<float> b_enc = data.b_enc;
  b_enc.resize(size(sae.n_padded), -std::numeric_limits<float>::infinity());
  sae.b_enc = keep(b_enc);
  sae.values = reserve<float>(int64_t{sae.max_batch} * sae.k);
  sae.indices = reserve<int32_t>(int64_t{sae.max_batch} * sae.k);
  if (c.aux_k > 0) {
    sae.dead = keep(data.dead);
    sae.aux_values = reserve<float>(int64_t{sae.max_batch} * c.aux_k);
    sae.aux_indices = reserve<int32_t>(int64_t{sae.max_batch} * c.aux_k);
  }
  Workspace measured;
  SaeDesc measuring = sae;
  plan_encode(measuring, measured);
  Workspace workspace(reserve<std::byte>(std::max(measured.size_bytes(), int64_t{1})));
  plan_encode(sae, workspace);
  prepare_encode_sync(stream(), sae);
  if (c.splits > 0) {
    const int64_t slots = int64_t{c.splits} * sae.max_batch * sae.split_k;
    sae.encode_splits = c.splits;
    sae.split_values = reserve<float>(slots);
    sae.split_indices = reserve<int32_t>(slots);
  }
}

void DeviceEncode::run(const EncodeVariant& variant, const EncodeTarget& target) {
  const Buffer<SaeDesc> device(std::vector<SaeDesc>{sae});
  const std::vector<WorkItem> items = encode_work(0, sae, variant), merges = merge_work(0, sae, variant);
  const Buffer<WorkItem> work(items);
  encode_topk(stream(), variant, device.data(), {work.data(), static_cast<int32_t>(items.size())}, target);
  if (!merges.empty()) {
    const Buffer<WorkItem> merge(merges);
    merge_topk(stream(), device.data(), {merge.data(), static_cast<int32_t>(merges.size())}, target);
    synchronize();
  }
  synchronize();
}

Selected DeviceEncode::read(const float* values, const int32_t* indices, int32_t k) const {
  const int64_t slots = int64_t{case_.rows} * k;
  Selected result{std::vector<float>(size(slots)), std::vector<int32_t>(size(slots))};
  SaeState state = {};
  cudaMemcpyAsync(result.values.data(), values, size(slots) * sizeof(float), cudaMemcpyDeviceToHost,
                  stream());
  cudaMemcpyAsync(result.indices.data(), indices, size(slots) * sizeof(int32_t), cudaMemcpyDeviceToHost,
                  stream());
  cudaMemcpyAsync(&state, sae.state, sizeof state, cudaMemcpyDeviceToHost, stream());
  synchronize();
  result.flags = state.flags;
  return result;
}

Selected DeviceEncode::encode() {
  run(main_encode_variant(sae), {});
  return read(sae.values, sae.indices, sae.k);
}

Selected DeviceEncode::encode_dead() {
  run(encode_variant(sae, sae.aux_k), {.dead = true});
  return read(sae.aux_values, sae.aux_indices, sae.aux_k);
}

Selected DeviceEncode::encode_with(int32_t k) {
  EncodeTarget target{.k = k};
  target.values = reserve<float>(int64_t{case_.rows} * k);
  target.indices = reserve<int32_t>(int64_t{case_.rows} * k);
  const int64_t floats = scratch_floats(sae, k);
  if (floats > 0) target.scratch = reserve<float>(floats);
  run(encode_variant(sae, k, true), target);
  return read(target.values, target.indices, k);
}

void encode_together(const std::vector<DeviceEncode*>& saes) {
  std::vector<SaeDesc> descs;
  std::vector<WorkItem> items;
  const EncodeVariant variant = main_encode_variant(saes.front()->sae, true);
  for (std::size_t i = 0; i < saes.size(); ++i) {
    descs.push_back(saes[i]->sae);
    const std::vector<WorkItem> work = encode_work(static_cast<int32_t>(i), descs.back(), variant);
    items.insert(items.end(), work.begin(), work.end());
  }
  std::reverse(items.begin(), items.end());
  const Buffer<SaeDesc> device(descs);
  const Buffer<WorkItem> work(items);
  encode_topk(stream(), variant, device.data(), {work.data(), static_cast<int32_t>(items.size())});
  synchronize();
}

}  // namespace branchsae::cuda::test
