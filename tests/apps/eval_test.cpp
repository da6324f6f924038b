// eval as a user runs it, on a small model: figures, replaced taps, classes, files.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "engine/files.h"
#include "loader/class_list.h"
#include "tests/apps/scene.h"
#include "tests/test_data.h"

using namespace branchsae::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A branch, a layer and two layers joined.
const fs::path& shared_run() {
  static const fs::path run = [] {
    const fs::path folder = temporary_folder() / "run";
    const ProcessResult result =
        run_program(train_arguments(folder, {"--k", "3"}, kTwoTaps + ",mixed4a+mixed4b"));
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return folder;
  }();
  return run;
}

Words eval(const Words& more = {}) {
  return Words{"eval", shared_run().string()} + more;
}

json json_file(const fs::path& path) {
  return json::parse(std::ifstream(path));
}

const json& evaluation_of(const json& document, const std::string& tap, int64_t k) {
  const auto found = std::ranges::find_if(
      document["evaluations"], [&](const json& one) { return one["tap"] == tap && one["k"] == k; });
  REQUIRE(found != document["evaluations"].end());
  return *found;
}

/// Mean of -ln p(class) that `classify` gives the images; class_of: from the label's index to the model's.
double cross_entropy(const std::function<int64_t(int64_t)>& class_of) {
  const json document = run_json(Words{"classify", scene().model, scene().images, "--top", "1000"} + kSmall);
  double sum = 0;
  for (const json& image : document["images"]) {
    for (const json& guess : image["predictions"]) {
      if (guess["class"] == class_of(image["label"].get<int64_t>()))
        sum -= std::log(guess["probability"].get<double>());
    }
  }
  return sum / static_cast<double>(document["images"].size());
}

/// The scene's pictures under names that say nothing.
fs::path unlabelled_pictures() {
  const fs::path folder = temporary_folder() / "plain";
  fs::create_directories(folder);
  for (const auto& entry : fs::recursive_directory_iterator(scene().images)) {
    if (entry.is_regular_file()) fs::copy(entry.path(), folder / entry.path().filename());
  }
  return folder;
}

/// The built-in classes in the opposite order.
fs::path reversed_classes() {
  const fs::path path = temporary_folder() / "reversed.tsv";
  std::ofstream file(path);
  const auto classes = branchsae::builtin_class_list();
  for (int64_t i = 0; i < classes->size(); ++i) {
    const auto& one = classes->at(classes->size() - 1 - i);
    file << i << '\t' << one.wordnet_id << '\t' << one.names << '\n';
  }
  return path;
}

}  // namespace

TEST_CASE("eval replaces taps in the running network, says why it leaves one, and keeps train's file") {
  const std::string before = branchsae::read_file(shared_run() / "mixed4d" / "eval.json");
  const json document = run_json(eval({"--all", "--k", "8,1,3", "--per-class", "1"}));
  CHECK(document["images"] == Scene::kImages);
  CHECK(document["labelled"] == Scene::kImages);
  REQUIRE(document["evaluations"].size() == 9);
  const json &one = evaluation_of(document, "mixed4d", 1), &eight = evaluation_of(document, "mixed4d", 8);
  const json& splicing = eight["splicing"];
  CHECK(splicing["images"] == Scene::kImages);
  // Nothing but the float32 softmax of another pass lies between the two.
  CHECK(splicing["clean"]["cross_entropy"].get<double>() ==
        doctest::Approx(cross_entropy([](int64_t label) { return label; })).epsilon(1e-5));
  CHECK(splicing["clean"]["kl_to_clean"] == 0);
  CHECK(splicing["clean"]["same_top1"] == 1);
  CHECK(splicing["zero"] == one["splicing"]["zero"]);
  CHECK(splicing["mean"]["kl_to_clean"].get<double>() > 0);
  CHECK(splicing["reconstruction"] != one["splicing"]["reconstruction"]);
  for (const char* without : {"zero", "mean"}) {
    const double kl = splicing["reconstruction"]["kl_to_clean"], worst = splicing[without]["kl_to_clean"];
    CHECK(splicing["recovered_against_" + std::string(without)]["kl"].get<double>() ==
          doctest::Approx(1 - kl / worst));
  }
  CHECK(eight["classes"].size() == 3);
  CHECK(eight["classes"][0]["wordnet_id"] == "n01440764");
  CHECK(eight["classes"][0]["images"] == 4);

  const json& joined = evaluation_of(document, "mixed4a+mixed4b", 3);
  CHECK(joined["splicing"].is_null());
  CHECK(contains(joined["not_spliced"], "joins several layers"));
  CHECK(joined["fvu"].is_number());
  CHECK(joined["explained_variance_centred"].is_number());
  CHECK(branchsae::read_file(shared_run() / "mixed4d" / "eval.json") == before);
}

TEST_CASE("eval writes what it prints, a file a tap and k, by class as CSV") {
  const fs::path out = temporary_folder() / "deep" / "out";
  const Words arguments = eval({"--all", "--k", "2,3", "--out", out.string()});
  const json document = run_json(arguments);
  REQUIRE(document["files"].size() == 3 * 2 + 2 * 2);
  for (const json& file : document["files"]) CHECK(fs::exists(file.get<std::string>()));
  for (const json& one : document["evaluations"]) {
    const std::string name = "eval-k" + one["k"].dump() + ".json";
    json written = json_file(out / one["tap"].get<std::string>() / name);
    CHECK(written["about"]["k"] == one["k"]);
    CHECK(written["about"]["trained_k"] == 3);
    CHECK(written["about"]["which"] == "given");
    CHECK(written["about"]["sae_sha256"].get<std::string>().size() == 64);
    for (const char* field : {"about", "formulas", "classes"}) written.erase(field);
    CHECK(written == one);
  }
  const std::string csv = branchsae::read_file(out / "mixed4d" / "eval-k2.csv");
  CHECK(std::ranges::count(csv, '\n') == 1 + 3);
  CHECK(contains(csv, "\n0,n01440764,tench,4,"));
  CHECK_FALSE(fs::exists(out / "mixed4a+mixed4b" / "eval-k2.csv"));
  const std::string bytes = branchsae::read_file(out / "mixed4d" / "eval-k2.json");
  run_json(arguments);
  CHECK(branchsae::read_file(out / "mixed4d" / "eval-k2.json") == bytes);
}

TEST_CASE("the tables of eval") {
  const ProcessResult result = run_program(eval({"--all", "--per-class", "1"}));
  REQUIRE(result.code == 0);
  for (const char* part :
       {"SAELens: explained_variance_legacy", "dictionary_learning: frac_variance_explained", "sparsify: fvu",
        "same top-1", "CE rec./mean", "mixed4a+mixed4b: not replaced: ", "goldfish", "eval-k3.json\n"}) {
    CAPTURE(part);
    CHECK(contains(result.out, part));
  }
  CHECK_FALSE(contains(result.out, "no image is labelled"));
  CHECK_FALSE(contains(result.out, "nan"));
  for (const std::string& command : {"eval", "help"}) {
    const ProcessResult help =
        run_program(command == "eval" ? Words{"eval", "--help"} : Words{"help", "eval"});
    CHECK(contains(help.out, "--no-splice"));
  }
}

TEST_CASE("unlabelled images: divergence only, and it says so") {
  const Words arguments = eval({unlabelled_pictures().string(), "--tap", "mixed4d", "--out",
                                (temporary_folder() / "out").string(), "--per-class", "2"});
  const json document = run_json(arguments);
  CHECK(document["labelled"] == 0);
  const json& splicing = document["evaluations"][0]["splicing"];
  for (const char* field : {"top1", "top5", "cross_entropy"})
    CHECK(splicing["reconstruction"][field].is_null());
  CHECK(splicing["recovered_against_zero"]["loss"].is_null());
  CHECK(splicing["recovered_against_zero"]["kl"].is_number());
  CHECK(splicing["reconstruction"]["kl_to_clean"].get<double>() > 0);
  CHECK(document["evaluations"][0]["classes"].empty());
  CHECK(document["files"].size() == 1);
  CHECK(contains(run_program(arguments).out, "no image is labelled"));
}

TEST_CASE("labels are joined to another class list by WordNet id") {
  const json document = run_json(eval({"--all", "--tap", "mixed4d", "--classes", reversed_classes().string(),
                                       "--out", (temporary_folder() / "out").string(), "--per-class", "1"}));
  const json& one = document["evaluations"][0];
  CHECK(one["splicing"]["clean"]["cross_entropy"].get<double>() ==
        doctest::Approx(cross_entropy([](int64_t label) { return 999 - label; })).epsilon(1e-5));
  CHECK(one["classes"].back()["wordnet_id"] == "n01440764");
  CHECK(one["classes"].back()["class"] == 999);

  const fs::path three = temporary_folder() / "three.tsv";
  std::ofstream(three) << "0\tn01440764\ttench\n1\tn01443537\tgoldfish\n2\tn01514668\tcock\n";
  CHECK(contains(run_refused(eval({"--classes", three.string()})), "3 classes"));
}

TEST_CASE("--no-splice ends at the taps") {
  const fs::path out = temporary_folder() / "out";
  const json document = run_json(eval({"--no-splice", "--tap", "mixed4d", "--out", out.string()}));
  const json& one = document["evaluations"][0];
  CHECK(one["splicing"].is_null());
  CHECK(one["explained_variance_by_token"].is_number());
  CHECK(document["files"].size() == 1);
  CHECK_FALSE(contains(run_program(eval({"--no-splice", "--out", out.string()})).out, "replaced"));
  CHECK(contains(run_refused(eval({"--no-splice", "--per-class", "3"})), "--no-splice"));
}

TEST_CASE("bad input, a full disk, a closed stdout and a signal leave nothing half written") {
  CHECK(contains(run_refused(eval({"--k", "0"})), "--k"));
  CHECK(contains(run_refused(eval({"--k", "4,2,4"})), "--k: 4 is given twice"));
  CHECK(contains(run_refused(eval({"--tap", "mixed4z"})), "mixed4z"));
  const fs::path taken = temporary_folder() / "taken";
  std::ofstream(taken) << "a file";
  CHECK(contains(run_refused(eval({"--out", taken.string()})), taken.string()));

  const fs::path out = temporary_folder() / "out";
  const ProcessResult full = run_program(eval({"--out", out.string()}), {.largest_file = 1000});
  CHECK(full.code == 1);
  CHECK(full.error_lines().size() == 1);
  CHECK(full.out.empty());
  CHECK_FALSE(fs::exists(out));

  for (const char* where : {"closed", "broken", "/dev/full"}) {
    CAPTURE(where);
    const ProcessResult result =
        run_program(eval({"--out", (temporary_folder() / "o").string()}), {.out = where});
    CHECK(result.code == 1);
    CHECK(result.error_lines().size() == 1);
  }
  const ProcessResult stopped = run_program(eval({"--all", "-v", "--out", out.string()}),
                                            {.signal_when = "branchsae: device", .signal = SIGTERM});
  CHECK(stopped.code == 128 + SIGTERM);
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("an unreadable image is skipped in both passes and counted once") {
  const fs::path folder = temporary_folder() / "pictures";
  fs::copy(scene().images, folder, fs::copy_options::recursive);
  std::ofstream(folder / "n01440764" / "broken.ppm") << "P6\n64 64\n255\nshort";
  const ProcessResult result =
      run_program(eval({folder.string(), "--json", "--out", (temporary_folder() / "out").string()}));
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const json document = json::parse(result.out);
  CHECK(document["images"] == Scene::kImages);
  CHECK(document["skipped"].size() == 1);
  CHECK(document["evaluations"][0]["splicing"]["images"] == Scene::kImages);
  CHECK(contains(run_refused(eval({folder.string(), "--strict"})), "broken.ppm"));
}
