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
  if (reason.empty()) return factory->build;
  const bool has_parts = !factory->build.empty() && factory->build != "none";
  return has_parts ? factory->build + "; " + reason : reason;
}

std::string version_line() {
  return fmt::format("{} (commit {})", kVersion, kCommit);
}

std::string version_text() {
  return fmt::format("branchsae {}\ncompiler: {} ({})\nCUDA: {}\nCPU: {}\n", version_line(), compiler_text(),
                     kBuildType, cuda_text(), cpu());
}

}  // namespace branchsae::apps
