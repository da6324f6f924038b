#include "apps/class_names.h"

#include <fmt/format.h>

#include "apps/messages.h"
#include "engine/error.h"

namespace branchsae::apps {

std::shared_ptr<const ClassList> matching_classes(std::shared_ptr<const ClassList> classes,
                                                  const ClassScores& scores, bool given) {
  if (classes->size() == scores.classes) return classes;
  const std::string what = fmt::format("the class list ({}) has {} classes, the model's output '{}' has {}",
                                       classes->source(), classes->size(), scores.output, scores.classes);
  if (given) throw InputError(what);
  warning(what + "; classes are given by index only, give their names with --classes");
  return nullptr;
}

}  // namespace branchsae::apps
