#pragma once
/// Runs graphs on the CUDA backend (emulated or real) beside the double-precision reference.
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "tests/network_cases/network_check.h"
#include "tests/reference/network.h"

namespace branchsae::cuda::test {

struct Setting {
  NetworkPrecision precision = NetworkPrecision::kF32;
  std::string lowering = "auto";  ///< as BRANCHSAE_CUDA_LOWERING
  int64_t max_batch = 0;          ///< 0: as many as there are images
};

using branchsae::test::whole_tap;
using branchsae::test::whole_taps;

/// A network on a device with what belongs to it; images and rows on the host.
class TestNetwork {
 public:
  /// Compiled for the images' size [N, C, H, W].
  TestNetwork(const Graph& graph, std::vector<Tap> taps, const Shape& images, const Setting& setting = {},
              const Preprocess& preprocess = {});

  void run(const reference::Array& images);
  /// [N, H, W, 3]
  void run(const std::vector<uint8_t>& pixels, const std::array<int64_t, 4>& shape);
  /// A tap's rows after a run, [N*H*W, d], and as floats.
  reference::Array rows(size_t tap) const;
  std::vector<float> floats(size_t tap) const;

  NetworkExecutor& executor() { return *executor_; }
  Stream& stream() { return *stream_; }
  Backend& backend() { return *backend_; }

 private:
  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<NetworkExecutor> executor_;
  DeviceMemory input_;
};

/// Largest relative error (norm of difference over norm) of any of these values; +Inf when shapes differ.
double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const Setting& setting = {});

/// Sets an environment variable, and puts it back at the end.
class Environment {
 public:
  Environment(const char* name, const std::string& value);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::string name_, before_;
  bool was_set_;
};

}  // namespace branchsae::cuda::test
