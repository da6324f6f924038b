#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "analysis/features/contact_sheet.h"
#include "analysis/features/firing.h"
#include "analysis/pictures/photo.h"
#include "apps/commands/commands.h"
#include "apps/forward_pass.h"
#include "apps/messages.h"
#include "apps/numbers.h"
#include "apps/result_files.h"
#include "apps/scan_input.h"
#include "apps/signals.h"
#include "apps/stored_features.h"
#include "apps/table.h"
#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_write.h"

namespace branchsae::apps {
namespace {

struct Options {
  std::string image, out;
  RunArguments run;
  int64_t k = 0, top = 10, crop_size = 100;
  std::string conv = "trained";
};

/// One tap's part of the answer.
struct Explanation {
  RunTap tap;
  int64_t k = 0;
  std::array<int64_t, 2> grid{};
  std::vector<FiringLatent> firing;
  std::optional<std::map<int64_t, StoredFeature>> stored;

  const StoredFeature* find(int64_t latent) const {
    if (!stored) return nullptr;
    const auto found = stored->find(latent);
    return found == stored->end() ? nullptr : &found->second;
  }
};

void check_sheet_name(const std::string& name) {
  std::string suffix = std::filesystem::path(name).extension();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  if (suffix == ".jpg" || suffix == ".jpeg") return;
  throw InputError(
      fmt::format("--out '{}': the picture is a JPEG file; let its name end in .jpg or .jpeg", name));
}

OpenedRun open(const Options& o) {
  if (!o.out.empty()) check_sheet_name(o.out);
  if (o.image.empty()) throw InputError("IMAGE is missing: give a photo, then the run");
  RunArguments arguments = o.run;
  arguments.images = {o.image};
  OpenedRun run = open_run(arguments);
  if (run.images->size() != 1) {
    throw InputError(fmt::format("'{}' holds {} images; `explain` takes one", o.image, run.images->size()));
  }
  return run;
}

std::vector<Explanation> explain(const Device& device, const OpenedRun& run, const Options& o) {
  const std::vector<SaeFile> saes = load_saes(run);
  EvaluateOptions options{.images = {0}, .forward_batch = 1, .strict = true};
  if (o.k > 0) options.ks = {o.k};
  options.precision = run.info.options.precision;
  options.conv = conv_of_run(o.conv, run.info.options.conv);
  CodePass pass(device, run.graph, *run.images, saes, options);
  std::vector<Explanation> explanations(saes.size());
  pass.run([&](const CodeBatch& batch) {
    Explanation& explanation = explanations[batch.sae];
    explanation.tap = run.taps[batch.sae];
    explanation.k = batch.k;
    explanation.grid = pass.grid(batch.sae);
    explanation.firing = firing_latents(batch, 0, explanation.grid);
  });
  check_stop();
  for (Explanation& e : explanations) {
    const auto file = run.folder / e.tap.folder / (result_name("features", e.tap, e.k) + ".json");
    e.stored = stored_features(file, sha256_of_file(sae_path(run.folder, e.tap)));
  }
  return explanations;
}

PixelBox box_of(const Explanation& e, const FiringLatent& f, const ImageSource& images, int64_t side) {
  return box_around(f.y * e.grid[1] + f.x, e.grid, side, images.height(), images.width());
}

size_t listed(const Explanation& e, int64_t top) {
  return std::min(static_cast<size_t>(top), e.firing.size());
}

Table table_of(const Explanation& e, const ImageSource& images, const Options& o) {
  using enum Table::Align;
  Table table({{"latent", kRight},
               {"max", kRight},
               {"y, x", kRight},
               {"pixels", kRight},
               {"positions", kRight},
               {"density", kRight},
               {"label"}});
  for (size_t i = 0; i < listed(e, o.top); ++i) {
    const FiringLatent& f = e.firing[i];
    const PixelBox box = box_of(e, f, images, o.crop_size);
    const StoredFeature* known = e.find(f.latent);
    table.row({std::to_string(f.latent), as_figure(static_cast<double>(f.max), 3),
               fmt::format("{}, {}", f.y, f.x),
               fmt::format("{}..{} x {}..{}", box.left, box.left + box.width, box.top, box.top + box.height),
               fmt::format("{:.1f} %", 100 * f.share), known == nullptr ? "-" : as_figure(known->density, 3),
               known == nullptr ? "" : known->label});
  }
  return table;
}

Json json_of(const Explanation& e, const ImageSource& images, const Options& o) {
  Json latents = Json::array();
  for (size_t i = 0; i < listed(e, o.top); ++i) {
    const FiringLatent& f = e.firing[i];
    const PixelBox box = box_of(e, f, images, o.crop_size);
    const StoredFeature* known = e.find(f.latent);
    latents.push_back(
        {{"id", f.latent},
         {"max", f.max},
         {"y", f.y},
         {"x", f.x},
         {"box", {{"left", box.left}, {"top", box.top}, {"width", box.width}, {"height", box.height}}},
         {"share", f.share},
         {"density", known == nullptr ? Json() : Json(known->density)},
         {"label", known == nullptr || known->label.empty() ? Json() : Json(known->label)},
         {"z", f.z}});
  }
  return {
      {"tap", e.tap.name}, {"k", e.k}, {"grid", e.grid}, {"firing", e.firing.size()}, {"latents", latents}};
}

RgbImage sheet_of(const std::vector<Explanation>& explanations, const ImageSource& images, const Options& o) {
  const RgbImage image = photo(images, 0);
  ContactSheet sheet;
  sheet.heading = {fmt::format("{}: the strongest latents, each on its own scale", images.info(0).name)};
  for (const Explanation& e : explanations) {
    sheet.row_titles.push_back(fmt::format("{}, k = {}", e.tap.name, e.k));
    sheet.rows.emplace_back();
    for (size_t i = 0; i < listed(e, o.top); ++i) {
      const FiringLatent& f = e.firing[i];
      const StoredFeature* known = e.find(f.latent);
      check_stop();
      sheet.rows.back().push_back({crop(image, box_of(e, f, images, o.crop_size)),
                                   heat_over(image, f.z, e.grid, f.max),
                                   fmt::format("{} {}", f.latent, known == nullptr ? "" : known->label)});
    }
  }
  return draw_sheet(sheet);
}

void run(const Context& context, const Options& o) {
  const OpenedRun opened = open(o);
  const ImageSource& images = *opened.images;
  if (!o.out.empty() && images.format() != PixelFormat::kU8Rgb)
    throw InputError("--out needs a photo: an image that is preprocessed already cannot be shown");
  const std::vector<Explanation> explanations = explain(open_device(context.common), opened, o);
  Json taps = Json::array();
  for (const Explanation& e : explanations) {
    context.out.text(fmt::format("{}, k = {}: {} latents fire on {}\n{}\n", e.tap.name, e.k,
                                 with_separators(std::ssize(e.firing)), images.info(0).name,
                                 table_of(e, images, o).text()));
    if (!e.stored)
      info(fmt::format("no densities and labels for {}: `branchsae features {}` finds them", e.tap.name,
                       o.run.run));
    taps.push_back(json_of(e, images, o));
  }
  if (!o.out.empty()) {
    const std::string bytes = encode_jpeg(sheet_of(explanations, images, o));
    check_stop();
    write_file_atomically(o.out, bytes);
    context.out.text(fmt::format("to {}\n", o.out));
  }
  context.out.json({{"image", images.info(0).name},
                    {"run", opened.folder.string()},
                    {"sheet", o.out.empty() ? Json() : Json(o.out)},
                    {"taps", std::move(taps)}});
}

}  // namespace

void add_explain(Application& application) {
  auto o = std::make_shared<Options>();
  OptionSet& options = application.add_command(
      {"explain", "IMAGE RUN", "which features fire on one photo, and where",
       R"(Runs one photo through the network and the run's autoencoders and lists, for each tap, the latents that fire
most: their highest value (in the autoencoder's scaled units), where in the tap's grid, the pixels around that
place, and on what share of the positions they fire. Where `branchsae features` has been at work, also how
often they fire elsewhere and their label. --out draws them: a crop and a heat map over the photo each. Heat maps
in the document of --json are rows of the grid, as "z".)",
       R"(  branchsae explain dog.jpg runs/first
  branchsae explain dog.jpg runs/first --tap mixed4c.5x5 --top 20 --out dog-features.jpg)"},
      [o](const Context& context) { run(context, *o); });
  options.positional("IMAGE", o->image, "a photo, or whatever names one image");
  options.positional("RUN", o->run.run, "a folder that `branchsae train` wrote");
  options.list("--tap", o->run.taps, "TAP", "some of the run's taps; else all");
  options.text("--model", o->run.model, "FILE", "the model, when it is no longer where the run found it");
  options.count("--k", o->k, 0, INT32_MAX, "latents kept a position; 0: as trained");
  options.count("--top", o->top, 1, 100, "latents listed a tap");
  options.count("--crop-size", o->crop_size, 1, 1 << 14, "side of the pixels around the strongest position");
  options.text("--out", o->out, "FILE.jpg", "a picture with the listed latents' heat maps");
  add_conv_of_run(options, o->conv);
}

}  // namespace branchsae::apps
