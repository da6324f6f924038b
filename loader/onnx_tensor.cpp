#include "loader/onnx_tensor.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>
#include <span>

#include "engine/error.h"
#include "loader/onnx_external.h"
#include "loader/onnx_node.h"

namespace branchsae::loader {
namespace fs = std::filesystem;
using ::onnx::TensorProto;

namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

/// IEEE 754 binary16 to binary32; exact.
float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16U;
  const uint32_t exponent = (bits >> 10U) & 0x1fU;
  const uint32_t fraction = bits & 0x3ffU;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t widened = exponent == 31 ? 0xffU : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (widened << 23U) | (fraction << 13U));
}

float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16U);
}

/// How one element type is stored.
struct ElementType {
  int64_t bytes;  ///< in raw_data and external data
  bool is_floating;
  int64_t field_count;  ///< elements in the typed field that this type uses
  const char* field;    ///< its name
};

ElementType element_type(const TensorProto& proto, const std::string& where) {
  switch (proto.data_type()) {
    case TensorProto::FLOAT:
      return {4, true, proto.float_data_size(), "float_data"};
    case TensorProto::DOUBLE:
      return {8, true, proto.double_data_size(), "double_data"};
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
      return {2, true, proto.int32_data_size(), "int32_data"};
    case TensorProto::INT64:
      return {8, false, proto.int64_data_size(), "int64_data"};
    case TensorProto::INT32:
      return {4, false, proto.int32_data_size(), "int32_data"};
    case TensorProto::INT16:
    case TensorProto::UINT16:
      return {2, false, proto.int32_data_size(), "int32_data"};
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      return {1, false, proto.int32_data_size(), "int32_data"};
    case TensorProto::UINT32:
      return {4, false, proto.uint64_data_size(), "uint64_data"};
    case TensorProto::UINT64:
      return {8, false, proto.uint64_data_size(), "uint64_data"};
    default:
      throw InputError(
          fmt::format("{}: element type {} is not supported; use float, float16, bfloat16, double or "
                      "integers",
                      where, proto.data_type()));
  }
}

Shape shape_of(const TensorProto& proto) {
  return {proto.dims().begin(), proto.dims().end()};
}

bool is_external(const TensorProto& proto) {
  return proto.data_location() == TensorProto::EXTERNAL;
}

template <class T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

float float_from_raw(const char* bytes, int type) {
  switch (type) {
    case TensorProto::FLOAT:
      return load<float>(bytes);
    case TensorProto::DOUBLE:
      return static_cast<float>(load<double>(bytes));
    case TensorProto::FLOAT16:
      return half_to_float(load<uint16_t>(bytes));
    default:
      return bfloat16_to_float(load<uint16_t>(bytes));
  }
}

float float_from_field(const TensorProto& proto, int index) {
  switch (proto.data_type()) {
    case TensorProto::FLOAT:
      return proto.float_data(index);
    case TensorProto::DOUBLE:
      return static_cast<float>(proto.double_data(index));
    case TensorProto::FLOAT16:
      return half_to_float(static_cast<uint16_t>(proto.int32_data(index)));
    default:
      return bfloat16_to_float(static_cast<uint16_t>(proto.int32_data(index)));
  }
}

int64_t integer_from_raw(const char* bytes, int type) {
  switch (type) {
    case TensorProto::INT64:
    case TensorProto::UINT64:
      return load<int64_t>(bytes);
    case TensorProto::INT32:
      return load<int32_t>(bytes);
    case TensorProto::UINT32:
      return load<uint32_t>(bytes);
    case TensorProto::INT16:
      return load<int16_t>(bytes);
    case TensorProto::UINT16:
      return load<uint16_t>(bytes);
    case TensorProto::INT8:
      return load<int8_t>(bytes);
    default:
      return load<uint8_t>(bytes);
  }
}

int64_t integer_from_field(const TensorProto& proto, int index) {
  switch (proto.data_type()) {
    case TensorProto::INT64:
      return proto.int64_data(index);
    case TensorProto::UINT32:
    case TensorProto::UINT64:
      return static_cast<int64_t>(proto.uint64_data(index));
    default:
      return proto.int32_data(index);
  }
}

void fill_floats(const TensorProto& proto, std::string_view raw, int64_t element_bytes,
                 std::span<float> out) {
  if (raw.empty()) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = float_from_field(proto, static_cast<int>(i));
  } else if (proto.data_type() == TensorProto::FLOAT) {
    std::memcpy(out.data(), raw.data(), raw.size());
  } else {
    const char* bytes = raw.data();
    for (float& value : out) {
      value = float_from_raw(bytes, proto.data_type());
      bytes += element_bytes;
    }
  }
}

std::vector<Extent> integers_of(const TensorProto& proto, std::string_view raw, int64_t element_bytes,
                                int64_t count) {
  std::vector<Extent> integers(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = raw.empty() ? integer_from_field(proto, static_cast<int>(i))
                                      : integer_from_raw(raw.data() + i * element_bytes, proto.data_type());
    integers[static_cast<size_t>(i)] = Extent::known(value);
  }
  return integers;
}

}  // namespace

void check_tensor(const TensorProto& proto, const fs::path& folder, const std::string& where) {
  const ElementType type = element_type(proto, where);
  const Shape shape = shape_of(proto);
  const int64_t count = checked_count(shape, where);
  if (proto.has_segment())
    throw InputError(fmt::format("{}: is stored in segments, which is not supported", where));
  if (is_external(proto)) {
    external_range(proto, folder, count * type.bytes, where);
    return;
  }
  if (proto.has_raw_data()) {
    const auto bytes = static_cast<int64_t>(proto.raw_data().size());
    if (bytes == count * type.bytes) return;
    throw InputError(fmt::format("{}: shape {} needs {} bytes, the file has {}; it is damaged", where,
                                 branchsae::to_string(shape), count * type.bytes, bytes));
  }
  if (type.field_count == count) return;
  throw InputError(fmt::format("{}: shape {} needs {} elements, {} has {}; the file is damaged", where,
                               branchsae::to_string(shape), count, type.field, type.field_count));
}

Constant read_tensor(const TensorProto& proto, const fs::path& folder, const std::string& where,
                     MemoryBudget& budget) {
  check_tensor(proto, folder, where);
  const ElementType type = element_type(proto, where);
  Constant constant;
  constant.shape = shape_of(proto);
  const int64_t count = checked_count(constant.shape, where);
  budget.spend(count, type.is_floating ? 4 : static_cast<int64_t>(sizeof(Extent)), where);

  std::string external;
  if (is_external(proto))
    external = read_range(external_range(proto, folder, count * type.bytes, where), where);
  const std::string_view raw = is_external(proto) ? external : proto.raw_data();
  if (type.is_floating) {
    auto floats = std::make_shared<HostTensor>(constant.shape);
    if (count > 0) fill_floats(proto, raw, type.bytes, floats->values());
    constant.floats = std::move(floats);
  } else {
    constant.integers = integers_of(proto, raw, type.bytes, count);
  }
  return constant;
}

}  // namespace branchsae::loader
