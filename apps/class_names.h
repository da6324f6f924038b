#pragma once
/// A class list that goes with a model's outputs.
#include <memory>

#include "analysis/splicing/predictions.h"
#include "loader/class_list.h"

namespace branchsae::apps {

/// Null when the list has another length than the model's outputs: then neither names nor labels mean
/// anything, which is a warning, and an InputError when the list was `given` by the user.
std::shared_ptr<const ClassList> matching_classes(std::shared_ptr<const ClassList> classes,
                                                  const ClassScores& scores, bool given);

}  // namespace branchsae::apps
