#pragma once
#include <memory>

#include "engine/sae.h"

namespace branchsae::test {

/// The step of engine/sae.h in plain loops, without AuxK; stores all pre-activations.
std::unique_ptr<SaeExecutor> make_fake_sae(const SaeSpec& spec);

}  // namespace branchsae::test
