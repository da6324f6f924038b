#pragma once
/// One line that tells how a training job gets on.
#include <string>

#include "apps/progress.h"
#include "model/train.h"

namespace branchsae::apps {

/// The line for a terminal of so many columns: a bar, and of the figures those that fit, the least important
/// left out first. 0 columns: no terminal, then all of them and no bar. Of several autoencoders loss, FVU and
/// dead are the highest of any, written "fvu<=0.012".
std::string train_line(const TrainProgress& now, int columns);

class TrainBar {
 public:
  explicit TrainBar(bool shown) : status_(shown) {}
  void report(const TrainProgress& now) {
    if (status_.due()) status_.show(train_line(now, status_.columns()));
  }

 private:
  StatusLine status_;
};

}  // namespace branchsae::apps
