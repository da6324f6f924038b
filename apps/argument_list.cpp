#include "apps/argument_list.h"

#include <algorithm>

namespace branchsae::apps {
namespace {

struct Run {
  size_t flag = 0;            ///< index of "--tap"
  size_t first = 0, end = 0;  ///< words after the first value
};

bool is_flag(const std::string& word) {
  return word.size() > 1 && word.front() == '-';
}

struct Words {
  std::vector<Run> runs;
  size_t free = 0;  ///< words that are no flag, no value and in no run
};

Words classify(const std::vector<std::string>& words, const OptionSet& options) {
  const std::vector<std::string> lists = options.list_names();
  Words found;
  for (size_t i = 0; i < words.size();) {
    if (words[i] == "--") {
      found.free += words.size() - i - 1;
      break;
    }
    if (!is_flag(words[i])) {
      ++found.free;
      ++i;
      continue;
    }
    const bool list = std::find(lists.begin(), lists.end(), words[i]) != lists.end();
    const size_t flag = i;
    i += options.takes_value(words[i]) ? 2 : 1;
    if (!list) continue;
    const size_t first = std::min(i, words.size());
    while (i < words.size() && !is_flag(words[i])) ++i;
    if (i > first) found.runs.push_back({flag, first, i});
  }
  return found;
}

}  // namespace

std::vector<std::string> expand_lists(const std::vector<std::string>& words, const OptionSet& options) {
  Words found = classify(words, options);
  size_t missing = options.positional_count() - std::min(options.positional_count(), found.free);
  for (auto run = found.runs.rbegin(); run != found.runs.rend(); ++run) {
    const size_t given_back = std::min(missing, run->end - run->first);
    run->end -= given_back;
    missing -= given_back;
  }
  std::vector<std::string> expanded;
  for (size_t i = 0; i < words.size(); ++i) {
    for (const Run& run : found.runs) {
      if (i >= run.first && i < run.end) expanded.push_back(words[run.flag]);
    }
    expanded.push_back(words[i]);
  }
  return expanded;
}

}  // namespace branchsae::apps
