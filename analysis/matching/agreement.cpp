#include "analysis/matching/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "analysis/statistics/false_discovery.h"
#include "engine/error.h"
#include "engine/host_tensor.h"
#include "engine/random.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kDeciles = 10;
constexpr uint64_t kDictionaryStream = 0x64696374;

std::vector<std::string> union_of(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> all = a;
  for (const std::string& name : b) {
    if (std::ranges::find(all, name) == all.end()) all.push_back(name);
  }
  return all;
}

/// One side's paired latents, branches numbered as in the union.
struct Paired {
  std::vector<int32_t> dominant;
  std::vector<std::vector<double>> share;
  std::vector<double> channels;
};

Paired paired(const BranchProfile& profile, const std::vector<std::string>& branches,
              std::span<const LatentPair> pairs, int32_t LatentPair::*side) {
  std::vector<int32_t> number;
  for (const std::string& name : profile.branches)
    number.push_back(static_cast<int32_t>(std::ranges::find(branches, name) - branches.begin()));
  Paired result;
  result.share.assign(branches.size(), std::vector<double>(pairs.size()));
  result.channels.assign(branches.size(), 0);
  for (size_t b = 0; b < number.size(); ++b)
    result.channels[static_cast<size_t>(number[b])] = profile.channels[b];
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto latent = static_cast<size_t>(pairs[i].*side);
    const int32_t dominant = profile.dominant[latent];
    result.dominant.push_back(dominant < 0 ? -1 : number[static_cast<size_t>(dominant)]);
    for (size_t b = 0; b < number.size(); ++b)
      result.share[static_cast<size_t>(number[b])][i] = profile.share[b][latent];
  }
  return result;
}

FourFold in_branch(const Paired& a, const Paired& b, int32_t branch) {
  FourFold table;
  for (size_t i = 0; i < a.dominant.size(); ++i) {
    const bool left = a.dominant[i] == branch, right = b.dominant[i] == branch;
    int64_t& cell =
        left ? (right ? table.both : table.first_only) : (right ? table.second_only : table.neither);
    ++cell;
  }
  return table;
}

/// values[b]: pairs both in branch b; the last: in one branch whichever it is.
void count_same(const Paired& a, const Paired& b, std::span<const int64_t> order, std::span<double> values) {
  std::ranges::fill(values, 0.0);
  for (size_t i = 0; i < a.dominant.size(); ++i) {
    const int32_t left = a.dominant[i];
    if (left < 0 || left != b.dominant[static_cast<size_t>(order[i])]) continue;
    ++values[static_cast<size_t>(left)];
    ++values.back();
  }
}

CountTable table_of(const Paired& a, const Paired& b, size_t branches) {
  CountTable table(branches, std::vector<int64_t>(branches));
  for (size_t i = 0; i < a.dominant.size(); ++i) {
    if (a.dominant[i] >= 0 && b.dominant[i] >= 0)
      ++table[static_cast<size_t>(a.dominant[i])][static_cast<size_t>(b.dominant[i])];
  }
  return table;
}

/// Sets the q of one kind of test from its p.
void correct_field(std::span<Agreement* const> agreements, const std::function<double(BranchAgreement&)>& p,
                   double BranchAgreement::*q) {
  std::vector<BranchAgreement*> tests;
  std::vector<double> values;
  for (Agreement* agreement : agreements) {
    for (BranchAgreement& one : agreement->of) {
      tests.push_back(&one);
      values.push_back(p(one));
    }
  }
  const std::vector<double> corrected = benjamini_hochberg(values);
  for (size_t i = 0; i < tests.size(); ++i) tests[i]->*q = corrected[i];
}

void correct_field(std::span<Agreement* const> agreements, const std::function<double(Agreement&)>& p,
                   double Agreement::*q) {
  std::vector<double> values;
  for (Agreement* agreement : agreements) values.push_back(p(*agreement));
  const std::vector<double> corrected = benjamini_hochberg(values);
  for (size_t i = 0; i < agreements.size(); ++i) agreements[i]->*q = corrected[i];
}

}  // namespace

std::string BranchProfile::dominant_name(int32_t latent) const {
  const int32_t number = dominant[static_cast<size_t>(latent)];
  return number < 0 ? "" : branches[static_cast<size_t>(number)];
}

BranchProfile branch_profile(View<const float, 2> decoder, std::span<const ChannelGroup> groups,
                             std::vector<double> density) {
  if (std::ssize(density) != decoder.shape[0])
    throw ShapeError(fmt::format("{} densities for {} latents", density.size(), decoder.shape[0]));
  BranchProfile profile;
  profile.share.resize(groups.size());
  profile.density = std::move(density);
  for (const ChannelGroup& group : groups) {
    profile.branches.push_back(group.name);
    profile.channels.push_back(static_cast<double>(group.count) / static_cast<double>(decoder.shape[1]));
  }
  for (const LatentShares& latent : latent_shares(decoder, groups)) {
    profile.dominant.push_back(latent.dominant);
    // A row of zeros lies nowhere: shares of 0 instead of NaN, which ranks cannot take.
    for (size_t b = 0; b < groups.size(); ++b)
      profile.share[b].push_back(latent.dominant < 0 ? 0 : latent.branches[b].energy);
  }
  return profile;
}

BranchProfile random_profile(int64_t latents, std::span<const ChannelGroup> groups,
                             std::vector<double> density, uint64_t seed) {
  const int64_t channels = groups.empty() ? 0 : groups.back().begin + groups.back().count;
  Random random(seed, kDictionaryStream);
  HostTensor dictionary({latents, channels});
  for (float& value : dictionary.values()) value = static_cast<float>(random.normal());
  return branch_profile(dictionary.matrix(), groups, std::move(density));
}

BranchProfile by_enrichment(BranchProfile profile) {
  for (size_t i = 0; i < profile.dominant.size(); ++i) {
    if (profile.dominant[i] < 0) continue;
    double best = -1;
    for (size_t b = 0; b < profile.branches.size(); ++b) {
      const double enrichment = profile.share[b][i] / profile.channels[b];
      if (enrichment > best) profile.dominant[i] = static_cast<int32_t>(b);
      best = std::max(best, enrichment);
    }
  }
  return profile;
}

std::string incomparable(const BranchProfile& a, const BranchProfile& b) {
  for (const BranchProfile* side : {&a, &b}) {
    if (side->branches.size() < 2)
      return fmt::format("a tap of one branch ({}) has no shares to compare", side->branches.front());
  }
  const bool share_one = std::ranges::any_of(
      a.branches, [&](const auto& name) { return std::ranges::find(b.branches, name) != b.branches.end(); });
  return share_one ? "" : "the two taps have no branch of the same name";
}

Agreement branch_agreement(std::span<const LatentPair> pairs, const BranchProfile& a, const BranchProfile& b,
                           int64_t rounds, uint64_t seed) {
  if (const std::string why = incomparable(a, b); !why.empty()) throw InputError(why);
  Agreement result{.pairs = std::ssize(pairs), .branches = union_of(a.branches, b.branches)};
  const size_t count = result.branches.size();
  const Paired left = paired(a, result.branches, pairs, &LatentPair::a),
               right = paired(b, result.branches, pairs, &LatentPair::b);
  std::vector<double> density;
  for (const LatentPair& pair : pairs) density.push_back(b.density[static_cast<size_t>(pair.b)]);
  const auto tests =
      permutation_tests(Strata::by_quantile(density, kDeciles), rounds, seed, count + 1,
                        [&](auto order, auto values) { count_same(left, right, order, values); });
  result.table = table_of(left, right, count);
  result.kappa = cohen_kappa(result.table);
  result.chi = chi_square(result.table);
  result.same = tests.back();
  for (size_t branch = 0; branch < count; ++branch) {
    result.by_channels += left.channels[branch] * right.channels[branch] * static_cast<double>(pairs.size());
    BranchAgreement one{.branch = result.branches[branch]};
    one.in_branch = in_branch(left, right, static_cast<int32_t>(branch));
    one.odds = one.in_branch.has_empty_margin() ? OddsRatio{kNaN, kNaN, kNaN} : odds_ratio(one.in_branch);
    one.fisher = fisher_exact(one.in_branch);
    one.shares = spearman(left.share[branch], right.share[branch]);
    one.both = tests[branch];
    result.of.push_back(one);
  }
  return result;
}

void correct(std::span<Agreement* const> agreements) {
  correct_field(
      agreements, [](BranchAgreement& one) { return one.fisher.two_sided; }, &BranchAgreement::fisher_q);
  correct_field(
      agreements, [](BranchAgreement& one) { return one.shares.p; }, &BranchAgreement::shares_q);
  correct_field(
      agreements, [](BranchAgreement& one) { return one.both.p; }, &BranchAgreement::both_q);
  correct_field(
      agreements, [](Agreement& one) { return one.same.p; }, &Agreement::same_q);
  correct_field(
      agreements, [](Agreement& one) { return one.chi.p; }, &Agreement::chi_q);
}

Agreement as_control(Agreement agreement) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  agreement.same_q = agreement.chi_q = none;
  for (BranchAgreement& one : agreement.of) one.fisher_q = one.shares_q = one.both_q = none;
  return agreement;
}

}  // namespace branchsae
