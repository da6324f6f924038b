#include "tests/loader/onnx_builder.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "engine/error.h"
#include "tests/test_data.h"

namespace branchsae::test {
namespace fs = std::filesystem;
using ::onnx::AttributeProto;

::onnx::AttributeProto* OnnxNode::add(const std::string& name, AttributeProto::AttributeType type) {
  AttributeProto* attribute = proto_->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

OnnxNode& OnnxNode::integer(const std::string& name, int64_t value) {
  add(name, AttributeProto::INT)->set_i(value);
  return *this;
}

OnnxNode& OnnxNode::real(const std::string& name, float value) {
  add(name, AttributeProto::FLOAT)->set_f(value);
  return *this;
}

OnnxNode& OnnxNode::text(const std::string& name, const std::string& value) {
  add(name, AttributeProto::STRING)->set_s(value);
  return *this;
}

OnnxNode& OnnxNode::integers(const std::string& name, const std::vector<int64_t>& values) {
  AttributeProto* attribute = add(name, AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
  return *this;
}

OnnxNode& OnnxNode::reals(const std::string& name, const std::vector<float>& values) {
  AttributeProto* attribute = add(name, AttributeProto::FLOATS);
  for (const float value : values) attribute->add_floats(value);
  return *this;
}

::onnx::TensorProto& OnnxNode::tensor(const std::string& name) {
  return *add(name, AttributeProto::TENSOR)->mutable_t();
}

OnnxBuilder::OnnxBuilder(int64_t opset) {
  model_.set_ir_version(8);
  model_.add_opset_import()->set_version(opset);
  model_.mutable_graph()->set_name("test");
}

OnnxBuilder& OnnxBuilder::input(const std::string& name, const Shape& shape) {
  auto* info = graph().add_input();
  info->set_name(name);
  auto* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(::onnx::TensorProto::FLOAT);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    auto* dimension = type->mutable_shape()->add_dim();
    if (shape[axis] == kDynamic) {
      dimension->set_dim_param(std::string(1, 'd').append(std::to_string(axis)));
    } else {
      dimension->set_dim_value(shape[axis]);
    }
  }
  return *this;
}

OnnxBuilder& OnnxBuilder::output(const std::string& name) {
  graph().add_output()->set_name(name);
  return *this;
}

OnnxBuilder& OnnxBuilder::floats(const std::string& name, const Shape& shape,
                                 const std::vector<float>& values) {
  auto* tensor = graph().add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(::onnx::TensorProto::FLOAT);
  for (const int64_t extent : shape) tensor->add_dims(extent);
  for (const float value : values) tensor->add_float_data(value);
  return *this;
}

OnnxBuilder& OnnxBuilder::integers(const std::string& name, const Shape& shape,
                                   const std::vector<int64_t>& values) {
  auto* tensor = graph().add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(::onnx::TensorProto::INT64);
  for (const int64_t extent : shape) tensor->add_dims(extent);
  for (const int64_t value : values) tensor->add_int64_data(value);
  return *this;
}

OnnxBuilder& OnnxBuilder::weights(const std::string& name, const Shape& shape) {
  const int64_t count = element_count(shape);
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back((i % 2 == 0 ? 1.0F : -1.0F) * static_cast<float>(i + 1) / static_cast<float>(count));
  }
  return floats(name, shape, values);
}

OnnxNode OnnxBuilder::node(const std::string& op, const std::vector<std::string>& inputs,
                           const std::vector<std::string>& outputs, const std::string& name) {
  auto* proto = graph().add_node();
  proto->set_op_type(op);
  proto->set_name(name);
  for (const std::string& input : inputs) proto->add_input(input);
  for (const std::string& output : outputs) proto->add_output(output);
  return OnnxNode(proto);
}

fs::path OnnxBuilder::save(const std::string& file_name) const {
  return write_bytes(bytes(), file_name);
}

Graph OnnxBuilder::load(const LoadOptions& options) const {
  return load_onnx(save(), options);
}

std::string OnnxBuilder::load_error(const LoadOptions& options) const {
  return load_error_of(save(), options);
}

fs::path write_bytes(const std::string& bytes, const std::string& file_name) {
  const fs::path path = temporary_folder() / file_name;
  std::ofstream stream(path, std::ios::binary);
  stream << bytes;
  REQUIRE(stream.good());
  return path;
}

std::string load_error_of(const fs::path& path, const LoadOptions& options) {
  std::string message;
  try {
    load_onnx(path, options);
    FAIL("the model loads, although it is wrong");
  } catch (const InputError& error) {
    message = error.what();
  }
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find(path.filename().string()) != std::string::npos);
  return message;
}

std::string ops_of(const Graph& graph) {
  std::ostringstream names;
  for (const Node& node : graph.nodes) names << (&node == graph.nodes.data() ? "" : " ") << op_name(node.op);
  return names.str();
}

}  // namespace branchsae::test
