#include "apps/version.h"

#include <fmt/format.h>

#include "apps/build_info.h"
#include "engine/backend.h"
#include "engine/device.h"

namespace branchsae::apps {
namespace {

std::string cpu() {
  const BackendFactory* factory = find_backend("cpu");
  if (factory == nullptr) return "not in this build";
  return Device::cpu().backend().description();
}

}  // namespace

std::string compiler_text() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("g++ ") + __VERSION__;
#else
  return "unknown";
#endif
}

std::string cuda_text() {
  const BackendFactory* factory = find_backend("cuda");
  if (factory == nullptr) return "not in this build";
  const std::string reason = factory->unavailable();
  const std::string built = factory->build.empty() ? "in this build" : factory->build;
  return reason.empty() ? built : built + "; no device: " + reason;
}

std::string version_line() {
  return fmt::format("{} (commit {})", kVersion, kCommit);
}

std::string version_text() {
  return fmt::format("branchsae {}\ncompiler: {} ({})\nCUDA: {}\nCPU: {}\n", version_line(), compiler_text(),
                     kBuildType, cuda_text(), cpu());
}

}  // namespace branchsae::apps
