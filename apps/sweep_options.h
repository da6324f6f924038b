#pragma once
/// `--sweep k=4,8,16 lr=1e-3,2e-3`: the combinations that it asks for.
#include <string>
#include <vector>

#include "model/train_options.h"

namespace branchsae::apps {

/// Every combination of the values, the first key's slowest; each is named by what it sets, as it was typed:
/// "k=4,lr=1e-3". `texts`: one "key=value,value" each, or several with spaces between. Values are read as
/// those of the option of the same name. Throws InputError whose text follows "--sweep".
std::vector<SweepMember> plan_sweep(const std::vector<std::string>& texts);

/// The keys of such texts.
std::vector<std::string> swept_keys(const std::vector<std::string>& texts);

}  // namespace branchsae::apps
