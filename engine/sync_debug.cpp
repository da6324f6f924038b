#include "engine/sync_debug.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string_view>

namespace branchsae {
namespace {

bool wanted_by_environment() {
  constexpr std::array<std::string_view, 5> kOff{"", "0", "no", "off", "false"};
  const char* value = std::getenv("BRANCHSAE_SYNC_DEBUG");
  return value != nullptr && std::ranges::find(kOff, value) == kOff.end();
}

std::atomic<bool>& setting() {
  static std::atomic<bool> instance{wanted_by_environment()};
  return instance;
}

}  // namespace

void set_sync_debug(bool on) {
  setting() = on;
}

bool sync_debug() {
  return setting();
}

}  // namespace branchsae
