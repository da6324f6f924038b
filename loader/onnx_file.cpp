#include "loader/onnx_file.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

#include <limits>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/log.h"

namespace branchsae::loader {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kOldestOpset = 6;   // before it, broadcasting and Reshape were other operators
constexpr int64_t kNewestOpset = 23;  // the newest whose operators were read while writing this

constexpr const char* kHowToGet =
    "export a network with torch.onnx.export, or download googlenet-8.onnx from the ONNX model zoo";

void check_regular_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw InputError(fmt::format("{}: no such file; {}", path.string(), kHowToGet));
  }
  if (fs::is_directory(status)) {
    throw InputError(
        fmt::format("{}: is a folder, not an ONNX file; name the .onnx file in it", path.string()));
  }
  if (!fs::is_regular_file(status)) {
    throw InputError(fmt::format("{}: is not a regular file; copy the model to one", path.string()));
  }
}

void check_size(const fs::path& path, int64_t max_bytes) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) throw InputError(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  if (size == 0) throw InputError(fmt::format("{}: is empty; {}", path.string(), kHowToGet));
  if (size > static_cast<uintmax_t>(max_bytes)) {
    throw InputError(
        fmt::format("{}: has {} bytes, more than the {} allowed; store the weights as external data",
                    path.string(), size, max_bytes));
  }
}

/// What a file that is no model often is instead; empty when nothing is recognised.
std::string known_impostor(std::string_view bytes) {
  if (bytes.starts_with("version https://git-lfs"))
    return "a Git LFS pointer; run `git lfs pull` for the file itself";
  const std::string_view head = bytes.substr(0, 512);
  for (const std::string_view tag : {"<!DOCTYPE", "<!doctype", "<html", "<HTML"}) {
    if (head.find(tag) != std::string_view::npos) return "a web page; download the raw file instead";
  }
  if (bytes.starts_with("PK\x03\x04"))
    return "a zip archive (a PyTorch checkpoint is one); export it to ONNX";
  if (bytes.starts_with("\x1f\x8b")) return "compressed with gzip; unpack it first";
  return "";
}

[[noreturn]] void fail_not_onnx(const fs::path& path, std::string_view bytes, std::string_view reason) {
  const std::string impostor = known_impostor(bytes);
  if (!impostor.empty()) throw InputError(fmt::format("{}: is {}", path.string(), impostor));
  throw InputError(fmt::format("{}: not an ONNX model, or cut short ({}; {} bytes); {}", path.string(),
                               reason, bytes.size(), kHowToGet));
}

bool parse(const std::string& bytes, ::onnx::ModelProto& model) {
  const google::protobuf::LogSilencer silencer;  // protobuf prints to stderr otherwise
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetTotalBytesLimit(std::numeric_limits<int>::max());
  return model.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
}

/// 0 when the model names no version of the default domain.
int64_t default_opset(const ::onnx::ModelProto& model) {
  int64_t version = 0;
  for (const ::onnx::OperatorSetIdProto& entry : model.opset_import()) {
    if (entry.domain().empty() || entry.domain() == "ai.onnx") version = entry.version();
  }
  return version;
}

void check_opset(const fs::path& path, int64_t opset) {
  if (opset < kOldestOpset) {
    throw InputError(
        fmt::format("{}: uses operator set {}, older than {}; convert it with onnx.version_converter",
                    path.string(), opset, kOldestOpset));
  }
  if (opset > kNewestOpset) {
    log(LogLevel::kWarning, fmt::format("{}: uses operator set {}; operators are read as of set {}",
                                        path.string(), opset, kNewestOpset));
  }
}

}  // namespace

OnnxFile read_onnx_file(const fs::path& path, int64_t max_bytes) {
  check_regular_file(path);
  max_bytes = std::min<int64_t>(max_bytes, std::numeric_limits<int>::max());
  check_size(path, max_bytes);
  const std::string bytes = read_file(path, max_bytes);

  OnnxFile file;
  file.path = path;
  if (!parse(bytes, file.model)) fail_not_onnx(path, bytes, "protobuf cannot parse it");
  if (!file.model.has_graph()) fail_not_onnx(path, bytes, "it holds no graph");
  if (file.model.graph().node_size() == 0) fail_not_onnx(path, bytes, "its graph has no node");
  file.opset = default_opset(file.model);
  if (file.opset == 0) fail_not_onnx(path, bytes, "it names no operator set");
  check_opset(path, file.opset);
  file.sha256 = sha256_of(bytes);
  return file;
}

}  // namespace branchsae::loader
