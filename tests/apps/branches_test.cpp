// The command branches on a small model: its files, tables, options, and what it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "engine/files.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Whole layers, one branch, and two layers joined.
const fs::path& shared_run() {
  static const fs::path run = [] {
    const fs::path folder = temporary_folder() / "run";
    const Words words = Words{"train",
                              scene().model,
                              scene().images,
                              "--tap",
                              "mixed4d,mixed4c.5x5,mixed4a+mixed4b",
                              "--out",
                              folder.string(),
                              "--tokens",
                              "640",
                              "--batch",
                              "64",
                              "--k",
                              "3",
                              "--expansion",
                              "2",
                              "--buffer-tokens",
                              "128",
                              "--seed",
                              "5"} +
                        kSmall;
    const ProcessResult result = run_program(words);
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return folder;
  }();
  return run;
}

Words branches(const Words& more) {
  return Words{"branches", shared_run().string(), "--rounds", "99"} + more;
}

nlohmann::json json_file(const fs::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

double sum_of(const nlohmann::json& values) {
  double sum = 0;
  for (const auto& value : values) sum += value.get<double>();
  return sum;
}

}  // namespace

TEST_CASE("branches writes shares that sum to one, nulls and tests, and prints where") {
  const fs::path out = temporary_folder() / "out";
  const ProcessResult result =
      run_program(branches({"--tap", "mixed4d", "--out", out.string(), "--no-progress"}));
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(contains(result.out, (out / "mixed4d" / "branches.json").string()));
  for (const char* part : {"evidence", "causal", "most enriched", "left out: animal", "orientation", "bird"})
    CHECK(contains(result.out, part));

  const auto document = json_file(out / "mixed4d" / "branches.json");
  CHECK(document["about"]["tap"] == "mixed4d");
  CHECK(document["about"]["layer"] == "mixed4d");
  CHECK(document["about"]["k"] == 3);
  CHECK(document["about"]["images"] == Scene::kImages);
  CHECK(document["about"]["sae_sha256"] ==
        branchsae::sha256_of_file(shared_run() / "mixed4d" / "sae.safetensors"));
  CHECK(document["branches"] == nlohmann::json({"1x1", "3x3", "5x5", "pool"}));
  double channels = 0, energy = 0;
  for (const auto& null : document["nulls"]) {
    channels += null["channels"].get<double>();
    energy += null["activation_energy"].get<double>();
    CHECK(null["random_energy_99"] > null["random_energy"]);
  }
  CHECK(channels == doctest::Approx(1));
  CHECK(energy == doctest::Approx(1));

  int64_t live = 0;
  for (const auto& latent : document["latents"]) {
    CHECK(sum_of(latent["s"]) == doctest::Approx(1).epsilon(1e-5));
    if (!latent["live"].get<bool>()) continue;
    ++live;
    CHECK(latent["density"] > 0);
    CHECK(sum_of(latent["evidence"]) == doctest::Approx(1).epsilon(1e-4));
    CHECK(latent["causal"].size() == 4);
    CHECK(latent["concepts"]["bird"].is_boolean());
  }
  CHECK(live == document["live"]);
  std::set<std::string> subjects, families;
  for (const auto& test : document["tests"]) {
    subjects.insert(test["subject"].get<std::string>());
    families.insert(test["test"].get<std::string>());
    for (const char* field : {"p", "q"}) {
      CHECK(test[field] > 0);
      CHECK(test[field] <= 1);
    }
    CHECK(contains(test["correction"].get<std::string>(), "Benjamini-Hochberg over"));
  }
  CHECK(subjects.contains("latents"));
  CHECK(families.contains("spearman"));
  const std::string csv = branchsae::read_file(out / "mixed4d" / "branches.csv");
  CHECK(std::ranges::count(csv, '\n') == static_cast<int64_t>(document["latents"].size()) + 1);
  const std::string svg = branchsae::read_file(out / "mixed4d" / "branches.svg");
  CHECK(contains(svg, "class=\"null\""));
  CHECK(contains(svg, ">5x5: "));
  CHECK_FALSE(fs::exists(shared_run() / "mixed4d" / "branches.json"));
}

TEST_CASE("branches: a tap of one branch has concepts but no shares; joined layers have each of theirs") {
  const fs::path out = temporary_folder() / "taps";
  const auto document = run_json(
      branches({"--tap", "mixed4c.5x5,mixed4a+mixed4b", "--out", out.string(), "--json", "--no-causal"}));
  REQUIRE(document["taps"].size() == 2);
  const auto& one = document["taps"][0];
  CHECK(one["branches"] == nlohmann::json({"5x5"}));
  CHECK(one["tests"].empty());
  CHECK(one["concepts"].contains("bird"));
  CHECK_FALSE(one.contains("latents"));
  CHECK_FALSE(fs::exists(out / "mixed4c.5x5" / "branches.svg"));
  const auto& joined = document["taps"][1];
  CHECK(joined["branches"].size() == 8);
  CHECK(joined["branches"][0] == "mixed4a.1x1");
  CHECK(joined["compared"] == nlohmann::json({"1x1", "3x3", "5x5", "pool"}));
  const auto file = json_file(joined["file"].get<std::string>());
  CHECK(file["latents"][0]["s"].size() == 8);
  CHECK_FALSE(file["latents"][0].contains("causal"));
}

TEST_CASE("branches: another k has its own files, and any number of threads the same bytes") {
  const fs::path one = temporary_folder() / "one", two = temporary_folder() / "two";
  for (const auto& [out, threads] : {std::pair{one, "1"}, {two, "2"}}) {
    const ProcessResult result = run_program(branches(
        {"--tap", "mixed4d", "--k", "2,3", "--out", out.string(), "--threads", threads, "--no-causal"}));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
  }
  CHECK(json_file(one / "mixed4d" / "branches-k2.json")["about"]["k"] == 2);
  CHECK(json_file(one / "mixed4d" / "branches-k2.json")["about"]["trained_k"] == 3);
  CHECK(json_file(one / "mixed4d" / "branches.json")["about"]["k"] == 3);
  // The network's numbers depend on the threads; what the same codes give does not.
  const auto left = json_file(one / "mixed4d" / "branches.json"),
             right = json_file(two / "mixed4d" / "branches.json");
  CHECK(left["nulls"]["5x5"]["random_energy"] == right["nulls"]["5x5"]["random_energy"]);
  const ProcessResult again = run_program(
      branches({"--tap", "mixed4d", "--k", "2,3", "--out", two.string(), "--threads", "1", "--no-causal"}));
  REQUIRE(again.code == 0);
  CHECK(branchsae::read_file(one / "mixed4d" / "branches-k2.json") ==
        branchsae::read_file(two / "mixed4d" / "branches-k2.json"));
}

TEST_CASE("branches: what does not fit --max-memory is computed again, to the same bytes") {
  const fs::path usual = temporary_folder() / "usual", little = temporary_folder() / "little";
  const auto written = [](const fs::path& out, const Words& more) {
    const ProcessResult result =
        run_program(branches(Words{"--tap", "mixed4d", "--k", "2,3", "--out", out.string()} + more));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return branchsae::read_file(out / "mixed4d" / "branches-k2.json") +
           branchsae::read_file(out / "mixed4d" / "branches.json");
  };
  CHECK(written(usual, {}) == written(little, {"--max-memory", "1KiB"}));
}

TEST_CASE("branches: images without labels leave the groups of classes out and say so") {
  const fs::path plain = temporary_folder() / "plain", out = temporary_folder() / "unlabelled";
  fs::create_directories(plain);
  for (int i = 0; i < 6; ++i)
    write_ppm(plain / (std::to_string(i) + ".ppm"), 64, 64, drawn_pixels(64, 64, i));
  const auto document = run_json(
      branches({plain.string(), "--tap", "mixed4d", "--out", out.string(), "--json", "--no-causal"}));
  const auto& tap = document["taps"][0];
  CHECK(tap["about"]["labelled"] == 0);
  CHECK_FALSE(tap["concepts"].contains("animal"));
  CHECK(tap["concepts"].contains("colour"));
  CHECK(contains(tap["left_out"].dump(), "animal: the images have no labels"));
  CHECK(contains(tap["about"]["labels"].get<std::string>(), "label"));
}

TEST_CASE("branches: bad input is one line that says what to do") {
  CHECK(contains(run_refused({"branches"}), "RUN is missing"));
  CHECK(contains(run_refused(branches({"--concepts", "anmal"})), "animal"));
  CHECK(contains(run_refused(branches({"--k", "100000"})), "--k 100000"));
  CHECK(contains(run_refused(branches({"--tap", "mixed5b"})), "mixed4d"));
  CHECK(contains(run_refused(branches({"--rounds", "0"})), "--rounds"));
  CHECK(contains(run_refused(branches({"--localised", "1.5"})), "--localised"));
}
