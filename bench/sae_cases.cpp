#include "bench/sae_cases.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bench/token_file.h"
#include "engine/error.h"
#include "engine/random.h"
#include "model/sae_file.h"

namespace branchsae::bench {
namespace {

using reference::Selection;

SaeSpec parse_shape(const std::string& text) {
  long long batch = 0, d = 0, n = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lld,%lld,%lld%c", &batch, &d, &n, &rest) != 3 || batch < 1 || d < 1 ||
      n < 1)
    throw InputError("--shape needs three positive numbers B,d,n, not \"" + text + "\"");
  return {.d = d, .n = n, .max_batch = batch};
}

/// What the executor keeps of tokens on the host.
std::vector<Selection> encode(SaeExecutor& sae, const Meter& meter, const HostTensor& tokens) {
  const int64_t rows = tokens.dim(0), k = sae.spec().k;
  Backend& backend = meter.device().backend();
  const auto x = meter.upload(tokens.data(), tokens.size());
  auto values = backend.buffer<float>(rows * k, "values");
  auto indices = backend.buffer<int32_t>(rows * k, "indices");
  sae.encode(meter.stream(), View<const float, 2>(x.data(), {rows, tokens.dim(1)}), values.matrix(rows, k),
             indices.matrix(rows, k));
  const std::vector<float> kept = meter.download(values.data(), rows * k);
  const std::vector<int32_t> latents = meter.download(indices.data(), rows * k);
  std::vector<Selection> selected(static_cast<size_t>(rows));
  for (size_t i = 0; i < kept.size(); ++i) {
    if (latents[i] >= 0)
      selected[i / static_cast<size_t>(k)].push_back({latents[i], static_cast<double>(kept[i])});
  }
  return selected;
}

HostTensor first_rows(const HostTensor& tokens, int64_t rows) {
  rows = std::min(rows, tokens.dim(0));
  return HostTensor({rows, tokens.dim(1)}, {tokens.data(), static_cast<size_t>(rows * tokens.dim(1))});
}

/// As many tokens as double precision can follow in a second or so.
int64_t rows_to_check(const SaeSpec& spec) {
  return std::clamp<int64_t>(100'000'000 / (spec.n * spec.d), 1, 64);
}

double relative_difference(const HostTensor& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double error = static_cast<double>(a[static_cast<int64_t>(i)]) - b[i];
    difference += error * error;
    norm += b[i] * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

/// One token's kept latents against all pre-activations u. Returns the largest error in units of `size`.
double check_token(const Selection& kept, const Selection& all, int64_t k, double size, double allowed) {
  std::vector<double> u(static_cast<size_t>(all.empty() ? 0 : all.back().latent + 1), 0.0);
  for (const auto& [latent, value] : all) u[static_cast<size_t>(latent)] = value;
  const auto at = [&](int64_t latent) {
    return latent < static_cast<int64_t>(u.size()) ? u[static_cast<size_t>(latent)] : 0.0;
  };
  double worst = 0, least = static_cast<int64_t>(kept.size()) < k ? 0.0 : 1e300;
  std::vector<bool> is_kept(u.size(), false);
  for (const auto& [latent, value] : kept) {
    worst = std::max(worst, std::abs(value - at(latent)) / size);
    least = std::min(least, value);
    if (latent < static_cast<int64_t>(u.size())) is_kept[static_cast<size_t>(latent)] = true;
  }
  for (const auto& [latent, value] : all) {
    if (!is_kept[static_cast<size_t>(latent)]) worst = std::max(worst, (value - least) / size);
  }
  if (worst > allowed)
    throw Error(fmt::format("wrong selection: off by {:.1e} of a pre-activation's size", worst));
  return worst;
}

/// A file's parameters, when they are of the case's kind.
SaeParameters start_parameters(const std::string& path, const SaeSpec& spec) {
  SaeFile file = load_sae(path);
  if (file.spec.n != spec.n || file.spec.d != spec.d || file.spec.tied != spec.tied) {
    throw InputError(fmt::format("'{}' is {} with n {}, d {}; the case is {} with n {}, d {}", path,
                                 file.spec.tied ? "tied" : "untied", file.spec.n, file.spec.d,
                                 spec.tied ? "tied" : "untied", spec.n, spec.d));
  }
  return std::move(file.parameters);
}

/// The first tokens of the first batch.
HostTensor tokens_to_check(const SaeSpec& spec, const SaeOptions& options) {
  const int64_t rows = std::min<int64_t>(spec.max_batch, 64);
  if (!options.tokens.empty()) return TokenFile(options.tokens, spec.d, spec.max_batch).read(0, rows);
  return random_tokens(rows, spec.d, options.density, 10);
}

}  // namespace

void add_sae_options(CLI::App& app, SaeOptions& options) {
  app.add_option("--shape", options.shapes, "tokens, width, latents: B,d,n (may be repeated)");
  app.add_option("--k", options.k, "latents kept per token")->capture_default_str();
  app.add_option("--precision", options.precision, "fp32, tf32, bf16, or auto: the device's usual one")
      ->check(CLI::IsMember({"auto", "fp32", "tf32", "bf16"}));
  app.add_flag("--untied,!--tied", options.untied, "own decoder weights");
  app.add_option("--density", options.density, "share of input values that are not zero")
      ->capture_default_str();
  app.add_option("--tokens", options.tokens, "take tokens from this .npy, float32 [N, d], batch after batch");
  app.add_option("--start", options.start, "start from this sae.safetensors instead of random weights");
  add_meter_options(app, options.meter);
}

std::vector<SaeSpec> sae_specs(const SaeOptions& options, const Meter& meter) {
  std::vector<std::string> shapes = options.shapes;
  if (shapes.empty()) {
    shapes = meter.on_host() ? std::vector<std::string>{"4096,64,1024", "4096,128,2048", "2048,528,8448"}
                             : std::vector<std::string>{"65536,48,768", "65536,128,2048", "16384,512,8192"};
  }
  std::vector<SaeSpec> specs;
  for (const std::string& shape : shapes) {
    SaeSpec spec = parse_shape(shape);
    spec.k = options.k;
    spec.tied = !options.untied;
    spec.precision = options.precision == "auto" ? meter.device().backend().usual_precision()
                                                 : parse_sae_precision(options.precision);
    specs.push_back(spec);
  }
  return specs;
}

HostTensor random_tokens(int64_t rows, int64_t d, double density, uint64_t seed) {
  HostTensor x({rows, d});
  Random random(seed, 0);
  for (float& value : x.values())
    value = density >= 1 || random.uniform() < density ? static_cast<float>(random.normal()) : 0.0F;
  return x;
}

SaeParameters random_parameters(const SaeSpec& spec) {
  SaeParameters p;
  const auto rows = [&](uint64_t seed) {
    HostTensor w = random_tokens(spec.n, spec.d, 1, seed);
    for (float& value : w.values()) value *= 0.5F / std::sqrt(static_cast<float>(spec.d));
    return w;
  };
  p.w = rows(1);
  if (!spec.tied) p.w_dec = rows(2);
  p.b_enc = HostTensor({spec.n});
  p.b_pre = HostTensor({spec.d});
  return p;
}

TokenBatches::TokenBatches(const Meter& meter, const SaeSpec& spec, const SaeOptions& options)
    : rows_(spec.max_batch), d_(spec.d) {
  if (!options.tokens.empty()) {
    const TokenFile file(options.tokens, d_, rows_);
    for (int64_t row = 0; row + rows_ <= file.rows(); row += rows_) add(meter, file.read(row, rows_));
    return;
  }
  const int64_t wanted = meter.rotated(rows_ * d_ * static_cast<int64_t>(sizeof(float)));
  for (int64_t i = 0; i < wanted; ++i)
    add(meter, random_tokens(rows_, d_, options.density, static_cast<uint64_t>(10 + i)));
}

void TokenBatches::add(const Meter& meter, const HostTensor& batch) {
  batches_.push_back(meter.upload(batch.data(), batch.size()));
  nonzero_ += std::ranges::count_if(batch.values(), [](float value) { return value != 0; });
}

double TokenBatches::density() const {
  return static_cast<double>(nonzero_) / static_cast<double>(count() * rows_ * d_);
}

View<const float, 2> TokenBatches::of(int64_t run) const {
  return {batches_[static_cast<size_t>(run) % batches_.size()].data(), {rows_, d_}};
}

SaeCase make_sae_case(const SaeSpec& spec, const SaeOptions& options, const Meter& meter) {
  SaeCase made{options.start.empty() ? random_parameters(spec) : start_parameters(options.start, spec),
               meter.device().backend().make_sae(spec), tokens_to_check(spec, options)};
  made.sae->load_sync(made.parameters);
  return made;
}

double check_encode(SaeExecutor& sae, const Meter& meter, const SaeParameters& parameters,
                    const HostTensor& tokens, double allowed) {
  const SaeSpec& spec = sae.spec();
  const HostTensor x = first_rows(tokens, rows_to_check(spec));
  reference::Sae expected(spec);
  expected.load(parameters);
  const std::vector<Selection> kept = encode(sae, meter, x), all = expected.encode(x.matrix(), spec.n);
  double worst = 0;
  for (size_t token = 0; token < kept.size(); ++token) {
    double squares = 0;
    for (int64_t c = 0; c < spec.d; ++c) squares += std::pow(x.matrix()(static_cast<int64_t>(token), c), 2);
    const double size = 0.5 * std::sqrt(squares) + 1e-30;  // |x| |w|
    worst = std::max(worst, check_token(kept[token], all[token], spec.k, size, allowed));
  }
  return worst;
}

GradientCheck check_gradients(SaeExecutor& sae, const Meter& meter, const SaeParameters& parameters,
                              const HostTensor& tokens, double allowed) {
  const SaeSpec& spec = sae.spec();
  const HostTensor rows = first_rows(tokens, rows_to_check(spec));
  reference::Sae expected(spec);
  expected.load(parameters);
  const std::vector<Selection> selected = encode(sae, meter, rows);
  const auto x = meter.upload(rows.data(), rows.size());
  const SaeGradients actual =
      sae.gradients_sync(View<const float, 2>(x.data(), {rows.dim(0), rows.dim(1)}), SaeStep{});
  const reference::SaeResult wanted = expected.gradients(rows.matrix(), SaeStep{}, &selected);
  const GradientCheck check{std::abs(actual.loss / wanted.loss - 1),
                            std::max({relative_difference(actual.w, wanted.gradients.w),
                                      relative_difference(actual.w_dec, wanted.gradients.w_dec),
                                      relative_difference(actual.b_enc, wanted.gradients.b_enc),
                                      relative_difference(actual.b_pre, wanted.gradients.b_pre)})};
  if (!(check.loss < allowed && check.gradient < allowed))
    throw Error(fmt::format("wrong result: loss off by {}, gradient by {}", check.loss, check.gradient));
  return check;
}

/// Single precision: 6e-8 times the square root of the terms of a sum. TF32 keeps 10 bits of each factor,
/// bf16 7.
double tolerance(SaePrecision precision) {
  if (precision == SaePrecision::kBf16) return 1e-2;
  return precision == SaePrecision::kTf32 ? 1e-3 : 1e-5;
}

int64_t number_bytes(SaePrecision precision) {
  return precision == SaePrecision::kBf16 ? 2 : 4;
}

double encode_flop(const SaeSpec& spec) {
  return 2 * static_cast<double>(spec.max_batch) * static_cast<double>(spec.n) * static_cast<double>(spec.d);
}

nlohmann::json case_fields(const char* name, const SaeExecutor& sae, const SaeOptions& options,
                           const Meter& meter, const std::vector<double>& seconds) {
  const SaeSpec& spec = sae.spec();
  nlohmann::json fields{{"case", name},
                        {"batch", spec.max_batch},
                        {"d", spec.d},
                        {"n", spec.n},
                        {"k", spec.k},
                        {"precision", to_string(spec.precision)},
                        {"density", options.density},
                        {"kernels", sae.description()},
                        {"tokens_per_s", static_cast<double>(spec.max_batch) / quantile(seconds, 0.5)}};
  fields.update(device_fields(meter));
  fields.update(time_fields(seconds));
  return fields;
}

std::string shape_text(const nlohmann::json& result) {
  return fmt::format("{}/{}/{}", result["batch"].get<int64_t>(), result["d"].get<int64_t>(),
                     result["n"].get<int64_t>());
}

void run_cases(const SaeBench& bench, const SaeOptions& options) {
  const Meter meter(options.meter);
  bool first = true;
  for (const SaeSpec& spec : sae_specs(options, meter)) {
    const nlohmann::json result = bench.run_case(spec, options, meter);
    if (options.meter.json) {
      fmt::print("{}\n", result.dump());
      continue;
    }
    if (first) bench.print_header(result, meter);
    first = false;
    bench.print_row(result);
  }
}

}  // namespace branchsae::bench
