#include "engine/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "engine/error.h"

namespace branchsae {
namespace {
constexpr std::align_val_t kHostAlignment{64};

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

void Backend::step_group(Stream& stream, std::span<SaeExecutor* const> saes,
                         std::span<const View<const float, 2>> tokens, std::span<const SaeStep> steps) {
  for (size_t i = 0; i < saes.size(); ++i) saes[i]->step(stream, tokens[i], steps[i]);
}

DeviceMemory Backend::allocate_pinned(int64_t size_bytes, std::string_view what) {
  if (is_host()) return allocate(size_bytes, what);
  if (size_bytes < 0)
    throw DeviceError(fmt::format("allocate \"{}\": {} bytes is no size", what, size_bytes));
  if (size_bytes == 0) return {};
  try {
    return {::operator new(static_cast<size_t>(size_bytes), kHostAlignment), size_bytes,
            [](void* memory) { ::operator delete(memory, kHostAlignment); }};
  } catch (const std::bad_alloc&) {
    throw MemoryError(fmt::format("allocate \"{}\": the host has no {} bytes left", what, size_bytes));
  }
}

}  // namespace branchsae
