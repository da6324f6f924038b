#include "apps/feature_cards.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <set>

#include "analysis/features/card_pictures.h"
#include "analysis/features/receptive_field.h"
#include "apps/numbers.h"
#include "apps/signals.h"
#include "engine/error.h"
#include "engine/parallel.h"

namespace branchsae::apps {
namespace {

int64_t crop_side(const CardArguments& arguments, const ScanInput& input, const FeatureScan& scan) {
  if (arguments.crop_size > 0) return arguments.crop_size;
  const Graph& graph = input.run.graph;
  const auto field = receptive_field(graph, resolve_tap(graph, input.saes[scan.sae].tap));
  return std::max(field[0], field[1]);
}

std::vector<std::string> heading(const FeatureRow& row, const std::string& tap, int64_t k) {
  std::vector<std::string> lines = {
      fmt::format("{} latent {}, k = {}: fires on {} of positions, {} of images; highest {}", tap, row.latent,
                  k, as_figure(row.density, 3), as_figure(row.image_density, 3), as_figure(row.max, 3))};
  std::string second;
  if (row.label)
    second = fmt::format("{}: {} of the {} best; ", row.label->name, row.label->hits, row.label->top);
  if (const auto animal = row.concepts.find("animal"); animal != row.concepts.end())
    second += fmt::format("AUROC of animals {:.3f}, q {}; ", animal->second.ranks.auroc,
                          as_figure(animal->second.q, 2));
  if (row.colour_index) second += fmt::format("colour {:.2f}; ", *row.colour_index);
  if (row.orientation) second += fmt::format("orientation {:.2f}", *row.orientation);
  if (!second.empty()) lines.push_back(second);
  return lines;
}

std::function<std::string(const ImageScore&)> captions(const ScanInput& input) {
  return [&input](const ImageScore& score) {
    const ImageInfo& info = input.run.images->info(score.image);
    const std::string name = info.label >= 0 ? input.run.classes->short_name(info.label)
                                             : std::filesystem::path(info.name).filename().string();
    return fmt::format("{} {}", as_figure(static_cast<double>(score.max), 3), name);
  };
}

/// Remembers the first exception of several threads.
class FirstError {
 public:
  template <class Work>
  void guard(const Work& work) {
    if (failed_) return;
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

void place_below(FeaturePictures& names, const std::string& folder) {
  names.sheet = folder + "/" + names.sheet;
  for (auto* list : {&names.top_crops, &names.top_heats, &names.quantile_crops, &names.quantile_heats}) {
    for (std::string& name : *list) name = folder + "/" + name;
  }
}

}  // namespace

void add_card_options(OptionSet& options, CardArguments& arguments) {
  options.count("--cards", arguments.cards, 0, INT32_MAX,
                "latents with pictures, spread evenly over the densities of the live ones");
  options.counts("--latents", arguments.latents, 0, INT32_MAX, "pictures of these latents too");
  options.count("--crops", arguments.crops, 1, 99, "images a latent: of the strongest, and at quantiles");
  options.count("--crop-size", arguments.crop_size, 0, 1 << 14,
                "side of a crop, pixels; 0: the tap's receptive field");
}

void check_latents(const CardArguments& arguments, const std::vector<SaeFile>& saes) {
  for (const SaeFile& sae : saes) {
    for (int64_t latent : arguments.latents) {
      if (latent < sae.spec.n) continue;
      throw InputError(
          fmt::format("--latents {}: the autoencoder of {} has latents 0 to {}; choose its tap with "
                      "--tap",
                      latent, sae.tap, sae.spec.n - 1));
    }
  }
}

std::vector<FeatureCard> choose_cards(const ImageScores& scores, const CardArguments& arguments) {
  const std::vector<int64_t> even = evenly_by_density(scores, static_cast<size_t>(arguments.cards));
  std::set<int64_t> latents(even.begin(), even.end());
  latents.insert(arguments.latents.begin(), arguments.latents.end());
  std::vector<FeatureCard> cards;
  for (int64_t latent : latents)
    cards.push_back(make_card(scores, latent, static_cast<size_t>(arguments.crops)));
  return cards;
}

std::vector<HeatMaps> card_heat_maps(const Device& device, const ScanInput& input, const FeatureScans& scans,
                                     const std::vector<std::vector<FeatureCard>>& cards,
                                     const Context& context) {
  std::vector<HeatMaps> maps;
  std::set<int64_t> wanted;
  for (const auto& of_scan : cards) {
    maps.emplace_back(of_scan);
    const std::vector<int64_t> images = maps.back().images();
    wanted.insert(images.begin(), images.end());
  }
  const std::vector<int64_t> images(wanted.begin(), wanted.end());
  if (images.empty()) return maps;
  if (std::ranges::all_of(scans.scans, [](const FeatureScan& scan) { return scan.codes.has_value(); })) {
    for (size_t i = 0; i < maps.size(); ++i) maps[i].add(*scans.scans[i].codes, scans.read);
    return maps;
  }
  CodePass pass(device, input.run.graph, *input.run.images, input.saes, input.options);
  ScanProgress progress(context, "heat maps", std::ssize(images));
  pass.run(
      images,
      [&](const CodeBatch& batch) {
        for (size_t i = 0; i < scans.scans.size(); ++i) {
          if (scans.scans[i].sae == batch.sae && scans.scans[i].k == batch.k) maps[i].add(batch);
        }
      },
      progress.next_pass());
  check_stop();
  return maps;
}

std::unique_ptr<StagedFolder> draw_cards(const std::filesystem::path& folder,
                                         const std::vector<FeatureCard>& cards, const HeatMaps& maps,
                                         const ScanInput& input, const FeatureScan& scan,
                                         const CardArguments& arguments, int threads, FeatureTable& table) {
  auto staged = std::make_unique<StagedFolder>(folder);
  CardPictureOptions options{
      .grid = scan.grid, .crop_side = crop_side(arguments, input, scan), .caption = captions(input)};
  FirstError error;
  on_threads(threads, std::ssize(cards), [&](int64_t i) {
    error.guard([&] {
      check_stop();
      const FeatureCard& card = cards[static_cast<size_t>(i)];
      FeatureRow& row = table.rows[static_cast<size_t>(card.latent)];
      CardPictureOptions own = options;
      own.heading = heading(row, input.saes[scan.sae].tap, scan.k);
      CardPictures pictures = draw_card(card, maps, *input.run.images, own);
      for (const auto& [name, bytes] : pictures.files) staged->write(name, bytes);
      place_below(pictures.names, folder.filename().string());
      row.pictures = std::move(pictures.names);
    });
  });
  error.rethrow();
  check_stop();
  return staged;
}

}  // namespace branchsae::apps
