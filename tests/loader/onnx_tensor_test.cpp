// Weights: element types, the fields they may be in, sizes that do not fit, external data.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "loader/onnx_tensor.h"
#include "tests/loader/onnx_builder.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;
using namespace branchsae::test;
using loader::Constant;
using loader::Extent;
using loader::MemoryBudget;
using ::onnx::TensorProto;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TensorProto make_tensor(int type, const Shape& shape) {
  TensorProto proto;
  proto.set_name("w");
  proto.set_data_type(type);
  for (const int64_t extent : shape) proto.add_dims(extent);
  return proto;
}

template <class T>
std::string raw_bytes(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
TensorProto raw_tensor(int type, const std::vector<T>& values) {
  TensorProto proto = make_tensor(type, {static_cast<int64_t>(values.size())});
  proto.set_raw_data(raw_bytes(values));
  return proto;
}

Constant read(const TensorProto& proto, const fs::path& folder = ".", int64_t budget_bytes = 1 << 20) {
  MemoryBudget budget(budget_bytes);
  return loader::read_tensor(proto, folder, "model.onnx: initialiser 'w'", budget);
}

std::vector<float> floats_of(const Constant& constant) {
  REQUIRE(!constant.is_integral());
  const auto values = constant.floats->values();
  return {values.begin(), values.end()};
}

std::vector<int64_t> integers_of(const Constant& constant) {
  REQUIRE(constant.is_integral());
  std::vector<int64_t> values;
  for (const Extent& extent : constant.integers) values.push_back(extent.value);
  return values;
}

std::string error_of(const TensorProto& proto, const fs::path& folder = ".") {
  try {
    read(proto, folder);
  } catch (const InputError& error) {
    CHECK(contains(error.what(), "model.onnx: initialiser 'w'"));
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("floating types, raw and in their fields") {
  CHECK(floats_of(read(raw_tensor<float>(TensorProto::FLOAT, {1.5F, -2, 3}))) ==
        std::vector<float>{1.5F, -2, 3});
  CHECK(floats_of(read(raw_tensor<double>(TensorProto::DOUBLE, {0.1, -4}))) == std::vector<float>{0.1F, -4});
  // 1, -2, the largest, the smallest normal and subnormal, infinity: IEEE 754 binary16 patterns.
  const std::vector<uint16_t> halves{0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00, 0x8000};
  const std::vector<float> expected{1, -2, 65504, 0x1p-14F, 0x1p-24F, INFINITY, -0.0F};
  CHECK(floats_of(read(raw_tensor<uint16_t>(TensorProto::FLOAT16, halves))) == expected);
  CHECK(floats_of(read(raw_tensor<uint16_t>(TensorProto::BFLOAT16, {0x3f80, 0xc000}))) ==
        std::vector<float>{1, -2});

  TensorProto field = make_tensor(TensorProto::FLOAT, {2});
  field.add_float_data(7);
  field.add_float_data(-1);
  CHECK(floats_of(read(field)) == std::vector<float>{7, -1});
  field = make_tensor(TensorProto::DOUBLE, {1});
  field.add_double_data(0.25);
  CHECK(floats_of(read(field)) == std::vector<float>{0.25F});
  field = make_tensor(TensorProto::FLOAT16, {1});
  field.add_int32_data(0x3800);
  CHECK(floats_of(read(field)) == std::vector<float>{0.5F});
}

TEST_CASE("integer types, raw and in their fields") {
  CHECK(integers_of(read(raw_tensor<int64_t>(TensorProto::INT64, {-5, 1LL << 40}))) ==
        std::vector<int64_t>{-5, 1LL << 40});
  CHECK(integers_of(read(raw_tensor<int32_t>(TensorProto::INT32, {-5, 6}))) == std::vector<int64_t>{-5, 6});
  CHECK(integers_of(read(raw_tensor<int8_t>(TensorProto::INT8, {-5, 6}))) == std::vector<int64_t>{-5, 6});
  CHECK(integers_of(read(raw_tensor<uint8_t>(TensorProto::BOOL, {1, 0}))) == std::vector<int64_t>{1, 0});
  CHECK(integers_of(read(raw_tensor<uint32_t>(TensorProto::UINT32, {4294967295U}))) ==
        std::vector<int64_t>{4294967295LL});
  TensorProto field = make_tensor(TensorProto::INT32, {1});
  field.add_int32_data(-9);
  CHECK(integers_of(read(field)) == std::vector<int64_t>{-9});
  field = make_tensor(TensorProto::INT64, {});
  field.add_int64_data(12);
  CHECK(integers_of(read(field)) == std::vector<int64_t>{12});
}

TEST_CASE("sizes that do not fit are refused with both numbers") {
  TensorProto proto = make_tensor(TensorProto::FLOAT, {2, 3});
  proto.set_raw_data(std::string(23, 'x'));
  CHECK(contains(error_of(proto), "shape [2, 3] needs 24 bytes, the file has 23"));
  proto.set_raw_data(std::string(28, 'x'));
  CHECK(contains(error_of(proto), "needs 24 bytes, the file has 28"));
  proto.clear_raw_data();
  proto.add_float_data(1);
  CHECK(contains(error_of(proto), "needs 6 elements, float_data has 1"));
  CHECK(contains(error_of(make_tensor(TensorProto::FLOAT, {-4, 2})), "negative dimension"));
  CHECK(contains(error_of(make_tensor(TensorProto::STRING, {1})), "element type 8"));
  CHECK(contains(error_of(make_tensor(123456, {1})), "element type 123456"));
}

TEST_CASE("absurd dimensions are refused without allocating") {
  const int64_t huge = int64_t{1} << 62;
  CHECK(contains(error_of(make_tensor(TensorProto::FLOAT, {huge, huge, huge})), "absurd shape"));
  CHECK(contains(error_of(make_tensor(TensorProto::FLOAT, {0, huge, huge})), "absurd shape"));
  CHECK(contains(error_of(make_tensor(TensorProto::FLOAT, {int64_t{1} << 40})),
                 "needs 1099511627776 elements"));
}

TEST_CASE("the memory budget bounds what is read") {
  const TensorProto proto = raw_tensor<float>(TensorProto::FLOAT, std::vector<float>(100));
  CHECK_THROWS_WITH_AS(read(proto, ".", 399), doctest::Contains("100 elements of 4 bytes"), InputError);
  CHECK(read(proto, ".", 400).size() == 100);
}

namespace {

TensorProto external_tensor(const std::string& location, int64_t count) {
  TensorProto proto = make_tensor(TensorProto::FLOAT, {count});
  proto.set_data_location(TensorProto::EXTERNAL);
  auto* entry = proto.add_external_data();
  entry->set_key("location");
  entry->set_value(location);
  return proto;
}

void add_entry(TensorProto& proto, const std::string& key, const std::string& value) {
  auto* entry = proto.add_external_data();
  entry->set_key(key);
  entry->set_value(value);
}

void write_file(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("external data is read from the model's folder and below") {
  const fs::path folder = temporary_folder();
  write_file(folder / "weights.bin", raw_bytes<float>({0, 1, 2, 3}));
  write_file(folder / "deep" / "weights.bin", raw_bytes<float>({5}));
  CHECK(floats_of(read(external_tensor("weights.bin", 4), folder)) == std::vector<float>{0, 1, 2, 3});
  CHECK(floats_of(read(external_tensor("deep/weights.bin", 1), folder)) == std::vector<float>{5});
  TensorProto part = external_tensor("weights.bin", 2);
  add_entry(part, "offset", "8");
  add_entry(part, "length", "8");
  CHECK(floats_of(read(part, folder)) == std::vector<float>{2, 3});
  fs::create_symlink("weights.bin", folder / "link.bin");
  CHECK(floats_of(read(external_tensor("link.bin", 1), folder)) == std::vector<float>{0});
}

TEST_CASE("external data outside the model's folder is refused") {
  const fs::path outside = temporary_folder(), folder = outside / "model";
  fs::create_directories(folder);
  write_file(outside / "secret.bin", std::string(64, 'x'));
  write_file(outside / "model2" / "secret.bin", std::string(64, 'x'));
  CHECK(contains(error_of(external_tensor("../secret.bin", 4), folder), "outside the model's folder"));
  CHECK(contains(error_of(external_tensor("a/../../secret.bin", 4), folder), "outside the model's folder"));
  CHECK(contains(error_of(external_tensor("../model2/secret.bin", 4), folder), "outside the model's folder"));
  CHECK(contains(error_of(external_tensor((outside / "secret.bin").string(), 4), folder),
                 "outside the model's"));
  fs::create_symlink(outside / "secret.bin", folder / "link.bin");
  CHECK(contains(error_of(external_tensor("link.bin", 4), folder), "link that leaves"));
  fs::create_directory_symlink(outside / "model2", folder / "inner");
  CHECK(contains(error_of(external_tensor("inner/secret.bin", 4), folder), "link that leaves"));
}

TEST_CASE("external data that is missing, short or badly described is refused") {
  const fs::path folder = temporary_folder();
  write_file(folder / "weights.bin", std::string(16, '\0'));
  CHECK(contains(error_of(external_tensor("absent.bin", 1), folder), "cannot be found"));
  CHECK(contains(error_of(external_tensor("", 1), folder), "names no file"));
  CHECK(contains(error_of(external_tensor(".", 1), folder), "not a regular file"));
  CHECK(contains(error_of(external_tensor("weights.bin", 5), folder), "needs 20 bytes from byte 0 on"));
  for (const char* offset : {"-1", "x", "1e3", "99999999999999999999", ""}) {
    TensorProto proto = external_tensor("weights.bin", 1);
    add_entry(proto, "offset", offset);
    CHECK(contains(error_of(proto, folder), "is not a byte count"));
  }
  TensorProto beyond = external_tensor("weights.bin", 1);
  add_entry(beyond, "offset", "9223372036854775807");
  CHECK(contains(error_of(beyond, folder), "needs 4 bytes from byte 9223372036854775807"));
  TensorProto length = external_tensor("weights.bin", 1);
  add_entry(length, "length", "8");
  CHECK(contains(error_of(length, folder), "has length 8, its shape needs 4 bytes"));
}

TEST_CASE("a model with external weights loads beside them only") {
  OnnxBuilder builder;
  builder.input("x", {1, 1, 4, 4}).output("y");
  builder.node("Conv", {"x", "w"}, {"y"});
  *builder.graph().add_initializer() = external_tensor("w.bin", 2);
  builder.graph().mutable_initializer(0)->clear_dims();
  for (const int64_t extent : {2, 1, 1, 1}) builder.graph().mutable_initializer(0)->add_dims(extent);
  const fs::path path = builder.save();
  CHECK(contains(load_error_of(path), "cannot be found"));
  write_file(path.parent_path() / "w.bin", raw_bytes<float>({3, 4}));
  const Graph graph = load_onnx(path);
  const auto& conv = std::get<ConvOp>(graph.nodes.at(0).op);
  CHECK((*conv.weight)[1] == 4);
  // Also by a bare file name, whose folder is the current one.
  const fs::path before = fs::current_path();
  fs::current_path(path.parent_path());
  CHECK(load_onnx(path.filename()).nodes.size() == 1);
  fs::current_path(before);
}
