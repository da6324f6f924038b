#pragma once
#include <memory>

#include "engine/sae.h"

namespace branchsae::test {

/// The step of engine/sae.h in plain loops, without AuxK; stores all pre-activations.
/// freezes  as a GPU's: from the first step that meets NaN on nothing is updated, and that step is remembered
std::unique_ptr<SaeExecutor> make_fake_sae(const SaeSpec& spec, bool freezes = false);

}  // namespace branchsae::test
