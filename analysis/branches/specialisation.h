#pragma once
/// Do the units (latents, neurons) of a concept lie in one branch more than chance has it?
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/branches/compared_branches.h"
#include "analysis/branches/concepts.h"
#include "analysis/branches/shares.h"

namespace branchsae {

/// What is tested: units with their shares of each branch.
struct BranchSubject {
  std::string name;                   ///< "latents", "neurons", "random dictionary"
  std::vector<std::string> branches;  ///< compared with each other: ComparedBranches::names
  std::vector<int64_t> units;         ///< which of the scored units count, ascending
  std::vector<double> share;          ///< [units, branches] decoder energy
  std::vector<double> density;        ///< [units] tokens fired on: strata of the permutation
};

/// The units that fired and have a decoder; of those of one cluster (decoder_clusters.h) only the one that
/// fired most, ties to the lower index, since near copies are one observation.
BranchSubject branch_subject(std::string name, const ComparedBranches& branches,
                             std::span<const LatentShares> latents, std::span<const int32_t> cluster,
                             const ImageScores& scores);

struct SpecialisationOptions {
  double localised = 0.5;  ///< a unit lies in a branch when its share is at least this
  int64_t rounds = 10'000;
  int64_t strata = 10;  ///< of firing density, within which shares are permuted
  uint64_t seed = 0;
  int threads = 1;
};

/// One test. With y_i whether unit i is of the concept, s_ib its share of branch b, x_ib whether it is
/// localised there:
///   fisher              odds ratio of x_b and y (+0.5), NaN where x_b is 0, or 1, for every unit; p:
///                       hypergeometric tail, one-sided
///   overlap             the same odds ratio; p: number of units of both, permuted
///   auroc               AUROC of s_b for y, DeLong's interval; p permuted
///   spearman            Spearman's r of s_b and the concept's score; p permuted
///   mutual information  bits, of the dominant branch and y, Miller-Madow; branch is "all"; p permuted
///   A against B         AUROC of s_A less that of s_B, DeLong's interval; p permuted
/// All p are one-sided: (1 + #{permuted >= observed}) / (1 + rounds), a unit's shares moving as one within
/// strata of density.
struct SpecialisationTest {
  std::string concept_name, branch, subject, test, effect;
  double value = 0, low = 0, high = 0;  ///< effect with its 95 % interval
  int64_t n = 0, positives = 0;         ///< units; those of the concept
  int64_t localised = 0, both = 0;      ///< units in the branch; of them those of the concept
  double p = 1, q = 1;
  double null_mean = 0, null_sd = 0;  ///< of the permuted statistic; NaN where nothing is permuted
  int64_t rounds = 0;                 ///< 0 where nothing is permuted
  std::string correction = {};        ///< how q was made and over how many tests

  /// Tests that are corrected together: "auroc", "against", ...
  std::string family() const;
};

/// Every test of every branch and concept. A concept of no unit, or of all, has no test but spearman.
/// concepts: over all scored units.
std::vector<SpecialisationTest> specialisation_tests(const BranchSubject& subject,
                                                     std::span<const UnitConcept> concepts,
                                                     const SpecialisationOptions& options);

/// Sets q and correction: Benjamini-Hochberg within each family of a subject, over branches and concepts.
void adjust(std::vector<SpecialisationTest>& tests);

}  // namespace branchsae
