#pragma once
/// Autoencoders, tokens and comparisons for the tests of every backend.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "tests/reference/sae.h"
#include "tests/sae_cases/sae_device.h"

namespace branchsae::test {

HostTensor normal_tensor(Shape shape, double deviation, uint64_t seed);
/// Integers in [-most, most]: with few columns all sums are exact in single precision.
HostTensor integer_tensor(Shape shape, int most, uint64_t seed);
/// Rows of norm about 0.5, small biases, a scale that is not 1.
SaeParameters random_parameters(const SaeSpec& spec, uint64_t seed);
/// Rows of the decoder made unit vectors.
void normalise_decoder(const SaeSpec& spec, SaeParameters& parameters);
SaeParameters clone(const SaeParameters& parameters);

std::unique_ptr<SaeExecutor> make_loaded(const SaeSpec& spec, const SaeParameters& parameters,
                                         int threads = 2);

/// Sizes whose training has to give the same bytes: both gradient schemes of the CPU, several slices, ragged
/// sizes, AuxK in both.
struct SameBytesSetup {
  const char* name;
  int64_t d, n, k, aux_k;
  bool tied, unit_norm;

  SaeSpec spec(int64_t max_batch) const;
};
inline constexpr SameBytesSetup kSameBytesSetups[] = {
    {"scattered", 48, 768, 32, 0, true, false},
    {"scattered, untied, AuxK", 30, 500, 10, 20, false, false},
    {"ranges", 130, 1700, 32, 0, true, false},
    {"ranges, AuxK", 150, 1500, 16, 40, true, false},
    {"ranges, untied, unit rows", 140, 1111, 20, 0, false, true},
    // Fewer latents than tokens: the halves of a batch are summed apart.
    {"ranges, halves", 200, 690, 32, 0, true, false},
    {"ranges, halves, AuxK", 290, 500, 16, 40, true, false},
    {"ranges, halves, untied, unit rows", 130, 600, 20, 0, false, true}};

/// A copy in the device's memory, ready to be read.
template <class T>
class OnDevice {
 public:
  OnDevice(const T* values, int64_t count) : buffer_(sae_backend().buffer<T>(count, "test")) {
    const auto stream = sae_backend().make_stream();
    sae_backend().copy_to_device(*stream, buffer_.data(), values, count * static_cast<int64_t>(sizeof(T)));
    stream->synchronize();
  }
  explicit OnDevice(const HostTensor& tensor) : OnDevice(tensor.data(), tensor.size()) {
    shape_ = tensor.shape();
  }
  explicit OnDevice(const std::vector<T>& values)
      : OnDevice(values.data(), static_cast<int64_t>(values.size())) {}

  View<T, 2> matrix() { return {buffer_.data(), {shape_.at(0), shape_.at(1)}}; }
  View<T, 2> matrix(int64_t rows, int64_t columns) { return {buffer_.data(), {rows, columns}}; }
  T* data() { return buffer_.data(); }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<size_t>(buffer_.size()));
    const auto stream = sae_backend().make_stream();
    sae_backend().copy_to_host(*stream, values.data(), buffer_.data(),
                               buffer_.size() * static_cast<int64_t>(sizeof(T)));
    stream->synchronize();
    return values;
  }

 private:
  DeviceBuffer<T> buffer_;
  Shape shape_;
};

/// Steps on one stream, and waits.
void step_sync(SaeExecutor& sae, View<const float, 2> tokens, const SaeStep& step);

/// encode() of tokens on the device, as lists.
std::vector<reference::Selection> encode_lists(SaeExecutor& sae, View<const float, 2> tokens, int64_t k);
std::vector<reference::Selection> encode_lists(SaeExecutor& sae, const HostTensor& tokens, int64_t k);

/// Everything a checkpoint holds.
std::string bytes_of(const SaeExecutor& sae);

/// |a - b| / |b|, 0 when both are zero.
template <class A, class B>
double relative_difference(const A& a, const B& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

}  // namespace branchsae::test
