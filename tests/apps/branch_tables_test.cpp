// What `branches` prints: every figure below its own title.
#include "apps/branch_tables.h"

#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

using namespace branchsae;

namespace {

using Cells = std::vector<std::string>;

/// The cells of every line; two spaces part them.
std::vector<Cells> table_below(const std::string& text, const std::string& first_title) {
  std::istringstream lines(text);
  std::vector<Cells> rows;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    inside = inside || line.starts_with(first_title + "  ");
    if (!inside) continue;
    if (line.empty()) break;
    Cells cells;
    for (size_t at = 0; at < line.size();) {
      const size_t end = std::min(line.find("  ", at), line.size());
      cells.push_back(line.substr(at, end - at));
      at = line.find_first_not_of(' ', end);
    }
    rows.push_back(cells);
  }
  return rows;
}

SpecialisationTest one(const char* branch, const char* name, double value, double q,
                       const char* subject = "latents", const char* effect = "AUROC") {
  SpecialisationTest test;
  test.concept_name = "animal";
  test.branch = branch;
  test.test = name;
  test.subject = subject;
  test.effect = effect;
  test.value = value;
  test.low = value - 0.125;
  test.high = value + 0.125;
  test.q = q;
  test.localised = 20;
  test.both = 7;
  return test;
}

BranchReport report() {
  BranchReport result{.branches = {{"mixed4a", "1x1", {"1x1", 0, 2}}, {"mixed4a", "5x5", {"5x5", 2, 2}}}};
  result.compared = compared_branches(result.branches);
  result.nulls = {{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, {0.11, 0.21, 0.31, 0.41, 0.51, 0.61}};
  result.summary = {{0.01, 0.02, 0.03, 1, 2, 3, 4, 5, 0.04, 0.05},
                    {0.71, 0.72, 0.73, 11, 12, 13, 14, 15, 0.74, 0.75}};
  result.latents.resize(1000);
  result.live_latents = 80;
  result.neuron_share = 0.25;
  result.neurons_covered = 17;
  result.clusters = {3, 9, 4};
  UnitConcept animal{"animal", "by AUROC", "AUROC"};
  animal.positives = 20;
  result.concepts = {animal};
  result.left_out = {"dog: 0 of 5 labelled images show it"};
  result.tests = {one("1x1", "overlap", 0.5, 0.9, "latents", "odds ratio"),
                  one("1x1", "fisher", 99, 0.99, "latents", "odds ratio"),
                  one("1x1", "auroc", 0.25, 0.8),
                  one("1x1", "spearman", -0.5, 0.7),
                  one("5x5", "overlap", 4, 0.01, "latents", "odds ratio"),
                  one("5x5", "auroc", 0.75, 0.02),
                  one("5x5", "spearman", 0.375, 0.03),
                  one("5x5", "auroc", 0.625, 0.5, "neurons"),
                  one("5x5", "auroc", 0.5, 0.5, "random dictionary"),
                  one("5x5", "5x5 against 1x1", 0.4375, 0.04),
                  one("1x1", "1x1 against 5x5", -0.4375, 1),
                  one("all", "mutual information", 0.15, 0.06)};
  return result;
}

}  // namespace

TEST_CASE("branches: shares, nulls and counts below their titles") {
  const std::string text = apps::branches_text(report(), {});
  CHECK(text.starts_with(
      "80 of 1,000 latents fired; 25.0 % of these are one neuron (cosine > 0.9; 17 neurons); 9 are "
      "in 3 clusters of near copies\n"));
  const auto shares = table_below(text, "branch");
  REQUIRE(shares.size() == 4);
  CHECK(shares[0] == Cells{"branch", "of channels", "of energy", "rho", "random, 99 %", "s", "random, 99 %",
                           "l1", "evidence", "causal", "localised", "dominant", "most enriched",
                           "above random", "neurons"});
  CHECK(shares[2] == Cells{"1x1", "0.100", "0.200", "0.010", "0.300, 0.400", "0.020", "0.500, 0.600", "0.030",
                           "0.040", "0.050", "1", "2", "3", "4", "5"});
  CHECK(shares[3] == Cells{"5x5", "0.110", "0.210", "0.710", "0.310, 0.410", "0.720", "0.510, 0.610", "0.730",
                           "0.740", "0.750", "11", "12", "13", "14", "15"});
  const auto concepts = table_below(text, "concept");
  REQUIRE(concepts.size() >= 3);
  CHECK(concepts[2] == Cells{"animal", "20", "25.0 %", "by AUROC"});
  CHECK(text.find("left out: dog: 0 of 5 labelled images show it\n") != std::string::npos);
}

TEST_CASE("branches: a dash for an odds ratio of an empty margin and for an interval of one latent") {
  BranchReport dashes = report();
  const std::string note = "odds ratio -: no latent, or every latent, lies in the branch";
  CHECK(apps::branches_text(dashes, {}).find(note) == std::string::npos);
  SpecialisationTest& odds = dashes.tests[0];
  odds.value = odds.low = odds.high = std::nan("");
  odds.both = odds.localised = 0;
  dashes.tests[2].low = dashes.tests[2].high = std::nan("");
  const std::string text = apps::branches_text(dashes, {});
  const auto tests = table_below(text.substr(text.find("do latents of a concept")), "concept");
  REQUIRE(tests.size() >= 4);
  CHECK(tests[2] ==
        Cells{"animal", "1x1", "0 of 0", "-", "0.90", "0.25 (-)", "0.80", "-0.500", "0.70", "-", "-"});
  CHECK(text.find(note) != std::string::npos);
}

TEST_CASE("branches: tests of each branch, and the branch that leads with what it beats the others by") {
  const std::string text = apps::branches_text(report(), {});
  const auto tests = table_below(text.substr(text.find("do latents of a concept")), "concept");
  REQUIRE(tests.size() == 4);
  CHECK(tests[2] == Cells{"animal", "1x1", "7 of 20", "0.500 (0.375 to 0.625)", "0.90", "0.25 (0.12 to 0.38)",
                          "0.80", "-0.500", "0.70", "-", "-"});
  CHECK(tests[3] == Cells{"animal", "5x5", "7 of 20", "4.00 (3.88 to 4.12)", "0.010", "0.75 (0.62 to 0.88)",
                          "0.020", "0.375", "0.030", "0.625", "0.500"});
  const auto leads = table_below(text.substr(text.find("does the leading branch")), "concept");
  REQUIRE(leads.size() == 3);
  CHECK(leads[0] == Cells{"concept", "leads", "against 1x1", "against 5x5", "bits", "q"});
  CHECK(leads[2] == Cells{"animal", "5x5", "+0.438, q 0.040", "0.15", "0.060"});
}
