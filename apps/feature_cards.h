#pragma once
/// Pictures of some of a scan's latents: which ones, and where their files go.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "analysis/features/cards.h"
#include "analysis/features/feature_table.h"
#include "analysis/features/scan.h"
#include "apps/result_files.h"
#include "apps/scan_input.h"

namespace branchsae::apps {

struct CardArguments {
  int64_t cards = 200, crops = 10, crop_size = 100;
  std::vector<int64_t> latents;  ///< further ones, whatever their density
};
/// --cards, --crops, --crop-size, --latents.
void add_card_options(OptionSet& options, CardArguments& arguments);

/// Throws InputError when --latents names one that an autoencoder does not have.
void check_latents(const CardArguments& arguments, const std::vector<SaeFile>& saes);

/// Cards of one scan: `arguments.cards` chosen evenly by density, blind to labels and branches, and those
/// asked for. Ascending, each once.
std::vector<FeatureCard> choose_cards(const ImageScores& scores, const CardArguments& arguments);

/// What the cards' latents do at each position of their images: from the scans' codes where they are kept,
/// else the network runs once more. cards: by scan; empty lists are allowed.
std::vector<HeatMaps> card_heat_maps(const Device& device, const ScanInput& input, const FeatureScans& scans,
                                     const std::vector<std::vector<FeatureCard>>& cards,
                                     const Context& context);

/// Draws the cards on `threads` threads and enters the files' names (below folder's parent) in the table.
/// The pictures take the place of `folder` when the result is committed. Throws IoError (disk full),
/// InputError (a photo is gone), Interrupted.
std::unique_ptr<StagedFolder> draw_cards(const std::filesystem::path& folder,
                                         const std::vector<FeatureCard>& cards, const HeatMaps& maps,
                                         const ScanInput& input, const FeatureScan& scan,
                                         const CardArguments& arguments, int threads, FeatureTable& table);

}  // namespace branchsae::apps
