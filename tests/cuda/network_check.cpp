#include "tests/cuda/network_check.h"

#include <cstdlib>

#include "cuda/cuda_backend.h"
#include "engine/error.h"

namespace branchsae::cuda::test {

Environment::Environment(const char* name, const std::string& value) : name_(name) {
  const char* before = std::getenv(name);
  was_set_ = before != nullptr;
  if (was_set_) before_ = before;
  setenv(name, value.c_str(), 1);
}

Environment::~Environment() {
  was_set_ ? setenv(name_.c_str(), before_.c_str(), 1) : unsetenv(name_.c_str());
}

TestNetwork::TestNetwork(const Graph& graph, std::vector<Tap> taps, const Shape& images,
                         const Setting& setting, const Preprocess& preprocess)
    : backend_(make_backend(0, 1)), stream_(backend_->make_stream()) {
  NetworkOptions options;
  options.taps = std::move(taps);
  options.max_batch = setting.max_batch > 0 ? setting.max_batch : images.at(0);
  options.height = images.at(2);
  options.width = images.at(3);
  options.precision = setting.precision;
  options.preprocess = preprocess;
  const Environment lowering("BRANCHSAE_CUDA_LOWERING", setting.lowering);
  executor_ = backend_->make_network(graph, options);
}

void TestNetwork::run(const reference::Array& images) {
  const Shape& s = images.shape;
  const reference::Array nhwc = reference::tokens(images);
  const std::vector<float> values(nhwc.data.begin(), nhwc.data.end());
  const auto size_bytes = static_cast<int64_t>(values.size() * sizeof(float));
  stream_->synchronize();
  input_ = backend_->allocate(size_bytes, "images");
  backend_->copy_to_device(*stream_, input_.data(), values.data(), size_bytes);
  executor_->run(*stream_,
                 View<const float, 4>(static_cast<const float*>(input_.data()), {s[0], s[2], s[3], s[1]}));
  stream_->synchronize();
}

void TestNetwork::run(const std::vector<uint8_t>& pixels, const std::array<int64_t, 4>& shape) {
  const auto size_bytes = static_cast<int64_t>(pixels.size());
  stream_->synchronize();
  input_ = backend_->allocate(size_bytes, "pixels");
  backend_->copy_to_device(*stream_, input_.data(), pixels.data(), size_bytes);
  executor_->run(*stream_, View<const uint8_t, 4>(static_cast<const uint8_t*>(input_.data()), shape));
  stream_->synchronize();
}

std::vector<float> TestNetwork::floats(size_t tap) const {
  const View<const float, 2> rows = executor_->tap(tap).tokens();
  std::vector<float> dense(static_cast<size_t>(rows.size()));
  const DeviceMemory copy = backend_->allocate(static_cast<int64_t>(dense.size() * sizeof(float)), "rows");
  backend_->copy_rows(*stream_, rows, View<float, 2>(static_cast<float*>(copy.data()), rows.shape));
  backend_->copy_to_host(*stream_, dense.data(), copy.data(), copy.size_bytes());
  stream_->synchronize();
  return dense;
}

reference::Array TestNetwork::rows(size_t tap) const {
  const auto shape = executor_->tap(tap).tokens().shape;
  return reference::Array({shape[0], shape[1]}, floats(tap));
}

double worst_error(const Graph& graph, const std::vector<ValueId>& values, const reference::Array& images,
                   const Setting& setting) {
  TestNetwork network(graph, whole_taps(graph, values), images.shape, setting);
  network.run(images);
  return branchsae::test::worst_error(graph, values, images, [&](size_t tap) { return network.rows(tap); });
}

}  // namespace branchsae::cuda::test
