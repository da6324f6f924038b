// Speed of reading photos, from the file to the network's square of pixels, on one core: JPEGs decoded whole,
// and at the fraction of their size that is enough. A folder's photos, or drawn ones, are taken as they are
// and enlarged to two sizes. First the two ways are compared.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bench/meter.h"
#include "bench/scratch.h"
#include "engine/error.h"
#include "engine/files.h"
#include "loader/image_resize.h"
#include "loader/image_source.h"
#include "loader/synthetic.h"
#include "tests/loader/image_files.h"

using namespace branchsae;

namespace {

struct Options {
  std::vector<std::string> images;
  int64_t resize = 256, crop = 224, pictures = 16;
  double seconds = 3;
  bool json = false;
};

struct Case {
  std::string name;
  std::string folder;
};

/// Processor time: whatever else runs on the machine does not count.
double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Photos a second, over whole passes.
double rate(const ImageSource& images, double seconds, std::vector<uint8_t>& pixels) {
  int64_t count = 0;
  const double begin = processor_s();
  double now = begin;
  for (int pass = 0; pass == 0 || now - begin < seconds; ++pass) {
    for (int64_t i = 0; i < images.size(); ++i) {
      const std::string reason = images.read_centre(i, pixels.data());
      if (!reason.empty()) throw InputError(fmt::format("{}: {}", images.info(i).name, reason));
    }
    count += images.size();
    now = processor_s();
  }
  return static_cast<double>(count) / (now - begin);
}

/// Mean difference of the two ways, in levels of 255.
double difference(const ImageSource& full, const ImageSource& scaled) {
  std::vector<uint8_t> a(static_cast<size_t>(full.image_bytes())), b(a.size());
  double sum = 0;
  for (int64_t i = 0; i < full.size(); ++i) {
    full.read_centre(i, a.data());
    scaled.read_centre(i, b.data());
    for (size_t k = 0; k < a.size(); ++k) sum += std::abs(a[k] - b[k]);
  }
  return sum / static_cast<double>(full.size()) / static_cast<double>(a.size());
}

nlohmann::json run_case(const Options& o, const Case& photos) {
  ImageOptions options{.resize = o.resize, .crop = o.crop};
  const auto scaled = open_images(photos.folder, options);
  options.scaled_decode = false;
  const auto full = open_images(photos.folder, options);
  std::vector<uint8_t> pixels(static_cast<size_t>(full->image_bytes()));
  const double levels = difference(*full, *scaled);
  // Half a second of one, half a second of the other: whatever else runs meets both.
  std::vector<double> full_rates, scaled_rates;
  for (double spent = 0; spent < o.seconds; spent += 1) {
    full_rates.push_back(rate(*full, 0.5, pixels));
    scaled_rates.push_back(rate(*scaled, 0.5, pixels));
  }
  const double whole = bench::quantile(full_rates, 0.5), reduced = bench::quantile(scaled_rates, 0.5);
  return {{"case", "decode"},         {"photos", photos.name},      {"count", full->size()},
          {"images_per_s", reduced},  {"images_per_s_full", whole}, {"ratio", reduced / whole},
          {"mean_difference", levels}};
}

RgbImage decoded(const std::string& path) {
  const std::string bytes = read_file(path, int64_t{1} << 30);
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, path, 1 << 28);
}

/// Writes the photos as square JPEGs of this side, as cameras do: quality 90, colour at half the resolution.
Case enlarged(const std::vector<std::string>& photos, const std::filesystem::path& folder, int64_t side) {
  std::filesystem::create_directories(folder);
  for (size_t i = 0; i < photos.size(); ++i) {
    RgbImage square{.width = side, .height = side};
    square.pixels.resize(static_cast<size_t>(side * side * 3));
    resize_and_crop(decoded(photos[i]), side, side, square.pixels.data());
    test::write_bytes(
        folder / fmt::format("{}.jpg", i),
        test::encode_jpeg(square, {.quality = 90, .horizontal_sampling = 2, .vertical_sampling = 2}));
  }
  return {fmt::format("{} x {}", side, side), folder.string()};
}

/// Up to --pictures of the photos, from all over the set.
std::vector<std::string> chosen(const Options& o, const std::vector<std::string>& specs) {
  const auto all = open_images(specs);
  const int64_t count = std::min(all->size(), o.pictures);
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(all->info(i * all->size() / count).name);
  return names;
}

/// Links to them in a folder of their own.
Case as_they_are(const std::vector<std::string>& photos, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (size_t i = 0; i < photos.size(); ++i) {
    const std::filesystem::path path = std::filesystem::absolute(photos[i]);
    std::filesystem::create_symlink(path, folder / fmt::format("{}{}", i, path.extension().string()));
  }
  return {"as they are", folder.string()};
}

void print_result(const nlohmann::json& r) {
  fmt::print(
      "{}: {:.0f} images/s a core, {:.0f} when decoded whole: {:.2f}x; mean difference {:.2f} of 255\n",
      r["photos"].get<std::string>(), r["images_per_s"].get<double>(), r["images_per_s_full"].get<double>(),
      r["ratio"].get<double>(), r["mean_difference"].get<double>());
}

void run_all(Options o) {
  const bench::Scratch scratch;
  if (o.images.empty()) {
    o.images = {(scratch.path() / "drawn").string()};
    write_synthetic_images(o.images.front(), {.count = o.pictures});
  }
  const std::vector<std::string> photos = chosen(o, o.images);
  std::vector<Case> cases{as_they_are(photos, scratch.path() / "as-they-are")};
  for (const int64_t side : {1024, 3000}) {
    cases.push_back(enlarged(photos, scratch.path() / std::to_string(side), side));
  }
  for (const Case& each : cases) {
    const nlohmann::json result = run_case(o, each);
    if (o.json) {
      fmt::print("{}\n", result.dump());
    } else {
      print_result(result);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "How fast photos are decoded and resized on one core.\n"
      "Example: bench_decode photos/");
  app.add_option("images", options.images, "folders or image files; none: drawn ones");
  app.add_option("--resize", options.resize, "short side before cropping")->capture_default_str();
  app.add_option("--crop", options.crop, "side of the centre crop")->capture_default_str();
  app.add_option("--pictures", options.pictures, "how many are taken, or drawn")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "a case")->capture_default_str();
  app.add_flag("--json", options.json, "a JSON line a case");
  CLI11_PARSE(app, argc, argv);
  return bench::run_bench("bench_decode", [&] { run_all(options); });
}
