#include "apps/branch_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/numbers.h"
#include "apps/table.h"

namespace branchsae::apps {
namespace {

using enum Table::Align;

std::string share(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.3f}", value);
}

std::string probability(double value) {
  return std::isnan(value) ? "-" : as_figure(value, 2);
}

/// A dash for what is not measured: a ratio of an empty margin; an interval of one latent.
std::string with_interval(const SpecialisationTest& test) {
  const int digits = test.effect == "odds ratio" ? 3 : 2;
  if (!std::isfinite(test.value)) return "-";
  if (!std::isfinite(test.low) || !std::isfinite(test.high))
    return fmt::format("{} (-)", as_figure(test.value, digits));
  return fmt::format("{} ({} to {})", as_figure(test.value, digits), as_figure(test.low, digits),
                     as_figure(test.high, digits));
}

constexpr const char* kNoOdds =
    "odds ratio -: no latent, or every latent, lies in the branch; there is nothing to compare\n";

/// Whether the table of tests has a dash for an odds ratio.
bool lacks_odds(const BranchReport& report) {
  return std::ranges::any_of(report.tests, [](const SpecialisationTest& test) {
    return test.test == "overlap" && test.subject == "latents" && !std::isfinite(test.value);
  });
}

Table share_table(const BranchReport& report) {
  Table table({{"branch"},
               {"of channels", kRight},
               {"of energy", kRight},
               {"rho", kRight},
               {"random, 99 %", kRight},
               {"s", kRight},
               {"random, 99 %", kRight},
               {"l1", kRight},
               {"evidence", kRight},
               {"causal", kRight},
               {"localised", kRight},
               {"dominant", kRight},
               {"most enriched", kRight},
               {"above random", kRight},
               {"neurons", kRight}});
  for (size_t b = 0; b < report.branches.size(); ++b) {
    const BranchSummary& s = report.summary[b];
    const ShareNulls& null = report.nulls[b];
    table.row({report.branches[b].group.name, share(null.channels), share(null.activation_energy),
               share(s.mean_positive),
               fmt::format("{}, {}", share(null.random_positive), share(null.random_positive_99)),
               share(s.mean_energy),
               fmt::format("{}, {}", share(null.random_energy), share(null.random_energy_99)),
               share(s.mean_absolute), share(s.mean_evidence), share(s.mean_causal),
               std::to_string(s.localised), std::to_string(s.dominant), std::to_string(s.most_enriched),
               std::to_string(s.above_random), std::to_string(s.neurons)});
  }
  return table;
}

Table concept_table(const BranchReport& report) {
  Table table({{"concept"}, {"latents", kRight}, {"of live", kRight}, {"decided by"}});
  for (const UnitConcept& c : report.concepts) {
    const double of_live = static_cast<double>(c.positives) / static_cast<double>(report.live_latents);
    table.row({c.name, std::to_string(c.positives), fmt::format("{:.1f} %", 100 * of_live), c.how});
  }
  return table;
}

/// Tests by what they are of.
class Tests {
 public:
  explicit Tests(const BranchReport& report) : tests_(report.tests) {}
  const SpecialisationTest* find(const std::string& of, const std::string& branch, const std::string& test,
                                 const std::string& subject = "latents") const {
    const auto found = std::ranges::find_if(tests_, [&](const SpecialisationTest& one) {
      return one.concept_name == of && one.branch == branch && one.test == test && one.subject == subject;
    });
    return found == tests_.end() ? nullptr : &*found;
  }

 private:
  const std::vector<SpecialisationTest>& tests_;
};

Table test_table(const BranchReport& report, const Tests& tests) {
  Table table({{"concept"},
               {"branch"},
               {"both", kRight},
               {"odds ratio"},
               {"q", kRight},
               {"AUROC of s"},
               {"q", kRight},
               {"Spearman", kRight},
               {"q", kRight},
               {"neurons", kRight},
               {"random", kRight}});
  for (const UnitConcept& c : report.concepts) {
    for (const std::string& branch : report.compared.names) {
      const auto *overlap = tests.find(c.name, branch, "overlap"),
                 *auroc = tests.find(c.name, branch, "auroc"),
                 *spearman = tests.find(c.name, branch, "spearman"),
                 *neurons = tests.find(c.name, branch, "auroc", "neurons"),
                 *random = tests.find(c.name, branch, "auroc", "random dictionary");
      if (auroc == nullptr && spearman == nullptr) continue;
      table.row(
          {c.name, branch,
           overlap != nullptr ? fmt::format("{} of {}", overlap->both, overlap->localised) : "-",
           overlap != nullptr ? with_interval(*overlap) : "-",
           overlap != nullptr ? probability(overlap->q) : "-", auroc != nullptr ? with_interval(*auroc) : "-",
           auroc != nullptr ? probability(auroc->q) : "-",
           spearman != nullptr ? fmt::format("{:.3f}", spearman->value) : "-",
           spearman != nullptr ? probability(spearman->q) : "-",
           neurons != nullptr ? share(neurons->value) : "-", random != nullptr ? share(random->value) : "-"});
    }
  }
  return table;
}

/// Which branch leads in each concept, and by how much over every other.
Table lead_table(const BranchReport& report, const Tests& tests) {
  std::vector<Table::Column> columns = {{"concept"}, {"leads"}};
  for (const std::string& branch : report.compared.names) columns.push_back({"against " + branch});
  columns.push_back({"bits", kRight});
  columns.push_back({"q", kRight});
  Table table(columns);
  for (const UnitConcept& c : report.concepts) {
    const SpecialisationTest* lead = nullptr;
    for (const std::string& branch : report.compared.names) {
      const auto* auroc = tests.find(c.name, branch, "auroc");
      if (auroc != nullptr && (lead == nullptr || auroc->value > lead->value)) lead = auroc;
    }
    if (lead == nullptr) continue;
    std::vector<std::string> row = {c.name, lead->branch};
    for (const std::string& branch : report.compared.names) {
      const auto* against = tests.find(c.name, lead->branch, lead->branch + " against " + branch);
      row.push_back(
          against == nullptr ? "" : fmt::format("+{:.3f}, q {}", against->value, probability(against->q)));
    }
    const auto* bits = tests.find(c.name, "all", "mutual information");
    row.push_back(bits == nullptr ? "-" : as_figure(bits->value, 2));
    row.push_back(bits == nullptr ? "-" : probability(bits->q));
    table.row(std::move(row));
  }
  return table;
}

}  // namespace

std::string branches_text(const BranchReport& report, const BranchReportOptions& options) {
  std::string text = fmt::format(
      "{} of {} latents fired; {:.1f} % of these are one neuron (cosine > {:g}; {} neurons); {} are in {} "
      "clusters "
      "of near copies\n",
      with_separators(report.live_latents), with_separators(std::ssize(report.latents)),
      100 * report.neuron_share, options.same_cosine, with_separators(report.neurons_covered),
      with_separators(report.clusters.members), with_separators(report.clusters.clusters));
  if (report.branches.size() > 1) {
    text += fmt::format("\nmean shares of live latents by branch; localised: s >= {:g}\n{}",
                        options.tests.localised, share_table(report).text());
  } else {
    text +=
        fmt::format("one branch ({}): there are no shares to compare\n", report.branches.front().group.name);
  }
  if (!report.concepts.empty()) text += fmt::format("\n{}", concept_table(report).text());
  for (const std::string& reason : report.left_out) text += fmt::format("left out: {}\n", reason);
  if (report.tests.empty()) return text;
  const Tests tests(report);
  text += fmt::format(
      "\ndo latents of a concept lie in a branch? One-sided p of {} permutations within {} groups of "
      "density; q: "
      "Benjamini-Hochberg over branches and concepts\nneurons, random: the same AUROC of channels and of a "
      "random "
      "dictionary\n{}{}",
      with_separators(options.tests.rounds), options.tests.strata, test_table(report, tests).text(),
      lacks_odds(report) ? kNoOdds : "");
  text += fmt::format(
      "\ndoes the leading branch beat the others? Differences of AUROC; information of dominant branch and "
      "concept\n{}",
      lead_table(report, tests).text());
  return text;
}

}  // namespace branchsae::apps
