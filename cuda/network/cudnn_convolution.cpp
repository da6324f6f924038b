#include "cuda/network/cudnn_convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cuda/device.h"
#include "engine/error.h"

namespace branchsae::cuda {
namespace {

/// Names of tensors in a plan; the first four are kConvolutionTensors.
enum Uid : int64_t { kSrc = 1, kWeight, kBias, kDst, kProducts, kSums };

constexpr int64_t kAlignment = 16;
/// Engines that want more convert whole batches; there is always one that does not.
constexpr int64_t kMostWorkspace = int64_t{256} << 20;

cudnnDataType_t data_type(Element element) {
  switch (element) {
    case Element::kF16:
      return CUDNN_DATA_HALF;
    case Element::kBf16:
      return CUDNN_DATA_BFLOAT16;
    case Element::kF32:
      break;
  }
  return CUDNN_DATA_FLOAT;
}

/// cuDNN writes extents as N, C, H, W, whatever the strides.
using Extents = std::array<int64_t, 4>;

Extents nhwc_strides(const Extents& extents, int64_t pixel_stride) {
  return {extents[2] * extents[3] * pixel_stride, 1, extents[3] * pixel_stride, pixel_stride};
}

CudnnDescriptor tensor(Uid uid, cudnnDataType_t type, const Extents& extents, const Extents& strides,
                       bool is_virtual = false) {
  CudnnDescriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor");
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, static_cast<int64_t>(uid));
  result.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type);
  result.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
  result.set(CUDNN_ATTR_TENSOR_DIMENSIONS, extents);
  result.set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  result.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
  result.finalize();
  return result;
}

CudnnDescriptor pointwise(cudnnPointwiseMode_t mode) {
  CudnnDescriptor result(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "a pointwise operation");
  result.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
  result.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  result.finalize();
  return result;
}

/// The descriptors of conv -> + bias -> ReLU. Intermediate sums are float32 and never stored.
class FusedGraph {
 public:
  FusedGraph(const ConvProblem& p, Element bias)
      : src_extents_{p.images, p.channels, p.height, p.width},
        dst_extents_{p.images, p.outputs, p.out_height, p.out_width},
        src_(
            tensor(kSrc, data_type(p.element), src_extents_, nhwc_strides(src_extents_, p.src_pixel_stride))),
        weight_(weight_tensor(p)),
        bias_(tensor(kBias, data_type(bias), {1, p.outputs, 1, 1}, {p.outputs, 1, p.outputs, p.outputs})),
        dst_(
            tensor(kDst, data_type(p.element), dst_extents_, nhwc_strides(dst_extents_, p.dst_pixel_stride))),
        products_(intermediate(kProducts)),
        sums_(intermediate(kSums)) {
    convolve(p);
    add_pointwise(CUDNN_POINTWISE_ADD, products_, &bias_, p.relu ? sums_ : dst_);
    if (p.relu) add_pointwise(CUDNN_POINTWISE_RELU_FWD, sums_, nullptr, dst_);
    graph_ = CudnnDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "an operation graph");
    std::vector<const CudnnDescriptor*> operations;
    for (const CudnnDescriptor& operation : operations_) operations.push_back(&operation);
    graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  }

  CudnnDescriptor& graph() { return graph_; }

 private:
  CudnnDescriptor weight_tensor(const ConvProblem& p) const {
    const Extents extents{p.outputs, p.channels / p.groups, p.kernel[0], p.kernel[1]};
    return tensor(kWeight, data_type(p.element), extents, nhwc_strides(extents, extents[1]));
  }
  CudnnDescriptor intermediate(Uid uid) const {
    return tensor(uid, CUDNN_DATA_FLOAT, dst_extents_, nhwc_strides(dst_extents_, dst_extents_[1]), true);
  }

  void convolve(const ConvProblem& p) {
    convolution_ = CudnnDescriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "a convolution");
    convolution_.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    convolution_.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
    convolution_.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2});
    convolution_.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, p.stride);
    convolution_.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, p.dilation);
    convolution_.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, p.pad_begin);
    convolution_.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, p.pad_end);
    convolution_.finalize();
    CudnnDescriptor& operation = operations_.emplace_back(
        CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, "a convolution " + p.text());
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution_);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, src_);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight_);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, products_);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1.0F);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 0.0F);
    operation.finalize();
  }

  void add_pointwise(cudnnPointwiseMode_t mode, const CudnnDescriptor& src, const CudnnDescriptor* other,
                     const CudnnDescriptor& dst) {
    const CudnnDescriptor& kind = kinds_.emplace_back(pointwise(mode));
    CudnnDescriptor& operation =
        operations_.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "a pointwise operation");
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, src);
    if (other != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *other);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, dst);
    operation.finalize();
  }

  Extents src_extents_, dst_extents_;
  CudnnDescriptor src_, weight_, bias_, dst_, products_, sums_, convolution_, graph_;
  std::vector<CudnnDescriptor> kinds_, operations_;
};

bool has(const std::vector<cudnnBackendNumericalNote_t>& notes, cudnnBackendNumericalNote_t note) {
  return std::ranges::find(notes, note) != notes.end();
}

/// Empty when the engine's numbers are those that the problem asks for.
std::string objection(const ConvProblem& problem, const std::vector<cudnnBackendNumericalNote_t>& notes) {
  if (has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return "is not deterministic";
  if (has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return "rounds its inputs";
  if (has(notes, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return "sums in less than float32";
  const bool plain_f32 = problem.element == Element::kF32 && !problem.tf32;
  if (plain_f32 && has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) return "rounds float32 to TF32";
  return "";
}

/// Engines that do not take strides copy what is strided to their work space and back.
int64_t most_workspace(const ConvProblem& p) {
  int64_t most = kMostWorkspace;
  const int64_t bytes = element_bytes(p.element);
  if (p.src_pixel_stride != p.channels) {
    most = std::min(most, p.images * p.height * p.width * p.channels * bytes - 1);
  }
  if (p.dst_pixel_stride != p.outputs) {
    most = std::min(most, p.images * p.out_height * p.out_width * p.outputs * bytes - 1);
  }
  return most;
}

/// Tries one engine configuration; null with a reason when it does not do.
std::unique_ptr<CudnnPlan> try_engine(const CudnnDescriptor& properties, const ConvProblem& problem,
                                      const CudnnDescriptor& configuration, std::string& why_not) {
  const auto engines =
      configuration.descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine");
  // Asked for one, cuDNN fills the first.
  if (engines.empty()) return nullptr;
  const CudnnDescriptor& engine = engines.front();
  const int64_t index = engine.int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  const auto notes =
      engine.list<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
  if (const std::string reason = objection(problem, notes); !reason.empty()) {
    why_not = fmt::format("engine {} {}", index, reason);
    return nullptr;
  }
  auto result = std::make_unique<CudnnPlan>();
  result->plan = CudnnDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "an execution plan");
  result->plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
  result->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  if (const cudnnStatus_t status = result->plan.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
    why_not = fmt::format("engine {}: {}", index, cudnn_reason(status));
    return nullptr;
  }
  result->workspace_bytes = result->plan.int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  if (result->workspace_bytes > most_workspace(problem)) {
    why_not = fmt::format("engine {} wants {} bytes of work space, {} at most are of use", index,
                          result->workspace_bytes, most_workspace(problem));
    return nullptr;
  }
  result->name = fmt::format("cuDNN engine {}{}", index,
                             has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ? ", tensor cores" : "");
  return result;
}

std::vector<CudnnDescriptor> configurations(const CudnnDescriptor& properties, const CudnnDescriptor& graph,
                                            cudnnBackendHeurMode_t mode, std::string& why_not) {
  CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (const cudnnStatus_t status = heuristics.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
    why_not = "heuristics: " + cudnn_reason(status);
    return {};
  }
  return heuristics.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                "an engine configuration");
}

}  // namespace

CudnnDescriptor device_properties(int index) {
  CudnnDescriptor result(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device properties");
  result.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, static_cast<int32_t>(index));
  result.finalize();
  return result;
}

CudnnDescriptor device_properties(const std::string& json) {
  CudnnDescriptor result(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device properties");
  result.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
             static_cast<int64_t>(json.size()) + 1, json.c_str());
  result.finalize();
  return result;
}

std::unique_ptr<CudnnPlan> plan_convolution(const CudnnDescriptor& properties, const ConvProblem& problem,
                                            std::string& why_not) {
  struct Attempt {
    Element bias;
    cudnnBackendHeurMode_t mode;
    Standing standing;
  };
  std::vector<Attempt> attempts{{problem.element, CUDNN_HEUR_MODE_A, Standing::kRecommended}};
  if (problem.element != Element::kF32) {
    attempts.push_back({Element::kF32, CUDNN_HEUR_MODE_A, Standing::kOffered});
  }
  attempts.push_back({problem.element, CUDNN_HEUR_MODE_FALLBACK, Standing::kFallback});
  for (const auto& [bias, mode, standing] : attempts) {
    FusedGraph fused(problem, bias);
    if (const cudnnStatus_t status = fused.graph().try_finalize(); status != CUDNN_STATUS_SUCCESS) {
      why_not = "operation graph: " + cudnn_reason(status);
      continue;
    }
    for (const CudnnDescriptor& configuration : configurations(properties, fused.graph(), mode, why_not)) {
      if (auto plan = try_engine(properties, problem, configuration, why_not)) {
        plan->bias_element = bias;
        plan->standing = standing;
        return plan;
      }
    }
  }
  return nullptr;
}

}  // namespace branchsae::cuda
