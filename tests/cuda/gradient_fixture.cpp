#include "tests/cuda/gradient_fixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "cuda/error.h"
#include "cuda/sae/adam_project.h"
#include "cuda/sae/decode_grad.h"
#include "cuda/sae/finish_step.h"
#include "cuda/sae/sort_pairs.h"
#include "cuda/sae/tied_dw.h"
#include "cuda/sae/workspace.h"

namespace branchsae::cuda::test {
namespace {

int32_t round_up(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::vector<float> padded(const std::vector<float>& rows, int64_t count, int64_t d, int64_t width) {
  std::vector<float> result(static_cast<size_t>(count * width));
  for (size_t i = 0; i < rows.size() / static_cast<size_t>(d); ++i) {
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i) * d, d,
                result.begin() + static_cast<std::ptrdiff_t>(i) * width);
  }
  return result;
}

// max_batch rows; those after the batch's hold what nothing may read.
template <class T>
std::vector<T> with_poison(std::vector<T> values, int64_t count) {
  values.resize(static_cast<size_t>(count), std::bit_cast<T>(0x7f7f7f7f));
  return values;
}

}  // namespace

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t bf16_bits(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float round_bf16(float value) {
  return from_bf16(bf16_bits(value));
}

HostSlots random_slots(int64_t rows, int32_t k, int32_t n, double used, uint64_t seed) {
  std::mt19937_64 random(seed);
  HostSlots slots;
  std::vector<int32_t> all(static_cast<size_t>(n));
  for (int32_t i = 0; i < n; ++i) all[static_cast<size_t>(i)] = i;
  for (int64_t t = 0; t < rows; ++t) {
    std::vector<int32_t> chosen;
    std::sample(all.begin(), all.end(), std::back_inserter(chosen), k, random);
    std::erase_if(chosen, [&](int32_t) { return std::uniform_real_distribution<>(0, 1)(random) >= used; });
    for (int32_t s = 0; s < k; ++s) {
      const bool filled = s < static_cast<int32_t>(chosen.size());
      slots.indices.push_back(filled ? chosen[static_cast<size_t>(s)] : -1);
      slots.values.push_back(filled ? static_cast<float>(1 + random() % 2) : 0.0F);
    }
  }
  return slots;
}

GradientData integer_data(const GradientCase& c, uint64_t seed, double used) {
  std::mt19937_64 random(seed);
  const auto integers = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(random() % 3) - 1;
    return values;
  };
  GradientData data;
  data.x = integers(int64_t{c.rows} * c.d);
  data.w = integers(int64_t{c.n} * c.d);
  if (!c.tied) data.w_dec = integers(int64_t{c.n} * c.d);
  data.b_enc = integers(c.n);
  data.b_pre = integers(c.d);
  data.main = random_slots(c.rows, c.k, c.n, used, seed + 1);
  data.batch.error_factor = 0.5F;
  data.batch.adam_step = 1;
  if (c.aux_k > 0) {
    data.aux = random_slots(c.rows, c.aux_k, c.n, used, seed + 2);
    data.dead_count = c.n;
    data.batch.aux_error_factor = 0.25F;
  }
  return data;
}

DeviceGradient::DeviceGradient(const GradientCase& c, const GradientData& data)
    : case_(c), state_(1), batch_(1), last_fired_(std::vector<int64_t>(static_cast<size_t>(c.n))) {
  sae.d = c.d, sae.d_padded = round_up(c.d, kChannelPadding), sae.slices = (c.d + kSlice - 1) / kSlice;
  sae.n = c.n, sae.n_padded = round_up(c.n, kLatentPadding);
  sae.k = c.k, sae.aux_k = c.aux_k;
  sae.max_batch = c.max_batch, sae.rows_padded = round_up(c.max_batch, kRowPadding);
  sae.tied = c.tied ? 1 : 0, sae.unit_norm = c.unit_norm ? 1 : 0;
  sae.precision = c.precision, sae.scale = 1;
  sae.batch = batch_.data(), sae.state = state_.data(), sae.last_fired = last_fired_.data();
  const bool bf16 = c.precision == Precision::kBf16;
  sae.w = keep_rows(data.w, sae.n_padded);
  sae.w16 = bf16 ? keep_rows_16(data.w, sae.n_padded) : nullptr;
  sae.w_dec = c.tied ? sae.w : keep_rows(data.w_dec, sae.n_padded);
  sae.w16_dec = c.tied || !bf16 ? sae.w16 : keep_rows_16(data.w_dec, sae.n_padded);
  std::vector<float> bias = data.b_enc;
  bias.resize(static_cast<size_t>(sae.n_padded), -std::numeric_limits<float>::infinity());
  sae.b_enc = keep(bias);
  sae.b_pre = keep(padded(data.b_pre, 1, c.d, sae.d_padded));
  const std::vector<float> zero_rows(static_cast<size_t>(int64_t{sae.n_padded} * sae.d_padded));
  sae.m_w = keep(zero_rows), sae.v_w = keep(zero_rows);
  if (!c.tied) sae.m_w_dec = keep(zero_rows), sae.v_w_dec = keep(zero_rows);
  sae.m_b_enc = keep(std::vector<float>(static_cast<size_t>(sae.n_padded)));
  sae.v_b_enc = keep(std::vector<float>(static_cast<size_t>(sae.n_padded)));
  sae.m_b_pre = keep(std::vector<float>(static_cast<size_t>(sae.d_padded)));
  sae.v_b_pre = keep(std::vector<float>(static_cast<size_t>(sae.d_padded)));
  SaeState state{};
  state.dead_count = data.dead_count;
  set_state(state);
  Workspace measured;
  plan_gradient(sae, measured, c.options);
  workspace_ = std::make_unique<Buffer<char>>(measured.size_bytes());
  Workspace workspace(workspace_->data());
  plan_gradient(sae, workspace, c.options);
  upload_batch(data);
}

void DeviceGradient::upload_batch(const GradientData& data) {
  SaeBatch batch = data.batch;
  batch.rows = static_cast<int32_t>(data.x.size() / static_cast<size_t>(sae.d));
  batch_.upload({batch});
  const int64_t slots = int64_t{sae.max_batch} * sae.k, aux_slots = int64_t{sae.max_batch} * sae.aux_k;
  indices_ = std::make_unique<Buffer<int32_t>>(with_poison(data.main.indices, slots));
  values_ = std::make_unique<Buffer<float>>(with_poison(data.main.values, slots));
  sae.indices = indices_->data(), sae.values = values_->data();
  if (sae.aux_k > 0) {
    aux_indices_ = std::make_unique<Buffer<int32_t>>(with_poison(data.aux.indices, aux_slots));
    aux_values_ = std::make_unique<Buffer<float>>(with_poison(data.aux.values, aux_slots));
    sae.aux_indices = aux_indices_->data(), sae.aux_values = aux_values_->data();
  }
  upload_x(data);
  device_ = std::make_unique<Buffer<SaeDesc>>(std::vector<SaeDesc>{sae});
}

void DeviceGradient::upload_x(const GradientData& data) {
  const std::vector<float> x = padded(data.x, sae.rows_padded, sae.d, sae.d_padded);
  if (sae.precision == Precision::kBf16) {
    std::vector<uint16_t> bits;
    for (const float value : x) bits.push_back(bf16_bits(value));
    x16_ = std::make_unique<Buffer<uint16_t>>(bits);
    sae.x = x16_->data();
  } else {
    x_ = std::make_unique<Buffer<float>>(x);
    sae.x = x_->data();
  }
  const int64_t tiles = sae.rows_padded / kGatherRows;
  std::vector<double> squares(static_cast<size_t>(tiles));
  std::vector<float> sums(static_cast<size_t>(tiles * sae.d_padded));
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t tile = i / static_cast<size_t>(sae.d_padded) / kGatherRows;
    squares[tile] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    sums[tile * static_cast<size_t>(sae.d_padded) + i % static_cast<size_t>(sae.d_padded)] += x[i];
  }
  squares_ = std::make_unique<Buffer<double>>(squares);
  token_sums_ = std::make_unique<Buffer<float>>(sums);
  sae.tile_squares = squares_->data(), sae.tile_token_sums = token_sums_->data();
}

float* DeviceGradient::keep(std::vector<float> values) {
  floats_.push_back(std::make_unique<Buffer<float>>(values));
  return floats_.back()->data();
}

float* DeviceGradient::keep_rows(const std::vector<float>& rows, int64_t count) {
  return keep(padded(rows, count, sae.d, sae.d_padded));
}

Bf16* DeviceGradient::keep_rows_16(const std::vector<float>& rows, int64_t count) {
  std::vector<uint16_t> bits;
  for (const float value : padded(rows, count, sae.d, sae.d_padded)) bits.push_back(bf16_bits(value));
  halves_.push_back(std::make_unique<Buffer<uint16_t>>(bits));
  return reinterpret_cast<Bf16*>(halves_.back()->data());
}

DeviceGradient::Work DeviceGradient::upload(const std::vector<WorkItem>& items) {
  return {Buffer<WorkItem>(items)};
}

void DeviceGradient::copy_back(void* to, const void* from, int64_t bytes) const {
  synchronize();
  cuda::check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream()),
              "read back");
  synchronize();
}

std::vector<float> DeviceGradient::read_rows(const float* from, int64_t rows) const {
  const std::vector<float> all = read(from, rows * sae.d_padded);
  std::vector<float> result;
  for (int64_t i = 0; i < rows; ++i)
    result.insert(result.end(), all.begin() + i * sae.d_padded, all.begin() + i * sae.d_padded + sae.d);
  return result;
}

std::vector<float> DeviceGradient::read_ex(int64_t row, int half) const {
  const int64_t stride = int64_t{sae.slices} * 2 * kSlice;
  std::vector<float> all;
  if (sae.precision == Precision::kBf16) {
    for (const uint16_t bits : read(static_cast<const uint16_t*>(sae.ex) + row * stride, stride))
      all.push_back(from_bf16(bits));
  } else {
    all = read(static_cast<const float*>(sae.ex) + row * stride, stride);
  }
  std::vector<float> result;
  for (int64_t j = 0; j < sae.d; ++j)
    result.push_back(all[static_cast<size_t>((j / kSlice * 2 + half) * kSlice + j % kSlice)]);
  return result;
}

void DeviceGradient::set_pair_gradients(const std::vector<float>& g, const std::vector<float>& aux_g) {
  const auto copy = [](float* to, const std::vector<float>& from) {
    if (from.empty()) return;
    cuda::check(
        cudaMemcpyAsync(to, from.data(), from.size() * sizeof(float), cudaMemcpyHostToDevice, stream()),
        "upload");
  };
  copy(sae.pair_g, g);
  copy(sae.aux_pair_g, aux_g);
  synchronize();
}

void DeviceGradient::decode() {
  std::vector<WorkItem> items;
  add_decode_grad_work(0, sae, items);
  const Work work = upload(items);
  decode_grad(stream(), decode_grad_variant(sae), device_->data(), work.list());
  synchronize();
}

void DeviceGradient::check() {
  std::vector<WorkItem> items;
  add_check_step_work(0, sae, items);
  const Work work = upload(items);
  check_step(stream(), device_->data(), work.list());
  synchronize();
}

void DeviceGradient::sort() {
  std::vector<WorkItem> count, scan, place;
  add_count_pairs_work(0, sae, count);
  add_scan_pairs_work(0, sae, scan);
  add_place_pairs_work(0, sae, place);
  const Work count_work = upload(count), scan_work = upload(scan), place_work = upload(place);
  count_pairs(stream(), device_->data(), count_work.list());
  scan_pairs(stream(), device_->data(), scan_work.list());
  place_pairs(stream(), device_->data(), place_work.list());
  synchronize();
}

void DeviceGradient::dw() {
  std::vector<WorkItem> items;
  add_tied_dw_work(0, sae, items);
  const Work work = upload(items);
  tied_dw(stream(), tied_dw_variant(sae), device_->data(), work.list());
  synchronize();
}

void DeviceGradient::adam() {
  std::vector<WorkItem> items;
  add_adam_project_work(0, sae, items);
  const Work work = upload(items);
  adam_project(stream(), device_->data(), work.list());
  synchronize();
}

void DeviceGradient::finish() {
  std::vector<WorkItem> items;
  add_finish_step_work(0, sae, items);
  const Work work = upload(items);
  finish_step(stream(), device_->data(), work.list());
  synchronize();
}

void DeviceGradient::step() {
  decode();
  check();
  sort();
  dw();
  adam();
  finish();
}

DeviceGradient::Gradients DeviceGradient::gradients() {
  decode();
  check();
  sort();
  dw();
  const int64_t weights = int64_t{sae.n} * sae.d;
  const Buffer<float> w(weights), w_dec(weights), b_enc(sae.n), b_pre(sae.d);
  const GradientArrays arrays{w.data(), sae.tied != 0 ? nullptr : w_dec.data(), b_enc.data(), b_pre.data()};
  std::vector<WorkItem> adam_items, finish_items;
  add_adam_project_work(0, sae, adam_items);
  add_finish_step_work(0, sae, finish_items);
  const Work adam_work = upload(adam_items), finish_work = upload(finish_items);
  adam_project(stream(), device_->data(), adam_work.list(), arrays);
  finish_step(stream(), device_->data(), finish_work.list(), arrays);
  synchronize();
  Gradients result{w.download(), {}, b_enc.download(), b_pre.download()};
  if (sae.tied == 0) result.w_dec = w_dec.download();
  return result;
}

namespace {

// One pass (main or AuxK) of the expected gradient, on r, which it advances.
struct Pass {
  const GradientCase& c;
  const GradientData& data;
  const HostSlots& slots;
  int32_t k;
  double factor;

  int32_t latent(int64_t t, int32_t s) const { return slots.indices[static_cast<size_t>(t * k + s)]; }
  double value(int64_t t, int32_t s) const {
    return static_cast<double>(slots.values[static_cast<size_t>(t * k + s)]);
  }
  double stored(double e) const {
    const auto narrow = static_cast<float>(e);
    return static_cast<double>(c.precision == Precision::kBf16 ? round_bf16(narrow) : narrow);
  }

  double decode(std::vector<double>& r, std::vector<double>& e) const {
    const std::vector<float>& w = data.decoder();
    double squares = 0;
    for (int64_t t = 0; t < c.rows; ++t) {
      for (int32_t s = 0; s < k; ++s) {
        if (latent(t, s) < 0) continue;
        for (int64_t j = 0; j < c.d; ++j)
          r[static_cast<size_t>(t * c.d + j)] +=
              value(t, s) * static_cast<double>(w[static_cast<size_t>(int64_t{latent(t, s)} * c.d + j)]);
      }
    }
    for (const double value : r) {
      squares += value * value;
      e.push_back(factor * value);
    }
    return squares;
  }

  void add(const std::vector<double>& e, std::vector<double>& pair_g, ExpectedGradient& result) const {
    const std::vector<float>& w = data.decoder();
    for (int64_t t = 0; t < c.rows; ++t) {
      for (int32_t s = 0; s < k; ++s) {
        pair_g.push_back(0);
        if (latent(t, s) < 0) continue;
        const int64_t row = int64_t{latent(t, s)} * c.d;
        double& g = pair_g.back();
        for (int64_t j = 0; j < c.d; ++j)
          g += static_cast<double>(w[static_cast<size_t>(row + j)]) * e[static_cast<size_t>(t * c.d + j)];
        result.b_enc[static_cast<size_t>(latent(t, s))] += g;
        add_row(t, value(t, s), g, row, e, result);
      }
    }
  }

  void add_row(int64_t t, double z, double g, int64_t row, const std::vector<double>& e,
               ExpectedGradient& result) const {
    for (int64_t j = 0; j < c.d; ++j) {
      const auto token = static_cast<size_t>(t * c.d + j), weight = static_cast<size_t>(row + j);
      const double of_e = z * stored(e[token]), of_x = g * static_cast<double>(data.x[token]);
      (c.tied ? result.w : result.w_dec)[weight] += of_e;
      result.w[weight] += of_x;
      result.b_pre[static_cast<size_t>(j)] -= g * static_cast<double>(data.w[weight]);
    }
  }
};

}  // namespace

ExpectedGradient expected_gradient(const GradientCase& c, const GradientData& data) {
  ExpectedGradient result;
  result.w.resize(data.w.size());
  result.w_dec.resize(data.w_dec.size());
  result.b_enc.resize(static_cast<size_t>(c.n));
  result.b_pre.resize(static_cast<size_t>(c.d));
  std::vector<double> r(data.x.begin(), data.x.end());
  for (double& value : r) value = -value;
  const Pass main{c, data, data.main, c.k, static_cast<double>(data.batch.error_factor)};
  result.squared_error = main.decode(r, result.e);
  for (size_t i = 0; i < result.e.size(); ++i) result.b_pre[i % static_cast<size_t>(c.d)] += result.e[i];
  main.add(result.e, result.g, result);
  for (const int32_t latent : data.main.indices) result.active += latent >= 0 ? 1 : 0;
  if (c.aux_k > 0 && data.batch.aux_error_factor != 0 && data.dead_count > 0) {
    const Pass aux{c, data, data.aux, c.aux_k, static_cast<double>(data.batch.aux_error_factor)};
    result.aux_error = aux.decode(r, result.aux_e);
    aux.add(result.aux_e, result.aux_g, result);
  }
  return result;
}

}  // namespace branchsae::cuda::test
