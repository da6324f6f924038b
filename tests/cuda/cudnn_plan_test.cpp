/// cuDNN itself, without a device: since 9.8 it plans for devices that are only described. What it offers
/// here for InceptionV1 is what it offers there; only running needs a GPU.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>

#include "cuda/device.h"
#include "cuda/network/compiler.h"
#include "cuda/network/cudnn_convolution.h"
#include "engine/error.h"
#include "tests/reference/inception_graph.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::cuda;

namespace {

/// Published figures, as cuDNN writes a device's properties.
std::string described(const std::string& name, int version, int multiprocessors, int smem_optin,
                      int l2_mebibytes, int clock_khz) {
  return fmt::format(
      R"({{"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
      R"("multiProcessorCount":{},"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
      R"("maxSharedMemoryPerBlockOptin":{},"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
      R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
      R"("supportCoopLaunch":1,"totalGlobalMem":85000000000,"smClockRateKHz":{},"memClockRateKHz":2600000,)"
      R"("l2CacheSize":{},"cudaDeviceId":0,"deviceVer":{},"driverVer":13000,"deviceName":"{}"}})",
      multiprocessors, smem_optin, clock_khz, int64_t{l2_mebibytes} << 20, version, name);
}
std::string h200() {
  return described("NVIDIA H200", 900, 132, 232448, 60, 1980000);
}
std::string a100() {
  return described("NVIDIA A100", 800, 108, 166912, 40, 1410000);
}

/// Plans that cannot run.
class Planner final : public ConvolutionLibrary {
 public:
  explicit Planner(const std::string& json) : properties_(device_properties(json)) {}
  std::string description() const override { return "cuDNN for a described device"; }
  std::shared_ptr<ConvPlan> plan(const ConvProblem& problem, std::string& why_not) override {
    auto [found, is_new] = plans_.try_emplace(problem);
    if (is_new) {
      if (auto made = plan_convolution(properties_, problem, why_not_[problem])) {
        found->second = std::make_shared<Plan>(std::move(made));
      }
    }
    why_not = why_not_[problem];
    return found->second;
  }

 private:
  struct Plan final : ConvPlan {
    explicit Plan(std::unique_ptr<CudnnPlan> made) : plan(std::move(made)) {}
    std::string name() const override { return plan->name; }
    Standing standing() const override { return plan->standing; }
    int64_t workspace_bytes() const override { return plan->workspace_bytes; }
    Element bias_element() const override { return plan->bias_element; }
    void run(cudaStream_t, const void*, const void*, const void*, void*, void*) override {
      FAIL("there is no device to run on");
    }
    std::unique_ptr<CudnnPlan> plan;
  };
  CudnnDescriptor properties_;
  std::map<ConvProblem, std::shared_ptr<ConvPlan>> plans_;
  std::map<ConvProblem, std::string> why_not_;
};

struct Counts {
  int convolutions = 0, on_tensor_cores = 0, copies = 0;
};

Counts compile_for(const std::string& json, NetworkPrecision precision, ValueId test::InceptionGraph::*value,
                   size_t block) {
  const test::InceptionGraph net = test::inception_graph(1, 1000, 1);
  const ValueId wanted = value == nullptr ? net.blocks.at(block) : net.*value;
  Planner library(json);
  NetworkOptions options;
  options.taps = {{"tap", {{wanted, 0, net.graph.value(wanted).shape.at(1)}}}};
  options.max_batch = 64;
  options.precision = precision;
  const CompiledNetwork network = compile(library, net.graph, options, Lowering::kAuto);
  Counts counts;
  for (const LayerPtr& layer : network.layers) {
    if (layer->info.op != "Conv") continue;
    CAPTURE(layer->info.node);
    CHECK(layer->info.implementation.find("cuDNN engine") == 0);
    ++counts.convolutions;
    counts.on_tensor_cores += layer->info.implementation.find("tensor cores") != std::string::npos ? 1 : 0;
    counts.copies += layer->info.implementation.find("copied") != std::string::npos ? 1 : 0;
  }
  CHECK(network.scratch_bytes < int64_t{1} << 30);
  return counts;
}

}  // namespace

TEST_CASE("cuDNN plans the whole of InceptionV1 in bf16 for an H200, every convolution on tensor cores") {
  const Counts counts = compile_for(h200(), NetworkPrecision::kBf16, &test::InceptionGraph::prob, 0);
  // 57 convolutions; each of the nine blocks merges three into one.
  CHECK(counts.convolutions == 57 - 9 * 2);
  CHECK(counts.on_tensor_cores == counts.convolutions);
  // Either it takes strided activations, or the two readers of merged outputs copy them: never both.
  const bool none_or_two_a_block = counts.copies == 0 || counts.copies == 9 * 2;
  CHECK(none_or_two_a_block);
}

TEST_CASE("cuDNN plans the first blocks in every precision, for an A100 too") {
  for (const std::string& json : {h200(), a100()}) {
    for (const NetworkPrecision precision :
         {NetworkPrecision::kBf16, NetworkPrecision::kF16, NetworkPrecision::kTf32, NetworkPrecision::kF32}) {
      CAPTURE(json);
      CAPTURE(to_string(precision));
      const Counts counts = compile_for(json, precision, nullptr, 0);
      CHECK(counts.convolutions == 3 + 4);
      if (precision == NetworkPrecision::kF32) {
        CHECK(counts.on_tensor_cores == 0);  // they would round to TF32
      } else if (precision != NetworkPrecision::kTf32) {
        CHECK(counts.on_tensor_cores == counts.convolutions);
      } else {
        CHECK(counts.on_tensor_cores > 0);
      }
    }
  }
}

TEST_CASE("a problem that makes no sense is refused with its shapes, in one line") {
  Planner library(h200());
  std::string why_not;
  ConvProblem problem{.element = Element::kBf16,
                      .tf32 = false,
                      .images = 2,
                      .channels = 8,
                      .height = 6,
                      .width = 6,
                      .src_pixel_stride = 8,
                      .outputs = 8,
                      .out_height = 99,  // cannot be
                      .out_width = 6,
                      .dst_pixel_stride = 8};
  try {
    const auto plan = library.plan(problem, why_not);
    CHECK(plan == nullptr);
    CHECK_FALSE(why_not.empty());
  } catch (const DeviceError& error) {
    const std::string message = error.what();
    CHECK(message.find("[2, 6, 6, 8] * [8, 1, 1, 8] -> [2, 99, 6, 8]") != std::string::npos);
    CHECK(message.find("cuDNN: ") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
  CHECK_THROWS_AS(device_properties("{}"), DeviceError);
}

TEST_CASE("without a device cuDNN cannot be started, and says so in one line") {
  if (why_unavailable().empty()) {
    test::skip("there is a device");
    return;
  }
  try {
    make_convolution_library(0);
    FAIL("no error");
  } catch (const DeviceError& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    CHECK(error.exit_code() == 1);
  }
}
