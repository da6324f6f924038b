// features and explain, on a small model.
#include <doctest/doctest.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "engine/files.h"
#include "loader/image_decode.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A run of two taps on these images.
fs::path trained_on(const std::string& images) {
  const fs::path run = temporary_folder() / "run";
  const ProcessResult result = run_program(
      Words{"train", scene().model, images, "--tap", "mixed4c.5x5,mixed4d", "--out", run.string(), "--tokens",
            "640", "--batch", "64", "--k", "3", "--expansion", "4", "--buffer-tokens", "128", "--seed", "5"} +
      kSmall);
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  return run;
}

/// Copied, so that every test has its own.
fs::path own_run() {
  static const fs::path made = trained_on(scene().images);
  const fs::path run = temporary_folder() / "copy";
  fs::copy(made, run, fs::copy_options::recursive);
  return run;
}

nlohmann::json json_file(const fs::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

int64_t side_of(const fs::path& jpeg) {
  const std::string bytes = branchsae::read_file(jpeg);
  return branchsae::decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.jpg",
                                 1 << 24)
      .width;
}

/// Everything below a folder but what the run itself holds.
std::vector<std::string> files_of_features(const fs::path& run) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const std::string name = fs::relative(entry.path(), run).string();
    if (contains(name, "features")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

/// As the folders of latents are named.
std::string fmt5(int64_t latent) {
  std::string number = std::to_string(latent);
  return std::string(5 - std::min<size_t>(number.size(), 5), '0') + number;
}

/// All pictures of the run's features, one after the other.
std::string bytes_of_pictures(const fs::path& run) {
  std::string bytes;
  for (const std::string& name : files_of_features(run)) {
    if (name.ends_with(".jpg")) bytes += branchsae::read_file(run / name);
  }
  return bytes;
}

/// The pictures without anything that names a class.
std::string unlabelled_images() {
  const fs::path folder = temporary_folder() / "plain";
  fs::create_directories(folder);
  for (int i = 0; i < 6; ++i)
    write_ppm(folder / ("photo" + std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, i));
  return folder.string();
}

}  // namespace

TEST_CASE("features: a row a latent, pictures of the chosen, a summary") {
  const fs::path run = own_run();
  const auto document =
      run_json({"features", run.string(), "--cards", "3", "--crops", "2", "--crop-size", "20"});
  CHECK(document["images"] == Scene::kImages);
  REQUIRE(document["taps"].size() == 2);
  for (const auto& tap : document["taps"]) {
    const fs::path folder = run / tap["tap"].get<std::string>();
    CHECK(fs::equivalent(tap["file"].get<std::string>(), folder / "features.json"));
    const auto features = json_file(folder / "features.json");
    CHECK(features["labelled"] == Scene::kImages);
    CHECK(features["about"]["sae_sha256"] == branchsae::sha256_of_file(folder / "sae.safetensors"));
    CHECK(features["about"]["k"] == 3);
    REQUIRE(features["features"].size() == tap["latents"].get<size_t>());
    int64_t live = 0, pictured = 0, fired = 0;
    for (const auto& row : features["features"]) {
      if (row["max"] == 0) continue;
      ++live;
      int64_t counted = 0;
      for (const auto& bin : row["histogram"]["counts"]) counted += bin.get<int64_t>();
      CHECK(static_cast<double>(counted) ==
            doctest::Approx(row["density"].get<double>() * features["tokens"].get<double>()));
      fired += counted;
      if (!row.contains("sheet")) continue;
      ++pictured;
      CHECK(row["top"].size() <= 2);
      for (const auto& top : row["top"]) {
        CHECK(side_of(folder / top["crop"].get<std::string>()) == 20);
        CHECK(side_of(folder / top["heat"].get<std::string>()) == 64);
      }
      CHECK(side_of(folder / row["sheet"].get<std::string>()) > 200);
    }
    CHECK(live == tap["live"]);
    CHECK(pictured == std::min<int64_t>(3, live));
    CHECK(fired <= 3 * features["tokens"].get<int64_t>());
    const std::string csv = branchsae::read_file(folder / "features.csv");
    CHECK(std::ranges::count(csv, '\n') == static_cast<int64_t>(features["features"].size()) + 1);
  }
  const ProcessResult text = run_program({"features", run.string(), "--cards", "0", "--variants", "none"});
  CHECK(contains(text.out, "latents are live"));
  CHECK(contains(text.out, "features.json"));
  CHECK_FALSE(fs::exists(run / "mixed4d" / "features.tmp"));
}

TEST_CASE("features: another k and another folder; the same bytes again, and with other threads") {
  const fs::path run = own_run(), out = temporary_folder() / "elsewhere";
  const Words words = {"features", run.string(), "--k",        "2,5",   "--cards",
                       "2",        "--out",      out.string(), "--tap", "mixed4d"};
  run_json(words);
  CHECK(files_of_features(run).empty());
  for (const char* name : {"features-k2.json", "features-k5.json", "features-k5.csv", "features-k5"})
    CHECK(fs::exists(out / "mixed4d" / name));
  const std::string csv = branchsae::read_file(out / "mixed4d" / "features-k2.csv");
  const auto files = files_of_features(out);
  const auto pictures = [&] {
    std::string bytes;
    for (const std::string& name : files) {
      if (name.ends_with(".jpg")) bytes += branchsae::read_file(out / name);
    }
    return bytes;
  };
  const std::string drawn = pictures();
  CHECK_FALSE(drawn.empty());
  // Without memory for the codes they are made again.
  for (const Words& more : {Words{"--batch", "3"}, Words{"--max-memory", "1KiB"}}) {
    run_json(words + more);
    CHECK(branchsae::read_file(out / "mixed4d" / "features-k2.csv") == csv);
    CHECK(files_of_features(out) == files);
    CHECK(pictures() == drawn);
  }
}

TEST_CASE("features: without labels it works, and says why the columns are empty") {
  const fs::path run = trained_on(unlabelled_images());
  const ProcessResult result =
      run_program({"features", run.string(), "--cards", "1", "--tap", "mixed4c.5x5"});
  CAPTURE(result.err);
  CHECK(result.code == 0);
  CHECK(contains(result.err, "label columns stay empty: no image has a label"));
  CHECK(contains(result.out, "no labels: no image has a label"));
  const auto features = json_file(run / "mixed4c.5x5" / "features.json");
  CHECK(contains(features["labels"], "no image has a label"));
  CHECK(features["labelled"] == 0);
  for (const auto& row : features["features"]) {
    CHECK(row["auroc"].is_null());
    CHECK(row["label"].is_null());
  }
}

TEST_CASE("features: labels of another class list are joined by WordNet id, or refused") {
  const fs::path run = own_run(), folder = temporary_folder();
  // In another order and with other neighbours: a tench is still a tench.
  std::ofstream(folder / "other.tsv") << "0\tn02099601\tgolden retriever\n1\tn01514668\tcock\n"
                                      << "2\tn01440764\ttench\n3\tn01443537\tgoldfish\n";
  const Words words = {"features", run.string(), "--cards", "0", "--variants", "none", "--tap", "mixed4d"};
  run_json(words);
  const auto before = json_file(run / "mixed4d" / "features.json")["features"];
  run_json(words + Words{"--classes", (folder / "other.tsv").string()});
  CHECK(json_file(run / "mixed4d" / "features.json")["features"] == before);

  std::ofstream(folder / "places.tsv") << "0\tn01440764\ttench\n";
  const ProcessResult partly = run_program(words + Words{"--classes", (folder / "places.tsv").string()});
  CHECK(partly.code == 0);
  CHECK(json_file(run / "mixed4d" / "features.json")["labelled"] == 4);

  std::ofstream(folder / "alien.tsv") << "0\tn88888888\tkitchen\n1\tn77777777\tstreet\n";
  const auto kept = files_of_features(run);
  const std::string none = run_refused(words + Words{"--classes", (folder / "alien.tsv").string()});
  CHECK(contains(none, "none of the 12 labels is in the class list"));
  CHECK(contains(none, "alien.tsv"));
  CHECK(files_of_features(run) == kept);

  const fs::path foreign = folder / "foreign";
  fs::create_directories(foreign / "n99999999");
  for (int i = 0; i < 3; ++i)
    write_ppm(foreign / "n99999999" / (std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, i));
  std::ofstream(folder / "foreign.tsv") << "0\tn99999999\tkitchen\n";
  const std::string line =
      run_refused(words + Words{foreign.string(), "--classes", (folder / "foreign.tsv").string()});
  CHECK(contains(line, "WordNet id"));
}

TEST_CASE("features: bad input is one line") {
  const fs::path run = own_run();
  CHECK(contains(run_refused({"features"}), "RUN"));
  CHECK(contains(run_refused({"features", run.string(), "--latents", "100000"}), "--latents 100000"));
  CHECK(contains(run_refused({"features", run.string(), "--k", "100000"}), "k must be in 1..n"));
  CHECK(contains(run_refused({"features", run.string(), "--k", "2,2"}), "twice"));
  CHECK(contains(run_refused({"features", run.string(), "--variants", "blue"}), "--variants"));
  CHECK(contains(run_refused({"features", run.string(), "--crops", "0"}), "--crops"));
  CHECK(contains(run_refused({"features", run.string(), "--tap", "mixed5b"}), "mixed5b"));
  const fs::path file = temporary_folder() / "file";
  std::ofstream(file) << "x";
  CHECK(contains(run_refused({"features", run.string(), "--out", file.string()}), "file"));
  CHECK(files_of_features(run).empty());
}

TEST_CASE("features: a full disk and a signal leave what was there") {
  const fs::path run = own_run();
  const Words words = {"features", run.string(), "--cards", "4", "--tap", "mixed4d"};
  run_json(words);
  const auto before = files_of_features(run);
  const std::string json = branchsae::read_file(run / "mixed4d" / "features.json");
  ProcessOptions small;
  small.largest_file = 2000;  // sheets are larger
  const ProcessResult full = run_program(words, small);
  CHECK(full.code == 1);
  CHECK(full.error_lines().size() == 1);
  CHECK(files_of_features(run) == before);
  CHECK(branchsae::read_file(run / "mixed4d" / "features.json") == json);

  ProcessOptions stop;
  stop.signal_when_file = run / "mixed4d";  // is there from the start
  stop.signal = SIGTERM;
  const ProcessResult stopped = run_program(words, stop);
  CHECK(stopped.code != 2);
  CHECK(files_of_features(run) == before);

  // What a killed process leaves is cleared away by the next one. No process has a number above 2^22.
  fs::create_directories(run / "mixed4d" / "features.tmp5000000" / "00001");
  run_json(words);
  CHECK(files_of_features(run) == before);
}

TEST_CASE("features: pictures of several k are those of each alone, the crop that of the receptive field") {
  const fs::path run = own_run(), together = temporary_folder(), alone = temporary_folder();
  const Words words = {"features", run.string(), "--tap",      "mixed4d", "--cards", "2",
                       "--crops",  "2",          "--variants", "none",    "--k"};
  run_json(words + Words{"1,5", "--out", together.string(), "--crop-size", "0"});
  for (const char* k : {"1", "5"}) run_json(words + Words{k, "--out", alone.string(), "--crop-size", "0"});
  REQUIRE(files_of_features(together) == files_of_features(alone));
  for (const std::string& name : files_of_features(together)) {
    CAPTURE(name);
    if (name.ends_with(".jpg"))
      CHECK((branchsae::read_file(together / name) == branchsae::read_file(alone / name)));
    // Wider than the pictures, so that all of each is shown.
    if (name.ends_with("top-01.jpg")) CHECK(side_of(together / name) == 64);
  }
}

TEST_CASE("features: the last latent can be asked for, the one behind it cannot") {
  const fs::path run = own_run();
  const auto latents = run_json({"features", run.string(), "--tap", "mixed4d", "--cards", "0", "--variants",
                                 "none"})["taps"][0]["latents"]
                           .get<int64_t>();
  const Words words = {"features", run.string(), "--tap", "mixed4d",  "--cards",
                       "0",        "--variants", "none",  "--latents"};
  run_json(words + Words{std::to_string(latents - 1)});
  CHECK(fs::exists(run / "mixed4d" / "features" / fmt5(latents - 1) / "sheet.jpg"));
  CHECK(contains(run_refused(words + Words{std::to_string(latents)}), "--latents"));
}

TEST_CASE("features: a signal while pictures are drawn leaves what was there, of every tap") {
  const fs::path run = own_run();
  const Words words = {"features", run.string(), "--cards", "1000", "--variants", "none"};
  ProcessOptions stop;
  stop.signal_when_file = run / "mixed4d" / "features.tmp*";  // the second tap: the first one's are drawn
  stop.signal = SIGTERM;
  ProcessResult stopped = run_program(words, stop);
  CAPTURE(stopped.err);
  CHECK(stopped.code == 128 + SIGTERM);
  CHECK(stopped.error_lines().empty());
  CHECK(files_of_features(run).empty());

  run_json({"features", run.string(), "--cards", "2"});
  const auto before = files_of_features(run);
  const std::string sheets = bytes_of_pictures(run);
  stopped = run_program(words, stop);
  CHECK(stopped.code == 128 + SIGTERM);
  CHECK(files_of_features(run) == before);
  CHECK((bytes_of_pictures(run) == sheets));
}

TEST_CASE("features and train --resume leave alone what another process is writing") {
  const fs::path run = own_run();
  const std::string running = std::to_string(::getpid());
  const fs::path staged = run / "mixed4d" / ("features.tmp" + running),
                 file = run / "mixed4d" / ("features.json.tmp" + running);
  fs::create_directories(staged / "00001");
  fs::create_directories(run / "mixed4c.5x5" / ("features.tmp" + running));
  std::ofstream(file) << "half";
  run_json({"features", run.string(), "--cards", "1", "--tap", "mixed4d", "--variants", "none"});
  CHECK(fs::exists(staged / "00001"));
  CHECK(fs::exists(file));
  REQUIRE(run_program({"train", "--resume", run.string()}).code == 0);
  CHECK(fs::exists(staged / "00001"));
  CHECK(fs::exists(run / "mixed4c.5x5" / ("features.tmp" + running)));  // empty: about to be filled
  CHECK(fs::exists(file));
}

TEST_CASE("features: preprocessed arrays have no pictures, and no colour index") {
  const fs::path run = own_run(), folder = temporary_folder();
  std::string pixels(static_cast<size_t>(2 * 3 * 64 * 64) * 4, '\0');
  for (size_t i = 0; i < pixels.size(); i += 4) {
    const auto value = static_cast<float>(i % 97) - 40.0F;
    std::copy_n(reinterpret_cast<const char*>(&value), 4, pixels.data() + i);
  }
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 64, 64), }";
  header.resize(117, ' ');
  header += '\n';
  std::ofstream(folder / "pixels.npy", std::ios::binary)
      << std::string("\x93NUMPY\x01\x00", 8) << static_cast<char>(header.size()) << '\0' << header << pixels;
  const ProcessResult result =
      run_program({"features", run.string(), (folder / "pixels.npy").string(), "--tap", "mixed4d"});
  CAPTURE(result.err);
  CHECK(result.code == 0);
  CHECK(contains(result.err, "no pictures"));
  CHECK_FALSE(fs::exists(run / "mixed4d" / "features"));
  for (const auto& row : json_file(run / "mixed4d" / "features.json")["features"])
    CHECK(row["colour_index"].is_null());
  CHECK(contains(run_refused({"explain", (folder / "pixels.npy").string(), run.string()}), "explain"));
}

TEST_CASE("explain: what fires on one photo, with what features knows of it") {
  const fs::path run = own_run(), out = temporary_folder() / "sheet.jpg";
  const std::string image = scene().images + "/n01440764/picture_0.ppm";
  const auto bare = run_json({"explain", image, run.string(), "--top", "4"});
  REQUIRE(bare["taps"].size() == 2);
  CHECK(bare["taps"][0]["latents"][0]["density"].is_null());

  run_json({"features", run.string(), "--cards", "0", "--variants", "none"});
  const auto known = run_json({"explain", image, run.string(), "--top", "4", "--out", out.string()});
  CHECK(side_of(out) > 400);
  for (const auto& tap : known["taps"]) {
    const auto rows = json_file(run / tap["tap"].get<std::string>() / "features.json")["features"];
    double before = 1e30;
    for (const auto& latent : tap["latents"]) {
      const auto& row = rows[latent["id"].get<size_t>()];
      CHECK(latent["density"] == row["density"]);
      CHECK(latent["max"].get<double>() <= row["max"].get<double>());
      CHECK(latent["max"].get<double>() <= before);
      before = latent["max"].get<double>();
      const std::vector<float> z = latent["z"];
      CHECK(*std::ranges::max_element(z) == latent["max"].get<float>());
    }
  }
  CHECK(contains(run_program({"explain", image, run.string()}).out, "positions"));
}

TEST_CASE("explain: a picture under the name of another format is refused") {
  const fs::path run = own_run(), folder = temporary_folder();
  const std::string image = scene().images;
  for (const char* name : {"sheet.png", "sheet", "jpg", "sheet.jpg.bmp"}) {
    const fs::path out = folder / name;
    CHECK(contains(run_refused({"explain", image, run.string(), "--out", out.string()}), ".jpg or .jpeg"));
    CHECK_FALSE(fs::exists(out));
  }
}

TEST_CASE("explain: a signal while it draws leaves no picture, and what was there") {
  const fs::path run = own_run(), out = temporary_folder();
  const std::string image = scene().images + "/n01440764/picture_0.ppm";
  const Words words = {"explain", image, run.string(), "--top", "100", "--out", (out / "sheet.jpg").string(),
                       "-v"};
  ProcessOptions stop;
  stop.signal_when = "no densities and labels for mixed4c.5x5";  // said at once with -v, before it draws
  stop.signal = SIGTERM;
  ProcessResult stopped = run_program(words, stop);
  CAPTURE(stopped.err);
  CHECK(stopped.code == 128 + SIGTERM);
  CHECK(stopped.out.empty());
  CHECK(fs::is_empty(out));

  std::ofstream(out / "sheet.jpg") << "mine";
  stopped = run_program(words, stop);
  CHECK(stopped.code == 128 + SIGTERM);
  CHECK((branchsae::read_file(out / "sheet.jpg") == "mine"));
  CHECK(std::distance(fs::directory_iterator(out), fs::directory_iterator()) == 1);
}

TEST_CASE("explain: bad input is one line") {
  const fs::path run = own_run();
  const std::string image = scene().images + "/n01440764/picture_0.ppm";
  CHECK(contains(run_refused({"explain"}), "IMAGE"));
  CHECK(contains(run_refused({"explain", image}), "RUN"));
  CHECK(contains(run_refused({"explain", scene().images, run.string()}), "takes one"));
  CHECK(contains(run_refused({"explain", image, run.string(), "--k", "100000"}), "k must be in"));
  std::ofstream(run / "mixed4d" / "features.json") << "{";
  CHECK(contains(run_refused({"explain", image, run.string()}), "damaged"));
  const ProcessResult unwritable =
      run_program({"explain", image, run.string(), "--tap", "mixed4c.5x5", "--out", "/proc/nothing/x.jpg"});
  CHECK(unwritable.code == 1);
  CHECK(unwritable.error_lines().size() == 1);
}
