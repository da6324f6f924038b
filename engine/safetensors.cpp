#include "engine/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <ostream>

#include "engine/error.h"
#include "engine/files.h"

namespace branchsae {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
namespace {

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw InputError(fmt::format("'{}' is not a usable safetensors file: {}", path.string(), why));
}

int64_t bytes_of(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL") return 1;
  return 0;
}

struct Entry {
  std::string name;
  int64_t begin, end;
};

SafeTensor parse_tensor(const std::string& name, const Json& description, const std::string& file,
                        int64_t data_begin, const fs::path& path, std::vector<Entry>& extents) {
  SafeTensor tensor;
  tensor.dtype = description.at("dtype").get<std::string>();
  tensor.shape = description.at("shape").get<Shape>();
  const auto offsets = description.at("data_offsets").get<std::vector<int64_t>>();
  const int64_t data_bytes = static_cast<int64_t>(file.size()) - data_begin;
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > data_bytes) {
    fail(path, fmt::format("tensor '{}' lies outside the file's {} bytes of data", name, data_bytes));
  }
  const int64_t element_bytes = bytes_of(tensor.dtype);
  if (element_bytes == 0) fail(path, fmt::format("tensor '{}' has the unknown type {}", name, tensor.dtype));
  const int64_t size = offsets[1] - offsets[0];
  if (size % element_bytes != 0 || element_count(tensor.shape) != size / element_bytes) {
    fail(path, fmt::format("tensor '{}' of shape {} and type {} does not fit its {} bytes", name,
                           to_string(tensor.shape), tensor.dtype, size));
  }
  const char* begin = file.data() + data_begin + offsets[0];
  tensor.bytes.assign(begin, begin + size);
  if (size > 0) extents.push_back({name, offsets[0], offsets[1]});
  return tensor;
}

void check_overlap(std::vector<Entry> extents, const fs::path& path) {
  std::ranges::sort(extents, {}, &Entry::begin);
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].begin < extents[i - 1].end) {
      fail(path, fmt::format("tensors '{}' and '{}' overlap", extents[i - 1].name, extents[i].name));
    }
  }
}

}  // namespace

SafeTensor SafeTensor::from(const HostTensor& tensor) {
  SafeTensor result{"F32", tensor.shape(),
                    std::vector<char>(static_cast<size_t>(tensor.size()) * sizeof(float))};
  if (tensor.size() > 0) std::memcpy(result.bytes.data(), tensor.data(), result.bytes.size());
  return result;
}

SafeTensor SafeTensor::from(const std::vector<int64_t>& values) {
  SafeTensor result{
      "I64", {static_cast<int64_t>(values.size())}, std::vector<char>(values.size() * sizeof(int64_t))};
  if (!values.empty()) std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
  return result;
}

HostTensor SafeTensor::to_host_tensor(const std::string& name) const {
  if (dtype != "F32") throw InputError(fmt::format("tensor '{}' is {}, not F32", name, dtype));
  HostTensor result(shape);
  if (result.size() > 0) std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

std::vector<int64_t> SafeTensor::to_int64(const std::string& name) const {
  if (dtype != "I64") throw InputError(fmt::format("tensor '{}' is {}, not I64", name, dtype));
  std::vector<int64_t> result(bytes.size() / sizeof(int64_t));
  if (!result.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

const SafeTensor& SafeTensors::at(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  std::string known;
  for (const auto& [key, tensor] : tensors) known += (known.empty() ? "" : ", ") + key;
  throw InputError(
      fmt::format("there is no tensor '{}'; the file holds {}", name, known.empty() ? "none" : known));
}

void write_safetensors(const fs::path& path, const SafeTensors& contents) {
  Json header = Json::object();
  if (!contents.metadata.empty()) header["__metadata__"] = contents.metadata;
  int64_t offset = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    const auto size = static_cast<int64_t>(tensor.bytes.size());
    header[name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8,
              ' ');  // the format asks for aligned data; spaces may follow the JSON
  write_file_atomically(path, [&](std::ostream& stream) {
    const uint64_t length = text.size();
    stream.write(reinterpret_cast<const char*>(&length), sizeof(length));
    stream << text;
    for (const auto& [name, tensor] : contents.tensors) {
      stream.write(tensor.bytes.data(), static_cast<std::streamsize>(tensor.bytes.size()));
    }
  });
}

SafeTensors read_safetensors(const fs::path& path) {
  const std::string file = read_file(path);
  uint64_t length = 0;
  if (file.size() < sizeof(length)) fail(path, fmt::format("it has only {} bytes", file.size()));
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > file.size() - sizeof(length)) {
    fail(path, fmt::format("its header of {} bytes does not fit its {} bytes", length, file.size()));
  }
  SafeTensors result;
  std::vector<Entry> extents;
  try {
    const char* begin = file.data() + sizeof(length);
    const Json header = Json::parse(begin, begin + length);
    for (const auto& [name, description] : header.items()) {
      if (name == "__metadata__") {
        result.metadata = description.get<std::map<std::string, std::string>>();
      } else {
        result.tensors[name] = parse_tensor(name, description, file,
                                            static_cast<int64_t>(sizeof(length) + length), path, extents);
      }
    }
  } catch (const nlohmann::json::exception&) {
    fail(path, "its JSON header cannot be read");
  }
  check_overlap(std::move(extents), path);
  return result;
}

}  // namespace branchsae
