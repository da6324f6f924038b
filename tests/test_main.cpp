#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/test_data.h"

namespace {

/// Counts the test cases that ran, so that "all skipped" can be told from "passed".
struct RunCounter : doctest::IReporter {
  static inline int ran = 0;
  explicit RunCounter(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    ran = static_cast<int>(stats.numTestCasesPassingFilters);
  }
  void report_query(const doctest::QueryData& query) override {
    if (query.run_stats != nullptr) ran = static_cast<int>(query.run_stats->numTestCasesPassingFilters);
  }
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
DOCTEST_REGISTER_LISTENER("run_counter", 1, RunCounter);

/// Counts the tests that would have run.
int skip_all(int argc, char** argv, const std::string& missing) {
  std::vector<const char*> arguments(argv, argv + argc);
  arguments.push_back("--count");
  doctest::Context(static_cast<int>(arguments.size()), arguments.data()).run();
  std::fprintf(stderr, "SKIPPED: %s\n", missing.c_str());
  std::printf("[cases] 0 passed, 0 failed, %d skipped\n",
              RunCounter::ran);  // as scripts/count_tests.py reads it
  return 77;
}

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  if (const std::string missing = branchsae::test::missing_requirement(); !missing.empty())
    return skip_all(argc, argv, missing);
  const int result = context.run();
  if (context.shouldExit()) return result;
  const int skipped = branchsae::test::skipped_count();
  if (skipped > 0) std::printf("[skipped] %d of %d test cases\n", skipped, RunCounter::ran);
  if (result == 0 && skipped > 0 && skipped >= RunCounter::ran) return 77;
  return result;
}
