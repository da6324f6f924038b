#include "engine/device.h"

#include <fmt/format.h>

#include <charconv>

#include "engine/error.h"
#include "engine/log.h"
#include "engine/passes.h"

namespace branchsae {
namespace {

constexpr int64_t kUsualExtent = 224;  // GoogLeNet's input size

Device open_kind(std::string_view kind, int index, int threads) {
  const BackendFactory* factory = find_backend(kind);
  if (factory == nullptr) {
    throw DeviceError(
        fmt::format("this build has no {} backend; use --device {}", kind, kind == "cpu" ? "cuda" : "cpu"));
  }
  if (const std::string reason = factory->unavailable(); !reason.empty()) {
    throw DeviceError(fmt::format("device {} cannot be used: {}; use --device cpu", kind, reason));
  }
  return Device(factory->make(index, threads));
}

/// Parts of a joined tap must have the same H x W.
void check_grids(const Graph& graph, const std::vector<Tap>& taps, int64_t height, int64_t width) {
  std::vector<ValueId> wanted;
  for (const Tap& tap : taps) {
    for (const TapPart& part : tap.parts) wanted.push_back(part.value);
  }
  const std::vector<Shape> shapes = infer_shapes(prune(graph, wanted), 1, height, width);
  const auto grid = [&](const TapPart& part) {
    const Shape& shape = shapes[static_cast<size_t>(part.value)];
    return Shape(shape.begin() + 2, shape.end());
  };
  for (const Tap& tap : taps) {
    for (const TapPart& part : tap.parts) {
      if (grid(part) == grid(tap.parts[0])) continue;
      throw InputError(
          fmt::format("tap '{}' joins '{}' on a grid of {} with '{}' on {}; join layers of one grid only",
                      tap.name, graph.value(tap.parts[0].value).name, to_string(grid(tap.parts[0])),
                      graph.value(part.value).name, to_string(grid(part))));
    }
  }
}

Device open_best(int threads) {
  const BackendFactory* cuda = find_backend("cuda");
  std::string reason = cuda == nullptr ? "this build has no CUDA backend" : cuda->unavailable();
  if (reason.empty() && !cuda->complete) reason = "the CUDA backend of this build is not complete yet";
  if (reason.empty()) return open_kind("cuda", 0, threads);
  log(LogLevel::kInfo, fmt::format("using the CPU: {}", reason));
  return open_kind("cpu", 0, threads);
}

/// The graph's own extent along `axis` (2: H, 3: W) when it is fixed.
int64_t own_extent(const Graph& graph, size_t axis) {
  const Shape& shape = graph.value(graph.input).shape;
  return shape.size() == 4 && shape[axis] > 0 ? shape[axis] : kUsualExtent;
}

int64_t choose_extent(const Graph& graph, size_t axis, int64_t wanted) {
  if (wanted < 0) throw InputError(fmt::format("image size must be positive, not {}", wanted));
  const Shape& shape = graph.value(graph.input).shape;
  if (wanted == 0) return own_extent(graph, axis);
  if (shape.size() == 4 && shape[axis] > 0 && shape[axis] != wanted) {
    throw ShapeError(fmt::format("{}: the model's input is fixed at {}, not at {} pixels {}", graph.source,
                                 to_string(shape), wanted, axis == 2 ? "high" : "wide"));
  }
  return wanted;
}

}  // namespace

Device Device::cpu(int threads) {
  return open_kind("cpu", 0, threads);
}

Device Device::cuda(int index) {
  return open_kind("cuda", index, 0);
}

Device Device::open(std::string_view name, int threads) {
  if (threads < 0) throw InputError(fmt::format("threads must be at least 1, not {}", threads));
  if (name == "auto") return open_best(threads);
  if (name == "cpu") return open_kind("cpu", 0, threads);
  if (name == "cuda") return open_kind("cuda", 0, threads);
  if (name.starts_with("cuda:")) {
    int index = -1;
    const std::string_view digits = name.substr(5);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0)
      return open_kind("cuda", index, threads);
  }
  throw InputError(fmt::format("no device is called '{}'; give auto, cpu, cuda or cuda:N", name));
}

Program Device::compile(const Graph& graph, const CompileOptions& options) const {
  NetworkOptions network;
  for (const std::string& text : options.taps) network.taps.push_back(resolve_tap(graph, text));
  if (network.taps.empty()) throw InputError("no tap was asked for; name at least one, such as mixed4c.5x5");
  if (options.max_batch < 1)
    throw InputError(fmt::format("batch must be at least 1, not {}", options.max_batch));
  network.max_batch = options.max_batch;
  network.height = choose_extent(graph, 2, options.height);
  network.width = choose_extent(graph, 3, options.width);
  check_grids(graph, network.taps, network.height, network.width);
  if (graph.preprocess) network.preprocess = *graph.preprocess;
  network.conv = options.conv;
  network.precision = options.precision;
  std::vector<Tap> taps = network.taps;
  auto executor = backend_->make_network(graph, network);
  return Program(std::move(executor), std::move(taps), std::move(network));
}

Program::Program(std::unique_ptr<NetworkExecutor> executor, std::vector<Tap> taps, NetworkOptions options)
    : executor_(std::move(executor)), taps_(std::move(taps)), options_(std::move(options)) {}

TapOutput Program::tap(std::string_view name) const {
  for (size_t i = 0; i < taps_.size(); ++i) {
    if (taps_[i].name == name) return executor_->tap(i);
  }
  std::string known;
  for (const Tap& tap : taps_) known += (known.empty() ? "" : ", ") + tap.name;
  throw InputError(fmt::format("the program was not compiled with tap '{}'; it has {}", name, known));
}

}  // namespace branchsae
