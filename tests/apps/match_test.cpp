// match of runs on a small model.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "analysis/matching/opened_map.h"
#include "engine/files.h"
#include "loader/onnx_loader.h"
#include "model/sae_file.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const Words kTraining = {"--tokens",    "640", "--batch",         "64", "--k", "3",
                         "--expansion", "2",   "--buffer-tokens", "128"};
const Words kQuick = {"--rounds", "99"};

fs::path trained(const Words& more) {
  const fs::path run = temporary_folder() / "run";
  const ProcessResult result = run_program(
      Words{"train", scene().model, scene().images, "--out", run.string()} + kTraining + kSmall + more);
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  return run;
}

/// Three layers, a branch, and two layers joined.
const fs::path& first_run() {
  static const fs::path run =
      trained({"--tap", "mixed4b,mixed4c,mixed4d,mixed4c.5x5,mixed3b,mixed4b+mixed4c", "--seed", "1"});
  return run;
}

const fs::path& second_run() {
  static const fs::path run = trained({"--tap", "mixed4c,mixed4e", "--seed", "2"});
  return run;
}

nlohmann::json json_file(const fs::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

}  // namespace

TEST_CASE("match of one run: neighbouring whole layers and the joined tap, printed and written") {
  const fs::path out = temporary_folder();
  const Words words = Words{"match", first_run().string(), "--out", out.string()} + kQuick;
  const auto document = run_json(words);
  REQUIRE(document["matches"].size() == 4);  // 3b-4b, 4b-4c, 4c-4d, the joined one
  CHECK(document["images"] == Scene::kImages);
  const auto& layers = document["matches"][2];
  CHECK(layers["about"]["a"]["tap"] == "mixed4c");
  CHECK(layers["about"]["b"]["tap"] == "mixed4d");
  CHECK(layers["about"]["tokens"] == 16 * Scene::kImages);
  const auto written = json_file(out / "mixed4c" / "match-mixed4d.json");
  REQUIRE(written["similarities"].size() == 6);  // three similarities, two pairings
  CHECK(written["similarities"][4]["name"] == "virtual weight");
  CHECK(written["similarities"][4]["count"] > 0);
  CHECK(written["similarities"][4]["split_halves"].is_null());
  for (const auto& one : written["similarities"]) {
    CHECK(one["pairs"].size() == one["count"]);
    REQUIRE(one["agreement"].size() == 4);
    CHECK(one["agreement"][2]["branch"] == "5x5");
    CHECK(one["agreement"][2]["pairs"] == one["count"]);
    for (const auto& pair : one["pairs"]) CHECK(pair["value"].get<double>() > one["threshold"].get<double>());
  }
  CHECK(fs::exists(out / "mixed4c" / "match-mixed4d.csv"));
  // 8 x 8 positions beside 4 x 4: no position in common, classes are.
  const auto grids = json_file(out / "mixed3b" / "match-mixed4b.json");
  CHECK(contains(grids["skipped"]["correlation"], "grids"));
  CHECK(grids["similarities"].size() == 4);  // weights reach through the pool between them
  const auto joined = json_file(out / "mixed4b+mixed4c" / "match.json");
  CHECK(joined["layers"].size() == 2);
  CHECK(joined["between"].size() == 1);

  const std::string bytes = branchsae::read_file(out / "mixed4c" / "match-mixed4d.json");
  const ProcessResult again = run_program(words + Words{"--threads", "1"});
  CHECK(contains(again.out, "match-mixed4d.json"));
  CHECK(contains(again.out, "kappa"));
  CHECK(json_file(out / "mixed4c" / "match-mixed4d.json")["about"] == written["about"]);
  REQUIRE(run_program(words).code == 0);
  CHECK(branchsae::read_file(out / "mixed4c" / "match-mixed4d.json") == bytes);
}

TEST_CASE("match of two runs: common taps, chosen ones, other k, some of the positions") {
  const std::string a = first_run().string(), b = second_run().string();
  const auto common = run_json(Words{"match", a, b} + kQuick);
  REQUIRE(common["matches"].size() == 1);
  CHECK(contains(common["matches"][0]["skipped"]["virtual weight"], "of one tensor"));
  CHECK(contains(common["matches"][0]["file"], "match-run.mixed4c.json"));
  CHECK(fs::exists(first_run() / "mixed4c" / "match-run.mixed4c.csv"));

  const auto pairs = run_json(Words{"match", a, b, scene().images, "--tap-pairs",
                                    "mixed4c:mixed4e,mixed4d:mixed4e", "--k", "2,3", "--positions", "5"} +
                              kQuick);
  REQUIRE(pairs["matches"].size() == 4);
  CHECK(pairs["matches"][0]["about"]["tokens"] == 5 * Scene::kImages);
  CHECK(pairs["matches"][0]["about"]["a"]["k"] == 2);
  CHECK(contains(pairs["matches"][0]["file"], "match-run.mixed4e-k2.json"));

  const auto branch = run_json(Words{"match", a, "--tap-a", "mixed4c.5x5", "--tap-b", "mixed4d"} + kQuick);
  CHECK(contains(branch["matches"][0]["no_agreement"], "5x5"));
  CHECK(branch["matches"][0]["similarities"][0]["agreement"].empty());
}

TEST_CASE("match without labels compares codes only and says why") {
  const fs::path pictures = temporary_folder();
  for (int i = 0; i < 5; ++i)
    write_ppm(pictures / (std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, i));
  const Words words = Words{"match",       first_run().string(), "--images", pictures.string(),
                            "--tap-pairs", "mixed4c:mixed4d",    "--out",    temporary_folder().string()} +
                      kQuick;
  const auto document = run_json(words);
  CHECK(document["matches"][0]["similarities"].size() == 4);
  CHECK(contains(document["matches"][0]["skipped"]["class profile"], "label"));
  CHECK(contains(run_program(words).out, "no class profile"));
}

TEST_CASE("match by the similarities that are asked for, and weights only from a layer to a later one") {
  const std::string run = first_run().string();
  const auto compared = [&](const std::string& pair, const Words& more) {
    return run_json(Words{"match", run, "--tap-pairs", pair, "--out", temporary_folder().string()} + more +
                    kQuick)["matches"][0];
  };
  const auto weights = compared("mixed4c.5x5:mixed4d", {"--similarity", "weight", "--positions", "2"});
  REQUIRE(weights["similarities"].size() == 2);
  CHECK(weights["similarities"][0]["name"] == "virtual weight");
  CHECK(weights["skipped"].empty());
  CHECK(compared("mixed4b:mixed4d", {"--similarity", "weight,profile"})["similarities"].size() == 4);
  const auto backwards = compared("mixed4d:mixed4c", {"--similarity", "weight,correlation"});
  CHECK(backwards["similarities"].size() == 2);
  CHECK(contains(backwards["skipped"]["virtual weight"], "'mixed4d' does not lie before 'mixed4c'"));
  CHECK(contains(run_refused({"match", run, "--similarity", "cosine"}), "not 'cosine'"));
  CHECK(contains(run_refused({"match", run, "--similarity", ""}), "empty entry"));
}

TEST_CASE("match by weights of untied autoencoders: what the decoder writes and the encoder reads") {
  const fs::path run = trained({"--tap", "mixed4b,mixed4c", "--untied", "--seed", "1"});
  const fs::path out = temporary_folder();
  run_json(
      Words{"match", run.string(), "--similarity", "weight", "--quantile", "0.9", "--out", out.string()} +
      kQuick);
  const branchsae::Graph graph = branchsae::load_onnx(scene().model);
  const branchsae::HostTensor map = branchsae::opened_map(graph, branchsae::resolve_tap(graph, "mixed4b"),
                                                          branchsae::resolve_tap(graph, "mixed4c"));
  const auto a = branchsae::load_sae(run / "mixed4b" / "sae.safetensors").parameters.w_dec.clone();
  const auto b = branchsae::load_sae(run / "mixed4c" / "sae.safetensors").parameters.w.clone();
  const auto document = json_file(out / "mixed4b" / "match-mixed4c.json");
  const auto& pairs = document["similarities"][1]["pairs"];
  REQUIRE(pairs.size() > 10);
  for (const auto& pair : pairs) {
    const int64_t i = pair["a"], j = pair["b"], d = map.dim(1);
    double product = 0, writes = 0, reads = 0;
    for (int64_t c = 0; c < d; ++c) {
      double read = 0;
      for (int64_t e = 0; e < map.dim(0); ++e)
        read += static_cast<double>(b[j * map.dim(0) + e]) * static_cast<double>(map[e * d + c]);
      const auto written = static_cast<double>(a[i * d + c]);
      product += written * read;
      writes += written * written;
      reads += read * read;
    }
    // 1e-4: sums of single precision, and of opposite signs.
    CHECK(pair["value"].get<double>() ==
          doctest::Approx(std::abs(product) / std::sqrt(writes * reads)).epsilon(1e-4));
  }
}

TEST_CASE("match refuses what cannot be compared") {
  const std::string a = first_run().string(), b = second_run().string();
  CHECK(contains(run_refused({"match"}), "RUN"));
  CHECK(contains(run_refused({"match", a, "/nonexistent/run"}), "/nonexistent/run"));
  CHECK(contains(run_refused({"match", a, "--tap-a", "mixed4z", "--tap-b", "mixed4c"}), "mixed4z"));
  CHECK(contains(run_refused({"match", a, "--tap-a", "mixed4c"}), "--tap-b"));
  CHECK(contains(run_refused({"match", a, "--tap-a", "mixed4b,mixed4c", "--tap-b", "mixed4c"}), "partner"));
  CHECK(contains(run_refused({"match", a, b, "--tap-pairs", "mixed4c"}), "colon"));
  CHECK(contains(run_refused({"match", a, b, "--tap-pairs", "mixed4c:mixed4b"}), "mixed4b"));
  CHECK(contains(run_refused({"match", a, b, "--tap-pairs", "mixed4c:mixed4c", "--tap-a", "mixed4c"}),
                 "--tap-pairs"));
  CHECK(contains(run_refused({"match", b, "--k", "100000"}), "100000"));
  CHECK(contains(run_refused({"match", a, b, "--positions", "16", "--max-memory", "1kB"}), "--max-memory"));
  const std::string one = (fs::path(scene().images) / "n01440764" / "picture_0.ppm").string();
  CHECK(contains(run_refused({"match", a, b, one}), "images"));

  const fs::path lonely = trained({"--tap", "mixed4c.5x5"});
  CHECK(contains(run_refused({"match", lonely.string()}), "joined"));
  CHECK(contains(run_refused({"match", a, lonely.string(), "--tap-a", "mixed4c"}), "mixed4c"));

  const fs::path elsewhere = temporary_folder();
  for (int i = 0; i < 6; ++i)
    write_ppm(elsewhere / (std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, 20 + i));
  const fs::path other = elsewhere / "run";
  REQUIRE(run_program(
              Words{"train", scene().model, elsewhere.string(), "--tap", "mixed4c", "--out", other.string()} +
              kTraining + kSmall)
              .code == 0);
  CHECK(contains(run_refused({"match", a, other.string()}), "different images"));
  CHECK(run_program(Words{"match", a, other.string(), scene().images} + kQuick).code == 0);
}

TEST_CASE("match refuses runs of different models") {
  const fs::path place = temporary_folder();
  fs::copy(scene().model, place / "other.onnx");
  std::ofstream(place / "other.onnx", std::ios::app | std::ios::binary) << std::string("\x32\x00", 2);
  const fs::path run = place / "run";
  REQUIRE(run_program(Words{"train", (place / "other.onnx").string(), scene().images, "--tap", "mixed4c",
                            "--out", run.string()} +
                      kTraining + kSmall)
              .code == 0);
  CHECK(contains(run_refused({"match", first_run().string(), run.string()}), "different models"));
}
