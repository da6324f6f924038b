#include <fmt/format.h>

#include "analysis/features/feature_files.h"
#include "analysis/features/image_variants.h"
#include "analysis/features/label_precision.h"
#include "apps/commands/commands.h"
#include "apps/feature_cards.h"
#include "apps/feature_summary.h"
#include "apps/image_list.h"
#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/result_files.h"
#include "apps/scan_input.h"
#include "apps/signals.h"
#include "apps/skipped_images.h"
#include "engine/error.h"
#include "engine/files.h"

namespace branchsae::apps {
namespace {

namespace fs = std::filesystem;

struct Options {
  ScanArguments scan;
  CardArguments cards;
  std::string variants = "both";
};

/// What becomes of one scan.
struct TapResult {
  FeatureTable table;
  std::optional<LabelPrecision> precision;
  fs::path json, csv;
  std::vector<FeatureCard> cards;
  std::unique_ptr<StagedFolder> pictures;  ///< null: none were asked for
};

class FeaturesJob {
 public:
  FeaturesJob(const Context& context, const Options& options)
      : context_(context), options_(options), input_(open_scan(options.scan)) {
    check_latents(options.cards, input_.saes);
    for (const RunTap& tap : input_.run.taps)
      folders_.push_back(result_folder(input_.run, tap, options.scan.out));
    photos_ = input_.run.images->format() == PixelFormat::kU8Rgb;
    if (!photos_) info("the images are preprocessed arrays, not photos: no pictures, and no colour index");
    if (!input_.labels.missing.empty()) info("label columns stay empty: " + input_.labels.missing);
  }

  void run() {
    const Device device = open_device(context_.common);
    measure(device);
    for (size_t i = 0; i < scans_.scans.size(); ++i) results_.push_back(describe(device, i));
    draw(device);
    for (size_t i = 0; i < scans_.scans.size(); ++i) write(i);
    warn_of_skipped(scans_.skipped);
    print();
  }

 private:
  bool wants(const char* variant) const {
    return options_.variants == "both" || options_.variants == variant;
  }
  const RunTap& tap(size_t scan) const { return input_.run.taps[scans_.scans[scan].sae]; }

  /// Memory for codes: heat maps need them.
  int64_t code_bytes() const {
    constexpr int64_t kUsual = int64_t{1} << 30;
    if (!photos_ || (options_.cards.cards == 0 && options_.cards.latents.empty())) return 0;
    return context_.common.max_memory > 0 ? context_.common.max_memory : kUsual;
  }

  void measure(const Device& device) {
    const bool grey = wants("grey") && photos_, mirrored = wants("mirrored");
    const int64_t passes = 1 + (grey ? 1 : 0) + (mirrored ? 1 : 0);
    ScanProgress progress(context_, "features", std::ssize(input_.options.images), passes);
    const auto& images = *input_.run.images;
    scans_ = scan_features(device, input_.run.graph, images, input_.saes, input_.options,
                           progress.next_pass(), code_bytes());
    check_stop();
    if (scans_.images == 0) throw InputError("no image could be read");
    // What could not be read once is not asked for again.
    std::erase_if(input_.options.images, [&](int64_t image) {
      return std::ranges::find(scans_.skipped, image, &SkippedImage::index) != scans_.skipped.end();
    });
    const auto variant = [&](ImageVariant kind) {
      const VariantImages changed(images, kind);
      std::vector<ImageScores> scores = scan_variant(device, input_.run.graph, changed, input_.saes, scans_,
                                                     input_.options, progress.next_pass())
                                            .scores;
      check_stop();
      return scores;
    };
    if (grey) grey_ = variant(ImageVariant::kGrey);
    if (mirrored) mirrored_ = variant(ImageVariant::kMirrored);
  }

  TapResult describe(const Device& device, size_t place) {
    const FeatureScan& scan = scans_.scans[place];
    const ImageSynsets* labels = input_.labels.synsets ? &*input_.labels.synsets : nullptr;
    const FeatureVariants variants{grey_.empty() ? nullptr : &grey_[place],
                                   mirrored_.empty() ? nullptr : &mirrored_[place]};
    TapResult result;
    result.table =
        feature_table(scan.scores, scan.grid, labels, variants, static_cast<size_t>(options_.cards.crops));
    if (labels == nullptr) result.table.no_labels = input_.labels.missing;
    if (labels != nullptr) result.precision = label_precision(scan.scores, *labels);
    const SaeParameters& parameters = input_.saes[scan.sae].parameters;
    add_neighbours(result.table, (parameters.w_dec.empty() ? parameters.w : parameters.w_dec).matrix(), 5,
                   device.backend().threads());
    if (photos_) result.cards = choose_cards(scan.scores, options_.cards);
    const fs::path& folder = folders_[scan.sae];
    const std::string name = result_name("features", tap(place), scan.k);
    result.json = folder / (name + ".json");
    result.csv = folder / (name + ".csv");
    check_stop();
    return result;
  }

  void draw(const Device& device) {
    std::vector<std::vector<FeatureCard>> cards;
    for (TapResult& result : results_) cards.push_back(std::move(result.cards));
    const std::vector<HeatMaps> maps = card_heat_maps(device, input_, scans_, cards, context_);
    for (size_t i = 0; i < results_.size(); ++i) {
      results_[i].cards = std::move(cards[i]);
      if (results_[i].cards.empty()) continue;
      fs::path folder = results_[i].json;
      results_[i].pictures =
          draw_cards(folder.replace_extension(), results_[i].cards, maps[i], input_, scans_.scans[i],
                     options_.cards, device.backend().threads(), results_[i].table);
    }
  }

  Json about(size_t place) const {
    const FeatureScan& scan = scans_.scans[place];
    Json json = about_scan(input_.run, tap(place), scan.k, context_.common.seed, scans_.images);
    json["input_l0"] = scan.input_l0;
    json["grid"] = scan.grid;
    json["skipped"] = skipped_json(scans_.skipped);
    json["options"] = context_.options.resolved();
    const auto& precision = results_[place].precision;
    json["label_precision"] = precision ? precision_json(*precision) : Json();
    Json latents = Json::array();
    for (const FeatureCard& card : results_[place].cards) latents.push_back(card.latent);
    json["cards"] = {{"chosen", "evenly by density among live latents, and --latents"}, {"latents", latents}};
    return json;
  }

  void write(size_t place) const {
    const TapResult& result = results_[place];
    const Json about_it{{"about", about(place)}};
    if (result.pictures) result.pictures->commit();
    write_file_atomically(result.json, features_json(result.table, *input_.run.images, dump(about_it)));
    write_file_atomically(result.csv, features_csv(result.table));
  }

  void print() const {
    Json taps = Json::array();
    for (size_t i = 0; i < results_.size(); ++i) {
      const TapResult& result = results_[i];
      const FeatureSummary summary{tap(i).name, scans_.scans[i].k, scans_.scans[i].input_l0, &result.table,
                                   result.precision};
      context_.out.text(summary_text(summary) + fmt::format("to {}, {}{}\n\n", result.json.string(),
                                                            result.csv.filename().string(),
                                                            picture_text(result)));
      Json json = summary_json(summary);
      json["file"] = result.json.string();
      taps.push_back(std::move(json));
    }
    context_.out.text(
        fmt::format("{} images{}\n", with_separators(scans_.images),
                    scans_.skipped.empty() ? "" : fmt::format(", {} skipped", scans_.skipped.size())));
    context_.out.json({{"run", input_.run.folder.string()},
                       {"images", scans_.images},
                       {"skipped", skipped_json(scans_.skipped)},
                       {"taps", std::move(taps)}});
  }

  static std::string picture_text(const TapResult& result) {
    if (result.cards.empty()) return "";
    return fmt::format("; pictures of {} latents, chosen by density alone, in {}/", result.cards.size(),
                       result.json.stem().string());
  }

  const Context& context_;
  const Options& options_;
  ScanInput input_;
  bool photos_ = true;
  std::vector<fs::path> folders_;  ///< by tap
  FeatureScans scans_;
  std::vector<ImageScores> grey_, mirrored_;
  std::vector<TapResult> results_;  ///< by scan
};

}  // namespace

void add_features(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"features", "RUN [IMAGES...]", "what each latent responds to",
       R"(Runs images (those of the run by default) through the network and the run's autoencoders and writes, for
each tap, RUN/<tap>/features.json and .csv with a row a latent: how often and how strongly it fires, its best
images, how its image scores follow animals and dogs (AUROC, lift, q), a label from WordNet, how much of its
response goes with the colour or in the mirror, its nearest decoder rows. RUN/<tap>/features/ gets pictures of
some latents, chosen by density alone: crops, heat maps over the photos, and sheet.jpg with all of them.

Labels come from the images' classes, joined by WordNet id. Without any, the label columns stay empty.
docs/features.md has every formula.)",
       R"(  branchsae features runs/first
  branchsae features runs/first other-photos/ --tap mixed4c.5x5 --k 4,8,16,32
  branchsae features runs/first --cards 0 --latents 3,17 --variants none)"},
      [o](const Context& context) { FeaturesJob(context, *o).run(); });
  add_scan_arguments(options, o->scan);
  add_card_options(options, o->cards);
  options.choice("--variants", o->variants, {"both", "grey", "mirrored", "none"},
                 "further passes: grey images for the colour index, mirrored ones for orientation");
}

}  // namespace branchsae::apps
