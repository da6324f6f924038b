#include "apps/version.h"

#include <fmt/format.h>

#include "apps/build_info.h"
#include "engine/backend.h"
#include "engine/device.h"
#include "engine/error.h"

namespace branchsae::apps {
namespace {

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("g++ ") + __VERSION__;
#else
  return "unknown";
#endif
}

std::string cuda() {
  const BackendFactory* factory = find_backend("cuda");
  if (factory == nullptr) return "not in this build";
  const std::string reason = factory->unavailable();
  if (!reason.empty()) return "in this build, no device: " + reason;
  try {
    return Device::cuda().backend().description();
  } catch (const Error& error) {
    return std::string("in this build, no device: ") + error.what();
  }
}

std::string cpu() {
  const BackendFactory* factory = find_backend("cpu");
  if (factory == nullptr) return "not in this build";
  return Device::cpu().backend().description();
}

}  // namespace

std::string version_line() {
  return fmt::format("{} (commit {})", kVersion, kCommit);
}

std::string version_text() {
  return fmt::format("branchsae {}\ncompiler: {} ({})\nCUDA: {}\nCPU: {}\n", version_line(), compiler(), kBuildType,
                     cuda(), cpu());
}

}  // namespace branchsae::apps
