#pragma once
#include <string>
#include <utility>

#include "engine/error.h"

namespace branchsae {

/// Runs `work`; a MemoryError that leaves it also says what to do ("lower --batch"), unless it does already.
template <class Work>
decltype(auto) with_memory_advice(const std::string& advice, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const MemoryError& error) {
    const std::string message = error.what();
    if (message.find(" --") != std::string::npos) throw;
    throw MemoryError(message + "; " + advice, error.detail());
  }
}

}  // namespace branchsae
