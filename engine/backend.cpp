#include "engine/backend.h"

#include <algorithm>

namespace branchsae {
namespace {
std::vector<BackendFactory>& factories() {
  static std::vector<BackendFactory> instance;
  return instance;
}
}  // namespace

void register_backend(BackendFactory factory) {
  factories().push_back(std::move(factory));
}

const BackendFactory* find_backend(std::string_view kind) {
  const auto found = std::ranges::find(factories(), kind, &BackendFactory::kind);
  return found == factories().end() ? nullptr : &*found;
}

}  // namespace branchsae
