#pragma once
/// Every command, one file each.
#include "apps/application.h"

namespace branchsae::apps {

void add_inspect(Application& application);
void add_classify(Application& application);
void add_capture(Application& application);
void add_train(Application& application);
void add_encode(Application& application);
void add_eval(Application& application);
void add_branches(Application& application);
void add_features(Application& application);
void add_explain(Application& application);
void add_match(Application& application);
void add_demo(Application& application);

/// In the order of --help.
inline void add_all_commands(Application& application) {
  add_inspect(application);
  add_classify(application);
  add_capture(application);
  add_train(application);
  add_encode(application);
  add_eval(application);
  add_branches(application);
  add_features(application);
  add_explain(application);
  add_match(application);
  add_demo(application);
}

}  // namespace branchsae::apps
