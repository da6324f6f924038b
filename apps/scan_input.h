#pragma once
/// What commands share that look at the codes of all images of a run: their options, labels and progress.
#include <optional>
#include <string>
#include <vector>

#include "analysis/features/labels.h"
#include "apps/application.h"
#include "apps/progress.h"
#include "apps/run_input.h"
#include "model/evaluate.h"

namespace branchsae::apps {

struct ScanArguments {
  RunArguments run;
  std::vector<int64_t> ks;  ///< --k; empty: as trained
  int64_t batch = 16;
  std::string conv = "trained", out;
};

/// RUN and what goes with it, --k, --classes, --out, --batch, --conv, --strict.
void add_scan_arguments(OptionSet& options, ScanArguments& arguments);
/// All of these but RUN and IMAGES.
void add_scan_options(OptionSet& options, ScanArguments& arguments);

/// The images' classes as synsets.
struct ImageLabels {
  std::optional<ImageSynsets> synsets;  ///< unset when no image has a class by WordNet id
  std::string missing;                  ///< why it is unset, as one line; empty otherwise
};
/// `classes` is the list that the images were opened with. Labels of any list are joined by WordNet id, never
/// by place. Warns of classes that the built-in part of WordNet lacks; throws InputError when it has none.
ImageLabels image_labels(const ImageSource& images, const ClassList& classes);

/// Options of a scan of all images of a run.
EvaluateOptions scan_options(const ScanArguments& arguments, const OpenedRun& run);

struct ScanInput {
  OpenedRun run;
  std::vector<SaeFile> saes;  ///< by run.taps
  ImageLabels labels;
  EvaluateOptions options;
};
ScanInput open_scan(const ScanArguments& arguments);

/// How far several passes over the same images are.
class ScanProgress {
 public:
  ScanProgress(const Context& context, std::string title, int64_t images, int64_t passes = 1);
  /// Of the pass that comes next; it stops on a signal, after which check_stop() throws.
  EvaluateCallbacks next_pass();

 private:
  Progress progress_;
  int64_t images_, passes_begun_ = 0;
};

/// Where the figures of a result come from: run, tap, k, trained_k, seed, sae_sha256, model_sha256,
/// images (read), images_sha256 (ImageSource::fingerprint()).
Json about_scan(const OpenedRun& run, const RunTap& tap, int64_t k, int64_t seed, int64_t images_read);

}  // namespace branchsae::apps
