#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/random.h"
#include "engine/shape.h"
#include "loader/synthetic.h"

namespace branchsae {
namespace loader {
namespace {

/// Channels of one inception block, before division.
struct BlockWidths {
  const char* name;
  int64_t one, three_reduce, three, five_reduce, five, pool;
};

/// Source: Szegedy et al. 2014, arXiv:1409.4842, table 1.
constexpr std::array<BlockWidths, 9> kBlocks{{{"inception_3a", 64, 96, 128, 16, 32, 32},
                                              {"inception_3b", 128, 128, 192, 32, 96, 64},
                                              {"inception_4a", 192, 96, 208, 16, 48, 64},
                                              {"inception_4b", 160, 112, 224, 24, 64, 64},
                                              {"inception_4c", 128, 128, 256, 24, 64, 64},
                                              {"inception_4d", 112, 144, 288, 32, 64, 64},
                                              {"inception_4e", 256, 160, 320, 32, 128, 128},
                                              {"inception_5a", 256, 160, 320, 32, 128, 128},
                                              {"inception_5b", 384, 192, 384, 48, 128, 128}}};

/// Typical size of a preprocessed pixel: the first convolution divides by it so that activations start
/// near 1.
constexpr double kPixelScale = 64.0;
constexpr double kBiasDeviation = 0.1;
/// Squared norm of a zero-sum filter that keeps activations' size: He's is 2 because a rectified standard
/// normal has a mean square of 1/2; a zero-sum filter sees only its variance, 1/2 - 1/(2 pi).
constexpr double kFilterEnergy = 1.0 / (0.5 - 0.5 * std::numbers::inv_pi);

/// A tensor and its channels while the network is written from input to output.
struct Flow {
  std::string name;
  int64_t channels;
};

class ModelWriter {
 public:
  explicit ModelWriter(const SyntheticModel& options) : options_(options) {
    model_.set_ir_version(8);
    model_.set_producer_name("branchsae synthetic");
    auto* opset = model_.add_opset_import();
    opset->set_domain("");
    opset->set_version(13);
    model_.mutable_graph()->set_name("synthetic InceptionV1");
  }

  onnx::ModelProto write() {
    add_value(model_.mutable_graph()->add_input(), "data", {-1, 3, -1, -1});
    Flow flow = convolution({"data", 3}, "conv1/7x7_s2", 64, 7, 2, 1.0 / kPixelScale);
    flow = normalise(max_pool(flow, "pool1/3x3_s2", 2), "pool1/norm1");
    flow = convolution(convolution(flow, "conv2/3x3_reduce", 64, 1), "conv2/3x3", 192, 3);
    flow = max_pool(normalise(flow, "conv2/norm2"), "pool2/3x3_s2", 2);
    for (const BlockWidths& widths : kBlocks) {
      flow = block(flow, widths);
      const std::string name = widths.name;
      if (name == "inception_3b") flow = max_pool(flow, "pool3/3x3_s2", 2);
      if (name == "inception_4e") flow = max_pool(flow, "pool4/3x3_s2", 2);
    }
    classifier(flow);
    add_value(model_.mutable_graph()->add_output(), "prob", {-1, options_.classes});
    return std::move(model_);
  }

 private:
  int64_t divided(int64_t channels) const { return std::max<int64_t>(1, channels / options_.width_divisor); }

  onnx::NodeProto* node(const char* type, const std::string& name, std::initializer_list<std::string> inputs,
                        const std::string& output) {
    auto* made = model_.mutable_graph()->add_node();
    made->set_op_type(type);
    made->set_name(name);
    for (const std::string& input : inputs) made->add_input(input);
    made->add_output(output);
    return made;
  }

  static void integers(onnx::NodeProto* node, const char* name, std::initializer_list<int64_t> values) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute->add_ints(value);
  }
  static void integer(onnx::NodeProto* node, const char* name, int64_t value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void real(onnx::NodeProto* node, const char* name, float value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::FLOAT);
    attribute->set_f(value);
  }

  static void add_value(onnx::ValueInfoProto* value, const std::string& name, const Shape& shape) {
    value->set_name(name);
    auto* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    static constexpr std::array<const char*, 4> kLetters{"N", "C", "H", "W"};
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      auto* dimension = type->mutable_shape()->add_dim();
      if (shape[axis] < 0)
        dimension->set_dim_param(kLetters.at(axis));
      else
        dimension->set_dim_value(shape[axis]);
    }
  }

  void initializer(const std::string& name, const Shape& shape, const std::vector<float>& values) {
    auto* tensor = model_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (int64_t extent : shape) tensor->add_dims(extent);
    tensor->set_raw_data(values.data(), values.size() * sizeof(float));
  }

  /// `filters` rows of fan_in weights, each of mean 0 and of norm gain * sqrt(kFilterEnergy).
  std::vector<float> filters(int64_t count, int64_t fan_in, double gain) {
    Random random(options_.seed, next_stream_++);
    std::vector<float> weights(static_cast<size_t>(count * fan_in));
    std::vector<double> row(static_cast<size_t>(fan_in));
    for (int64_t f = 0; f < count; ++f) {
      double sum = 0;
      for (double& value : row) sum += value = random.normal();
      // A filter of one weight cannot sum to zero.
      const double mean = fan_in > 1 ? sum / static_cast<double>(fan_in) : 0.0;
      double squares = 0;
      for (double& value : row) {
        value -= mean;
        squares += value * value;
      }
      const double scale = gain * std::sqrt(kFilterEnergy / squares);
      std::transform(row.begin(), row.end(), weights.begin() + f * fan_in,
                     [scale](double value) { return static_cast<float>(value * scale); });
    }
    return weights;
  }

  std::vector<float> biases(int64_t count) {
    Random random(options_.seed, next_stream_++);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(random.normal() * kBiasDeviation);
    return values;
  }

  Flow convolution(const Flow& in, const std::string& name, int64_t full_channels, int64_t kernel,
                   int64_t stride = 1, double gain = 1.0) {
    const int64_t channels = divided(full_channels);
    const int64_t pad = kernel / 2;
    initializer(name + "_w", {channels, in.channels, kernel, kernel},
                filters(channels, in.channels * kernel * kernel, gain));
    initializer(name + "_b", {channels}, biases(channels));
    auto* made = node("Conv", name, {in.name, name + "_w", name + "_b"}, name + "_preact");
    integers(made, "kernel_shape", {kernel, kernel});
    integers(made, "pads", {pad, pad, pad, pad});
    integers(made, "strides", {stride, stride});
    node("Relu", name + "/relu", {name + "_preact"}, name);
    return {name, channels};
  }

  Flow max_pool(const Flow& in, const std::string& name, int64_t stride) {
    const int64_t pad = stride == 1 ? 1 : 0;
    auto* made = node("MaxPool", name, {in.name}, name);
    integer(made, "ceil_mode", 1);
    integers(made, "kernel_shape", {3, 3});
    integers(made, "pads", {pad, pad, pad, pad});
    integers(made, "strides", {stride, stride});
    return {name, in.channels};
  }

  Flow normalise(const Flow& in, const std::string& name) {
    auto* made = node("LRN", name, {in.name}, name);
    integer(made, "size", 5);
    real(made, "alpha", 1e-4F);
    real(made, "beta", 0.75F);
    real(made, "bias", 1.0F);
    return {name, in.channels};
  }

  Flow block(const Flow& in, const BlockWidths& widths) {
    const std::string name = widths.name;
    const Flow one = convolution(in, name + "/1x1", widths.one, 1);
    const Flow three_reduce = convolution(in, name + "/3x3_reduce", widths.three_reduce, 1);
    const Flow three = convolution(three_reduce, name + "/3x3", widths.three, 3);
    const Flow five_reduce = convolution(in, name + "/5x5_reduce", widths.five_reduce, 1);
    const Flow five = convolution(five_reduce, name + "/5x5", widths.five, 5);
    const Flow pool = convolution(max_pool(in, name + "/pool", 1), name + "/pool_proj", widths.pool, 1);
    auto* made =
        node("Concat", name + "/output", {one.name, three.name, five.name, pool.name}, name + "/output");
    integer(made, "axis", 1);
    return {name + "/output", one.channels + three.channels + five.channels + pool.channels};
  }

  void classifier(const Flow& in) {
    const std::string name = "loss3/classifier";
    node("GlobalAveragePool", "pool5/7x7_s1", {in.name}, "pool5/7x7_s1");
    integer(node("Flatten", "pool5/flat", {"pool5/7x7_s1"}, "pool5/flat"), "axis", 1);
    initializer(name + "_w", {options_.classes, in.channels}, filters(options_.classes, in.channels, 1.0));
    initializer(name + "_b", {options_.classes}, biases(options_.classes));
    integer(node("Gemm", name, {"pool5/flat", name + "_w", name + "_b"}, name), "transB", 1);
    integer(node("Softmax", "prob", {name}, "prob"), "axis", 1);
  }

  SyntheticModel options_;
  onnx::ModelProto model_;
  uint64_t next_stream_ = 0;
};

}  // namespace
}  // namespace loader

void write_synthetic_inception(const std::filesystem::path& path, const SyntheticModel& options) {
  if (options.width_divisor < 1 || options.classes < 1 || options.classes > 1'000'000) {
    throw InputError(
        fmt::format("synthetic model: width divisor {} and {} classes; they must be at least 1 "
                    "(classes at most 1000000)",
                    options.width_divisor, options.classes));
  }
  const std::string bytes = loader::ModelWriter(options).write().SerializeAsString();
  write_file_atomically(path, std::span<const char>(bytes));
}

}  // namespace branchsae
