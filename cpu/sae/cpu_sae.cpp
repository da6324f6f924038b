#include "cpu/sae/cpu_sae.h"

#include <fmt/format.h>
#include <omp.h>
#include <time.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/error.h"
#include "engine/log.h"

namespace branchsae::cpu {
namespace {

// Weights beyond this do not stay in an L2 cache, and prefetching them pays.
constexpr int64_t kPrefetchBytes = int64_t{1} << 20;
// Products and sums below this cannot overflow to infinity.
constexpr double kSafe = 1e37;

SaeSpec checked(const SaeSpec& spec) {
  check_spec(spec);
  if (spec.precision != SaePrecision::kF32)
    throw InputError("the CPU trains in fp32 only; other precisions need --device cuda");
  return spec;
}

int checked_threads(int threads) {
  if (threads < 0) throw InputError(fmt::format("threads must be 0 (all) or more, not {}", threads));
  return threads == 0 ? omp_get_num_procs() : threads;
}

// Rows of `tensor` into rows of stride `stride`, padded with zeros: a step that was not finite left others.
void copy_in(const HostTensor& tensor, Array<float>& array, int64_t rows, int64_t columns, int64_t stride) {
  array.clear();
  for (int64_t i = 0; i < rows; ++i)
    std::copy_n(tensor.data() + i * columns, columns, array.data() + i * stride);
}

HostTensor copy_out(const Array<float>& array, int64_t rows, int64_t columns, int64_t stride) {
  HostTensor tensor({rows, columns});
  for (int64_t i = 0; i < rows; ++i)
    std::copy_n(array.data() + i * stride, columns, tensor.data() + i * columns);
  return tensor;
}

HostTensor copy_out(const Array<float>& array, int64_t count) {
  return HostTensor({count}, {array.data(), static_cast<size_t>(count)});
}

// Calls body(host row, moment, width) for every slice of every row.
template <class Body>
void for_each_slice(const SaeLayout& layout, const Body& body) {
  for (int64_t s = 0; s < layout.slices; ++s) {
    const int64_t begin = layout.slice_begin(s);
    const int64_t width = std::min(layout.slice_width(s), layout.d - begin);  // without padding
    if (width <= 0) continue;
    for (int64_t i = 0; i < layout.n; ++i) body(i * layout.d + begin, layout.moment_offset(s, i), width);
  }
}

void moments_in(const SaeLayout& layout, const HostTensor& tensor, Array<float>& moments) {
  moments.clear();
  if (tensor.empty()) return;
  for_each_slice(layout, [&](int64_t row, int64_t moment, int64_t width) {
    std::copy_n(tensor.data() + row, width, moments.data() + moment);
  });
}

HostTensor moments_out(const SaeLayout& layout, const Array<float>& moments) {
  HostTensor tensor({layout.n, layout.d});
  for_each_slice(layout, [&](int64_t row, int64_t moment, int64_t width) {
    std::copy_n(moments.data() + moment, width, tensor.data() + row);
  });
  return tensor;
}

void vector_in(const HostTensor& tensor, Array<float>& array, int64_t count) {
  array.clear();
  if (tensor.empty()) return;
  std::copy_n(tensor.data(), count, array.data());
}

}  // namespace

Parameters::Parameters(const SaeSpec& spec, const SaeLayout& layout, bool bf16)
    : w(layout.n * layout.d_padded, "sae.W"),
      w_dec(spec.tied ? 0 : layout.n * layout.d_padded, "sae.W_dec"),
      packed(layout.n_padded() * layout.d, "sae.W packed"),
      pairs(bf16 ? layout.n_padded() * divide_up(layout.d, 2) : 0, "sae.W bf16"),
      b_enc(layout.n_padded(), "sae.b_enc"),
      b_pre(layout.d_padded, "sae.b_pre") {
  std::fill(b_enc.data() + layout.n, b_enc.data() + layout.n_padded(),
            -std::numeric_limits<float>::infinity());
}

int64_t Parameters::size_bytes() const {
  return w.size_bytes() + w_dec.size_bytes() + packed.size_bytes() + pairs.size_bytes() + b_enc.size_bytes() +
         b_pre.size_bytes();
}

Moments::Moments(const SaeSpec& spec, const SaeLayout& layout) {
  const int64_t weights = layout.n * layout.d_padded;
  m_w = Array<float>(weights, "sae.m_W");
  v_w = Array<float>(weights, "sae.v_W");
  m_w_dec = Array<float>(spec.tied ? 0 : weights, "sae.m_W_dec");
  v_w_dec = Array<float>(spec.tied ? 0 : weights, "sae.v_W_dec");
  m_b_enc = Array<float>(layout.n_padded(), "sae.m_b_enc");
  v_b_enc = Array<float>(layout.n_padded(), "sae.v_b_enc");
  m_b_pre = Array<float>(layout.d_padded, "sae.m_b_pre");
  v_b_pre = Array<float>(layout.d_padded, "sae.v_b_pre");
}

int64_t Moments::size_bytes() const {
  return m_w.size_bytes() + v_w.size_bytes() + m_w_dec.size_bytes() + v_w_dec.size_bytes() +
         m_b_enc.size_bytes() + v_b_enc.size_bytes() + m_b_pre.size_bytes() + v_b_pre.size_bytes();
}

CpuSae::CpuSae(const SaeSpec& spec, int threads)
    : spec_(checked(spec)),
      layout_(spec),
      threads_(checked_threads(threads)),
      kernels_(sae_kernels(choose_isa())),
      parameters_(spec, layout_, kernels_.encode_pairs != nullptr),
      moments_(spec, layout_),
      last_fired_(layout_.n, "sae.last_fired") {
  const int64_t tiles = layout_.tiles(spec.max_batch), rows = spec.max_batch, n = layout_.n;
  const bool bf16 = kernels_.encode_pairs != nullptr;
  for (int i = 0; i < threads_; ++i) work_.emplace_back(layout_, spec.k, spec.aux_k, spec.tied, bf16);
  times_.resize(static_cast<size_t>(threads_));
  tile_sums_ = Array<TileSums>(tiles, "sae.tile_sums");
  tile_token_sums_ = Array<float>(tiles * layout_.d_padded, "sae.tile_sums");
  tile_residual_sums_ = Array<float>(tiles * layout_.d_padded, "sae.tile_sums");
  if (keeps_partials()) {
    const int64_t partials = layout_.halves ? HalfTasks::kHalves : kPartials;
    const int64_t weights = (layout_.halves ? 1 : kPartials) * n * layout_.d_padded;
    partial_ = Array<float>(weights, "sae.partial_gradients");
    partial_dec_ = Array<float>(spec.tied ? 0 : weights, "sae.partial_gradients");
    partial_b_enc_ = Array<float>(partials * n, "sae.partial_gradients");
    partial_fired_ = Array<uint8_t>(partials * n, "sae.partial_gradients");
  }
  if (layout_.scheme == GradientScheme::kRanges) {
    const int64_t aux_rows = spec.aux_k > 0 ? rows : 0;
    pairs_ = PairRows(rows, spec.k, aux_rows, spec.aux_k, layout_.range, layout_.ranges);
    slices_ = Array<float>(layout_.slices * (rows + aux_rows) * 2 * layout_.slice, "sae.residual_slices");
  }
  bias_gradients_ = Array<float>(n, "sae.bias_gradients");
  fired_ = Array<uint8_t>(n, "sae.fired");
  panel_b_pre_ = Array<float>(layout_.panels * layout_.d_padded, "sae.b_pre_partials");
  row_squares_ = Array<float>(layout_.n_padded() * layout_.slices, "sae.row_norms");
  if (bf16) row_roundings_ = Array<float>(layout_.n_padded() * layout_.slices, "sae.row_norms");
  b_pre_gradient_ = Array<float>(layout_.d_padded, "sae.b_pre_gradient");
  column_sums_ = Array<double>(2 * layout_.d_padded, "sae.b_pre_gradient");
  if (spec.aux_k > 0) {
    dead_ = Array<int32_t>(n, "sae.dead");
    dead_panels_ = Array<float>(layout_.n_padded() * layout_.d, "sae.dead_panels");
    if (bf16) dead_pairs_ = Array<uint32_t>(parameters_.pairs.size(), "sae.dead_panels");
    dead_bias_ = Array<float>(layout_.n_padded(), "sae.dead_panels");
  }
  shifted_bias_ = Array<float>(layout_.n_padded(), "sae.shifted_bias");
  if (kernels_.encode_fixed != nullptr)
    fixed_ = Array<Fixed>(layout_.n_padded() * (layout_.d + 1), "sae.W fixed point");
  measure_weights();
  note_slow_k(spec.k);
}

void CpuSae::note_slow_k(int64_t k) {
  if (k <= kFastK || noted_slow_k_) return;
  noted_slow_k_ = true;
  log(LogLevel::kInfo,
      fmt::format("k = {} is above {}: the selection takes its slower path, the result is as exact", k,
                  kFastK));
}

void CpuSae::load_sync(const SaeParameters& parameters) {
  const int64_t n = spec_.n, d = spec_.d;
  check_parameters(spec_, parameters);
  copy_in(parameters.w, parameters_.w, n, d, layout_.d_padded);
  if (!spec_.tied) copy_in(parameters.w_dec, parameters_.w_dec, n, d, layout_.d_padded);
  std::copy_n(parameters.b_enc.data(), n, parameters_.b_enc.data());
  std::copy_n(parameters.b_pre.data(), d, parameters_.b_pre.data());
  parameters_.scale = parameters.scale;
  for (int64_t s = 0; s < layout_.slices; ++s) {
    for (int64_t i = 0; i < n; ++i) {
      const float* w = parameters_.w.data() + i * layout_.d_padded + layout_.slice_begin(s);
      row_squares_[s * layout_.n_padded() + i] = std::inner_product(w, w + layout_.slice_width(s), w, 0.0F);
    }
    for (int64_t q = 0; q < layout_.panels; ++q)
      pack_block(q, s, parameters_.w.data() + q * kPanel * layout_.d_padded + layout_.slice_begin(s),
                 layout_.d_padded);
  }
  measure_weights();
}

SaeParameters CpuSae::parameters_sync() const {
  SaeParameters result;
  result.w = copy_out(parameters_.w, spec_.n, spec_.d, layout_.d_padded);
  if (!spec_.tied) result.w_dec = copy_out(parameters_.w_dec, spec_.n, spec_.d, layout_.d_padded);
  result.b_enc = copy_out(parameters_.b_enc, spec_.n);
  result.b_pre = copy_out(parameters_.b_pre, spec_.d);
  result.scale = parameters_.scale;
  return result;
}

void CpuSae::load_optimizer_sync(const SaeOptimizerState& state) {
  check_optimizer(spec_, state);
  moments_in(layout_, state.m_w, moments_.m_w);
  moments_in(layout_, state.v_w, moments_.v_w);
  if (!spec_.tied) {
    moments_in(layout_, state.m_w_dec, moments_.m_w_dec);
    moments_in(layout_, state.v_w_dec, moments_.v_w_dec);
  }
  vector_in(state.m_b_enc, moments_.m_b_enc, spec_.n);
  vector_in(state.v_b_enc, moments_.v_b_enc, spec_.n);
  vector_in(state.m_b_pre, moments_.m_b_pre, spec_.d);
  vector_in(state.v_b_pre, moments_.v_b_pre, spec_.d);
  last_fired_.clear();
  std::copy(state.last_fired.begin(), state.last_fired.end(), last_fired_.data());
  tokens_seen_ = state.tokens_seen;
}

SaeOptimizerState CpuSae::optimizer_sync() const {
  SaeOptimizerState state;
  state.m_w = moments_out(layout_, moments_.m_w);
  state.v_w = moments_out(layout_, moments_.v_w);
  if (!spec_.tied) {
    state.m_w_dec = moments_out(layout_, moments_.m_w_dec);
    state.v_w_dec = moments_out(layout_, moments_.v_w_dec);
  }
  state.m_b_enc = copy_out(moments_.m_b_enc, spec_.n);
  state.v_b_enc = copy_out(moments_.v_b_enc, spec_.n);
  state.m_b_pre = copy_out(moments_.m_b_pre, spec_.d);
  state.v_b_pre = copy_out(moments_.v_b_pre, spec_.d);
  state.last_fired.assign(last_fired_.data(), last_fired_.data() + spec_.n);
  state.tokens_seen = tokens_seen_;
  return state;
}

SaeStats CpuSae::read_stats_sync() {
  SaeStats result = stats_;
  result.dead = count_dead(dead_after_);
  stats_ = {};
  return result;
}

// One slice of a panel's rows into the layouts of the encode.
void CpuSae::pack_block(int64_t panel, int64_t slice, const float* rows, int64_t stride) {
  const int64_t first = panel * kPanel, d = layout_.d, begin = layout_.slice_begin(slice);
  const int64_t columns = std::min(layout_.slice_width(slice), d - begin);
  float* packed = parameters_.packed.data() + (panel * d + begin) * kPanel;
  kernels_.pack_panel({rows, stride, std::min(kPanel, spec_.n - first), columns, packed});
  if (parameters_.pairs.size() == 0) return;
  kernels_.round_panel({packed, columns,
                        parameters_.pairs.data() + (panel * divide_up(d, 2) + begin / 2) * kPanel,
                        row_roundings_.data() + slice * layout_.n_padded() + first});
}

// NaN and infinity in a sum pass through and fail the comparison later, as the largest alone would not.
void CpuSae::measure_weights() {
  double largest = 0, largest_rounding = 0, sum = 0, bias_squares = 0;
  for (int64_t i = 0; i < spec_.n; ++i) {
    double squares = 0, rounding = 0;
    for (int64_t s = 0; s < layout_.slices; ++s) {
      squares += static_cast<double>(row_squares_[s * layout_.n_padded() + i]);
      if (row_roundings_.size() > 0)
        rounding += static_cast<double>(row_roundings_[s * layout_.n_padded() + i]);
    }
    largest = std::max(largest, squares);
    largest_rounding = std::max(largest_rounding, rounding);
    sum += squares;
    bias_squares += static_cast<double>(parameters_.b_enc[i]) * static_cast<double>(parameters_.b_enc[i]);
  }
  if (!std::isfinite(sum)) largest = sum;
  // The squares were summed in single precision, and those of tiny numbers are zero there.
  const auto terms = static_cast<double>(layout_.d_padded);
  const auto norm = [&](double squares) {
    return std::sqrt((squares + terms * 0x1p-126) * (1 + terms * 0x1p-22));
  };
  weight_norm_ = norm(largest);
  weight_rounding_ = norm(largest_rounding);
  bias_norm_ = std::sqrt(bias_squares);
  shifted_bias_valid_ = fixed_valid_ = false;
}

void CpuSae::refresh_shifted_bias() {
  if (shifted_bias_valid_) return;
#pragma omp parallel for num_threads(threads_) schedule(static)
  for (int64_t q = 0; q < layout_.panels; ++q) {
    kernels_.shift_bias({parameters_.packed.data() + q * layout_.d * kPanel,
                         parameters_.b_enc.data() + q * kPanel, parameters_.b_pre.data(), layout_.d,
                         shifted_bias_.data() + q * kPanel});
  }
  double squares = 0;
  for (int64_t j = 0; j < layout_.d; ++j)
    squares += static_cast<double>(parameters_.b_pre[j]) * static_cast<double>(parameters_.b_pre[j]);
  pre_bias_norm_ = std::sqrt(squares);
  float largest = 0;
  for (int64_t i = 0; i < spec_.n; ++i) largest = std::max(largest, std::abs(shifted_bias_[i]));
  largest_bias_ = static_cast<double>(largest);
  shifted_bias_valid_ = true;
}

// Dense tokens have no use for it.
bool CpuSae::few_nonzeros_expected() {
  bool met = false;
  for (TileWorkspace& work : work_) met = std::exchange(work.met_sparse, false) || met;
  return met;
}

void CpuSae::refresh_fixed() {
  if (fixed_valid_ || kernels_.encode_fixed == nullptr || !few_nonzeros_expected()) return;
  fixed_factors_ = fixed_factors(weight_norm_, largest_bias_);
  if (fixed_factors_.weight == 0) return;
#pragma omp parallel for num_threads(threads_) schedule(static)
  for (int64_t q = 0; q < layout_.panels; ++q) {
    kernels_.fix_panel({parameters_.packed.data() + q * layout_.d * kPanel, shifted_bias_.data() + q * kPanel,
                        layout_.d, fixed_factors_.weight, fixed_factors_.bias, threads_ > 1,
                        fixed_.data() + q * (layout_.d + 1) * kPanel});
  }
  fixed_valid_ = true;
}

Panels CpuSae::panels() const {
  const bool bf16 = parameters_.pairs.size() > 0;
  return {.weights = parameters_.packed.data(),
          .pairs = bf16 ? parameters_.pairs.data() : nullptr,
          .bias = shifted_bias_.data(),
          .fixed = fixed_valid_ ? fixed_.data() : nullptr,
          .fixed_factors = fixed_factors_,
          .count = layout_.panels,
          .latents = spec_.n,
          .prefetch = parameters_.packed.size_bytes() > kPrefetchBytes,
          .rows = parameters_.w.data(),
          .row_bias = shifted_bias_.data(),
          .map = nullptr,
          .largest_norm = weight_norm_,
          .largest_rounding = weight_rounding_,
          .largest_bias = largest_bias_};
}

bool CpuSae::prefetch_rows() const {
  return parameters_.w.size_bytes() > kPrefetchBytes;
}

// Every partial sum is at most |W_i| |xs| + |b_i| + |W_i| |b_pre|, and |xs| <= |xc| + |b_pre|.
bool CpuSae::surely_finite(double squared_tokens) const {
  return (std::sqrt(squared_tokens) + 2 * pre_bias_norm_) * weight_norm_ + bias_norm_ < kSafe;
}

SaeStepTimes CpuSae::take_times() {
  SaeStepTimes sum;
  for (SaeStepTimes& times : times_) {
    sum.encode_select += times.encode_select;
    sum.decode_gradient += times.decode_gradient;
    sum.update += times.update;
    times = {};
  }
  return sum;
}

EncodeCounts CpuSae::take_encode_counts() {
  EncodeCounts sum;
  for (TileWorkspace& work : work_) {
    sum.dense += work.counts.dense;
    sum.sparse += work.counts.sparse;
    sum.bf16 += work.counts.bf16;
    sum.fixed += work.counts.fixed;
    sum.scored_tokens += work.counts.scored_tokens;
    work.counts = {};
  }
  return sum;
}

std::string CpuSae::description() const {
  return fmt::format("gradient {}, {} or sparse encode by tile, {}, {} thread{}",
                     layout_.scheme == GradientScheme::kScatter ? "scattered" : "by ranges",
                     kernels_.encode_pairs != nullptr ? "dense (screened in bf16)" : "dense",
                     isa_name(kernels_.isa), threads_, threads_ == 1 ? "" : "s");
}

int64_t CpuSae::memory_bytes() const {
  int64_t sum = parameters_.size_bytes() + moments_.size_bytes() + last_fired_.size_bytes();
  for (const TileWorkspace& work : work_) sum += work.size_bytes();
  for (const Array<float>* array :
       {&tile_token_sums_, &tile_residual_sums_, &partial_, &partial_dec_, &partial_b_enc_, &slices_,
        &bias_gradients_, &panel_b_pre_, &row_squares_, &row_roundings_, &b_pre_gradient_, &shifted_bias_,
        &dead_panels_, &dead_bias_}) {
    sum += array->size_bytes();
  }
  return sum + tile_sums_.size_bytes() + partial_fired_.size_bytes() + fired_.size_bytes() +
         column_sums_.size_bytes() + pairs_.size_bytes() + dead_.size_bytes() + dead_pairs_.size_bytes() +
         fixed_.size_bytes();
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::unique_ptr<SaeExecutor> make_cpu_sae(const SaeSpec& spec, int threads) {
  return std::make_unique<CpuSae>(spec, threads);
}

EncodeCounts take_encode_counts(SaeExecutor& executor) {
  auto* sae = dynamic_cast<CpuSae*>(&executor);
  if (sae == nullptr) throw InputError("tiles are counted by the CPU's autoencoder only");
  return sae->take_encode_counts();
}

}  // namespace branchsae::cpu
