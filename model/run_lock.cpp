#include "model/run_lock.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace branchsae::model {

RunLock::RunLock(const std::filesystem::path& run) : lock_(run / "lock") {
  if (lock_.held()) return;
  throw InputError(
      fmt::format("the run '{}' is in use by {}; wait for it or stop it", run.string(), lock_.owner()));
}

}  // namespace branchsae::model
