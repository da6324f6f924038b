// The whole job on a model of full width with random weights.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

TEST_CASE("demo finds what it needs, trains five branches and never touches an earlier run") {
  const fs::path folder = temporary_folder() / "work";
  fs::create_directories(folder / "data" / "model");
  fs::copy(scene().model, folder / "data" / "model" / "googlenet.onnx");
  fs::copy(scene().images, folder / "data" / "images", fs::copy_options::recursive);
  const auto first = run_json({"demo", "--tokens", "2k"}, {.folder = folder});
  REQUIRE(first["taps"].size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    CHECK(first["taps"][i]["tap"] == std::string("mixed4") + "abcde"[i] + ".5x5");
    CHECK(first["taps"][i]["held_out"]["fvu"].is_number());
  }
  CHECK(first["run"] == "runs/demo");
  const auto again = run_json({"demo", "--tokens", "2k"}, {.folder = folder});
  CHECK(again["run"] == "runs/demo-2");
  const auto elsewhere = run_json(
      {"demo", "--tokens", "2k", "--out", "mine"},
      {.environment = {{"BRANCHSAE_DATA", (folder / "data").string()}}, .folder = temporary_folder()});
  CHECK(elsewhere["run"] == "mine");
}

TEST_CASE("demo without data says what it looked for") {
  const fs::path folder = temporary_folder() / "a" / "b";
  fs::create_directories(folder);
  const std::string line = run_refused({"demo"}, {.folder = folder});
  CHECK(line.find("--synthetic") != std::string::npos);
  CHECK(fs::is_empty(folder));
}

TEST_CASE("demo --synthetic makes its own material and says what it is") {
  const fs::path folder = temporary_folder();
  const ProcessResult result =
      run_program({"demo", "--synthetic", "made", "--tokens", "20k", "--json"}, {.folder = folder});
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.err.find("branchsae: warning: ") != std::string::npos);
  CHECK(nlohmann::json::parse(result.out)["synthetic"] == true);
  CHECK(fs::exists(folder / "made" / "synthetic.onnx"));
}
