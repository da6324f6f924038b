#pragma once
/// Sizes, data and checks that the benchmarks of the autoencoder share.
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/meter.h"
#include "engine/host_tensor.h"
#include "engine/sae.h"
#include "tests/reference/sae.h"

namespace branchsae::bench {

struct SaeOptions {
  MeterOptions meter;
  std::vector<std::string> shapes;
  std::string precision = "auto";  ///< auto: the device's usual one
  int64_t k = 32;
  bool untied = false;
  double density = 1;
  std::string tokens;  ///< .npy to take tokens from; empty: normal ones
  std::string start;   ///< sae.safetensors to start from; empty: random
};
/// --shape, --k, --precision, --untied, --density, --tokens, --start and the meter's.
void add_sae_options(CLI::App& app, SaeOptions& options);
/// The shapes asked for, else the usual ones of the device's kind. Throws InputError.
std::vector<SaeSpec> sae_specs(const SaeOptions& options, const Meter& meter);

/// Normal numbers, with a share of zeros as ReLU leaves them when density < 1.
HostTensor random_tokens(int64_t rows, int64_t d, double density, uint64_t seed);
/// Random rows of norm 1/2, no biases.
SaeParameters random_parameters(const SaeSpec& spec);

/// Batches of tokens on the device: all whole ones of options.tokens, else random ones, so many that none is
/// still in a cache when it comes again.
class TokenBatches {
 public:
  /// Throws InputError when the file does not fit the spec.
  TokenBatches(const Meter& meter, const SaeSpec& spec, const SaeOptions& options);
  int64_t count() const { return static_cast<int64_t>(batches_.size()); }
  /// Share of the numbers that are not zero.
  double density() const;
  /// The one that this call takes.
  View<const float, 2> of(int64_t run) const;

 private:
  void add(const Meter& meter, const HostTensor& batch);

  std::vector<DeviceBuffer<float>> batches_;
  int64_t rows_, d_, nonzero_ = 0;
};

/// An executor with the parameters of options.start, else random ones, and tokens to check it with.
struct SaeCase {
  SaeParameters parameters;
  std::unique_ptr<SaeExecutor> sae;
  HostTensor check_tokens;
};
SaeCase make_sae_case(const SaeSpec& spec, const SaeOptions& options, const Meter& meter);

/// How far the kept values of a few tokens are from double precision, relative to the size of
/// pre-activations; throws Error when more than `allowed`, or when a latent was left out that is larger than
/// a kept one by more than that.
double check_encode(SaeExecutor& sae, const Meter& meter, const SaeParameters& parameters,
                    const HostTensor& tokens, double allowed);
struct GradientCheck {
  double loss = 0, gradient = 0;  ///< relative differences
};
/// Loss and gradients of a few tokens against double precision at the same selection; throws Error as above.
GradientCheck check_gradients(SaeExecutor& sae, const Meter& meter, const SaeParameters& parameters,
                              const HostTensor& tokens, double allowed);
/// What rounding to the precision allows, relative to the norm of a sum.
double tolerance(SaePrecision precision);
/// Bytes of a number that products read.
int64_t number_bytes(SaePrecision precision);

/// Of the encode's matrix product for a batch.
double encode_flop(const SaeSpec& spec);
/// {"case", "batch", "d", "n", "k", "precision", "density", "kernels", "tokens_per_s"}, and those of device
/// and times.
nlohmann::json case_fields(const char* name, const SaeExecutor& sae, const SaeOptions& options,
                           const Meter& meter, const std::vector<double>& seconds);
/// "B/d/n"
std::string shape_text(const nlohmann::json& result);
/// Every case's result as a line of JSON, or as a row of a table under a header.
struct SaeBench {
  std::function<nlohmann::json(const SaeSpec& spec, const SaeOptions& options, const Meter& meter)> run_case;
  std::function<void(const nlohmann::json& first, const Meter& meter)> print_header;
  std::function<void(const nlohmann::json& result)> print_row;
};
void run_cases(const SaeBench& bench, const SaeOptions& options);

}  // namespace branchsae::bench
