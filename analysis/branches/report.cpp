#include "analysis/branches/report.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

namespace branchsae {
namespace {

/// What the images show of each group of classes; groups that tell no images apart are left out.
struct ImageConcepts {
  std::vector<Concept> images;
  std::vector<std::string> wordnet_ids;
  std::vector<std::string> left_out;
};

ImageConcepts image_concepts(const ImageSynsets* labels, const BranchReportOptions& options) {
  ImageConcepts result;
  for (const SynsetConcept& synset : options.synsets) {
    if (labels == nullptr) {
      result.left_out.push_back(synset.name + ": the images have no labels");
      continue;
    }
    Concept images = concept_below(*labels, synset.wordnet_id, synset.name);
    if (images.shown_count == 0 || images.shown_count == images.known_count) {
      result.left_out.push_back(fmt::format("{}: {} of {} labelled images show it", synset.name,
                                            images.shown_count, images.known_count));
      continue;
    }
    result.images.push_back(std::move(images));
    result.wordnet_ids.push_back(synset.wordnet_id);
  }
  return result;
}

std::vector<UnitConcept> concepts_of(const SubjectScores& scores, const ImageConcepts& images,
                                     const ImageSynsets* labels, const BranchReportOptions& options) {
  std::vector<UnitConcept> concepts;
  for (const Concept& c : images.images)
    concepts.push_back(selective_units(scores.original, c, options.tests.threads));
  if (!images.images.empty()) {
    const std::vector<int32_t> label = unit_labels(scores.original, *labels, options.tests.threads);
    for (size_t i = 0; i < images.images.size(); ++i)
      concepts.push_back(labelled_units(scores.original, label, images.images[i], images.wordnet_ids[i],
                                        options.tests.threads));
  }
  if (scores.grey)
    concepts.push_back(
        coloured_units(scores.original, *scores.grey, options.colour_limit, options.tests.threads));
  if (scores.mirrored)
    concepts.push_back(
        oriented_units(scores.original, *scores.mirrored, options.orientation_limit, options.tests.threads));
  return concepts;
}

HostTensor neuron_basis(int64_t channels) {
  HostTensor basis({channels, channels});
  for (int64_t c = 0; c < channels; ++c) basis[c * channels + c] = 1;
  return basis;
}

/// A subject's tests: its decoder [units, d] and what it did on the images.
void test_subject(const char* name, View<const float, 2> decoder, const SubjectScores& scores,
                  const std::vector<UnitConcept>& concepts, const std::vector<int32_t>& cluster,
                  const BranchReportOptions& options, BranchReport& report) {
  const auto shares = latent_shares(decoder, channel_groups(report.branches));
  const BranchSubject subject = branch_subject(name, report.compared, shares, cluster, scores.original);
  for (SpecialisationTest& test : specialisation_tests(subject, concepts, options.tests))
    report.tests.push_back(std::move(test));
}

std::vector<int32_t> each_alone(int64_t units) {
  std::vector<int32_t> cluster(static_cast<size_t>(units));
  for (size_t i = 0; i < cluster.size(); ++i) cluster[i] = static_cast<int32_t>(i);
  return cluster;
}

/// Sum over live latents of one branch's value, NaN left out, and how many there were.
class Mean {
 public:
  void add(double value) {
    if (std::isnan(value)) return;
    sum_ += value;
    ++count_;
  }
  double value() const { return sum_ / static_cast<double>(count_); }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

BranchSummary summarise(const BranchReport& report, size_t b, double localised) {
  BranchSummary summary;
  Mean positive, energy, absolute, evidence, causal;
  const auto number = static_cast<int32_t>(b);
  for (size_t i = 0; i < report.latents.size(); ++i) {
    if (report.live[i] == 0) continue;
    const BranchShare& share = report.latents[i].branches[b];
    positive.add(share.positive);
    energy.add(share.energy);
    absolute.add(share.absolute);
    if (report.evidence) evidence.add(report.evidence->at(i, b));
    if (report.causal) causal.add(report.causal->at(i, b));
    summary.localised += share.energy >= localised ? 1 : 0;
    summary.dominant += report.latents[i].dominant == number ? 1 : 0;
    summary.most_enriched += report.latents[i].most_enriched == number ? 1 : 0;
    summary.above_random += share.energy > report.nulls[b].random_energy_99 ? 1 : 0;
  }
  summary.mean_positive = positive.value();
  summary.mean_energy = energy.value();
  summary.mean_absolute = absolute.value();
  summary.mean_evidence = evidence.value();
  summary.mean_causal = causal.value();
  return summary;
}

void describe_latents(const ImageScores& scores, BranchReport& report) {
  report.live = live_units(scores);
  report.images = scores.images();
  report.tokens = scores.tokens();
  for (int64_t i = 0; i < scores.latents(); ++i) {
    report.density.push_back(static_cast<double>(scores.activity(i).tokens_fired) /
                             static_cast<double>(scores.tokens()));
    report.live_latents += report.live[static_cast<size_t>(i)];
  }
}

void describe_neurons(const BranchScan& scan, double limit, BranchReport& report) {
  std::set<int32_t> covered;
  int64_t near = 0;
  for (size_t i = 0; i < report.latents.size(); ++i) {
    if (report.live[i] == 0 || !(report.latents[i].neuron_cosine > limit)) continue;
    ++near;
    covered.insert(report.latents[i].neuron);
  }
  report.neuron_share = static_cast<double>(near) / static_cast<double>(report.live_latents);
  report.neurons_covered = std::ssize(covered);
  for (size_t b = 0; b < report.branches.size(); ++b) {
    const ChannelGroup& group = report.branches[b].group;
    for (int64_t c = group.begin; c < group.begin + group.count; ++c)
      report.summary[b].neurons += scan.channel_energy[static_cast<size_t>(c)] > 0 ? 1 : 0;
  }
}

}  // namespace

BranchReport branch_report(const SaeFile& sae, const BranchScan& scan, const ImageSynsets* labels,
                           const BranchReportOptions& options) {
  const View<const float, 2> decoder =
      sae.spec.tied ? sae.parameters.w.matrix() : sae.parameters.w_dec.matrix();
  BranchReport report;
  report.branches = scan.branches;
  report.compared = compared_branches(scan.branches);
  const auto groups = channel_groups(scan.branches);
  report.nulls = share_nulls(groups, sae.spec.d, scan.channel_energy, sae.spec.n, options.tests.seed);
  report.latents = latent_shares(decoder, groups);
  report.evidence = scan.evidence;
  report.causal = scan.causal;
  report.labelled = labels == nullptr ? 0 : labels->labelled();
  describe_latents(scan.latents.original, report);
  for (size_t b = 0; b < groups.size(); ++b)
    report.summary.push_back(summarise(report, b, options.tests.localised));
  describe_neurons(scan, options.same_cosine, report);
  const std::vector<int32_t> cluster =
      decoder_clusters(decoder, report.live, options.same_cosine, options.tests.threads);
  report.clusters = count_clusters(cluster);

  ImageConcepts images = image_concepts(labels, options);
  report.left_out = std::move(images.left_out);
  report.concepts = concepts_of(scan.latents, images, labels, options);
  if (scan.branches.size() < 2) return report;
  const HostTensor basis = neuron_basis(sae.spec.d);
  test_subject("latents", decoder, scan.latents, report.concepts, cluster, options, report);
  test_subject("neurons", basis.matrix(), *scan.neurons, concepts_of(*scan.neurons, images, labels, options),
               each_alone(sae.spec.d), options, report);
  test_subject("random dictionary", scan.dictionary.parameters.w.matrix(), *scan.random,
               concepts_of(*scan.random, images, labels, options), each_alone(scan.dictionary.spec.n),
               options, report);
  adjust(report.tests);
  return report;
}

}  // namespace branchsae
