#include "model/train.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"
#include "model/checkpoint.h"
#include "model/evaluate.h"
#include "model/run_lock.h"
#include "model/sae_file.h"
#include "model/train_setup.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

fs::path fresh() {
  return temporary_folder() / "run";
}

TrainOptions resumed(TrainOptions options) {
  options.resume = true;
  return options;
}

/// The message of the InputError that a job ends with.
std::string refusal(const TrainOptions& options, const FakeImages& images,
                    const Graph& graph = fake_graph()) {
  try {
    run_job(options, images, {}, {}, graph);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool mentions(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a run leaves the files it promises") {
  const FakeImages images(40);
  const TrainOptions options = small_options(fresh());
  const TrainResult result = run_job(options, images);
  CHECK_FALSE(result.stopped);
  CHECK(result.step == 14);
  CHECK(result.tokens == 14 * 24);
  CHECK(result.train_images == 36);
  CHECK(result.held_out_images == 4);

  const RunInfo info = read_run(options.out);
  CHECK(info.status == "finished");
  CHECK(info.step == 14);
  CHECK(info.model_sha256 == "0123456789abcdef");
  CHECK(info.images_fingerprint == images.fingerprint());
  CHECK(info.origin.model_path == "/models/fake.onnx");
  CHECK_FALSE(fs::exists(options.out / "lock"));

  for (const RunTap& tap : info.taps) {
    const SaeFile sae = load_sae(sae_path(options.out, tap));
    CHECK(sae.spec.n == 2 * sae.spec.d);
    CHECK(sae.spec.k == 3);
    CHECK(sae.tap == tap.name);
    const auto config = nlohmann::json::parse(read_file(options.out / tap.folder / "config.json"));
    CHECK(config.at("start_norm") > 0);
    CHECK(config.at("learning_rate") > 0);
    CHECK(config.at("scale").get<float>() == sae.parameters.scale);
    const auto eval = nlohmann::json::parse(read_file(options.out / tap.folder / "eval.json"));
    CHECK(eval.at("tokens") == 4 * 16);
    CHECK(eval.at("fvu").get<double>() > 0);
    CHECK(eval.at("sae_sha256") == sha256_of_file(sae_path(options.out, tap)));
    std::ifstream metrics(options.out / tap.folder / "metrics.jsonl");
    std::vector<int64_t> steps;
    for (std::string line; std::getline(metrics, line);) {
      const auto json = nlohmann::json::parse(line);
      steps.push_back(json.at("step"));
      for (const char* field : {"tokens", "loss", "fvu", "l0", "dead", "lr", "tokens_per_s"}) {
        CHECK(json.at(field).is_number());
      }
    }
    CHECK(steps == std::vector<int64_t>{4, 8, 12, 14});
  }
}

TEST_CASE("held-out figures are those of the saved autoencoder on every tenth image") {
  const FakeImages images(40);
  const TrainOptions options = small_options(fresh());
  const TrainResult result = run_job(options, images);
  std::vector<SaeFile> saes;
  for (const TapResult& tap : result.taps) saes.push_back(load_sae(sae_path(options.out, tap.tap)));
  FakeControl control;
  const EvaluateResult again = evaluate(fake_device(control), fake_graph(), images, saes,
                                        {.images = {9, 19, 29, 39}, .forward_batch = 4});
  for (size_t i = 0; i < 2; ++i) {
    REQUIRE(result.taps[i].held_out);
    CHECK(result.taps[i].held_out->fvu == doctest::Approx(again.evaluations[i].metrics.fvu).epsilon(1e-12));
    CHECK(result.taps[i].held_out->dead_latents == again.evaluations[i].metrics.dead_latents);
  }
}

TEST_CASE("an interrupted run ends with the same bytes as one never stopped") {
  FakeImages images(40);
  images.unreadable = {{5, "broken"}, {19, "held out and broken"}, {30, "broken"}};
  for (const std::vector<std::string>& taps : {std::vector<std::string>{"a"}, {"a", "b"}, {"c", "b"}}) {
    TrainOptions options = small_options(fresh());
    options.taps = taps;
    if (taps[0] == "c") options.tied = false;
    run_job(options, images);
    const auto expected = result_files(options.out);
    CHECK(expected.size() == 4 * taps.size());
    for (int64_t stop : {0, 1, 3, 6, 7, 8, 13, 14}) {
      TrainOptions again = options;
      again.out = fresh();
      const TrainResult stopped = run_job(again, images, stop_after(stop));
      CHECK(stopped.stopped);
      CHECK(stopped.step == stop);
      CHECK(read_run(again.out).status == "stopped");
      again.resume = true;
      again.max_memory = 1 << 22;  // enough for the buffers; whether activations are kept changes nothing
      const TrainResult finished = run_job(again, images);
      CHECK_FALSE(finished.stopped);
      CHECK(finished.step == 14);
      CHECK(result_files(again.out) == expected);
      const RunInfo info = read_run(again.out);
      REQUIRE(info.skipped.size() == 3);
      for (const SkippedImage& image : info.skipped) CHECK(mentions(image.reason, "broken"));
    }
  }
}

TEST_CASE("many interruptions, one after the other") {
  const FakeImages images(40);
  TrainOptions options = small_options(fresh());
  run_job(options, images);
  TrainOptions again = options;
  again.out = fresh();
  for (int64_t step = 1; step <= 14; ++step) {
    again.resume = step > 1;
    run_job(again, images, stop_after(step));
  }
  again.resume = true;
  run_job(again, images);
  CHECK(result_files(again.out) == result_files(options.out));
  CHECK(std::distance(fs::directory_iterator(again.out / "checkpoints"), fs::directory_iterator()) == 2);
}

TEST_CASE(
    "periodic checkpoints, the clock, the kind of memory and the log interval do not change the bytes") {
  const FakeImages images(40);
  TrainOptions options = small_options(fresh());
  run_job(options, images);
  const auto expected = result_files(options.out);
  TrainOptions often = options;
  often.out = fresh();
  often.checkpoint_every = {3, 0};
  often.log_every = 1;
  run_job(often, images);
  CHECK(result_files(often.out) == expected);
  TrainOptions timed = options;
  timed.out = fresh();
  timed.checkpoint_every = {0, 1e-9};
  timed.log_every = 100;
  run_job(timed, images, {}, {.host = false});
  CHECK(result_files(timed.out) == expected);
}

TEST_CASE(
    "work that a device does as late as it may gives the same bytes, also on other grids and when stopped") {
  FakeImages images(40);
  images.unreadable = {{5, "broken"}, {30, "broken"}};
  for (const std::vector<std::string>& taps : {std::vector<std::string>{"a", "b"}, {"c", "b"}}) {
    TrainOptions options = small_options(fresh());
    options.taps = taps;
    options.tokens = 30 * 24;  // longer than an epoch for "c": activations are kept
    run_job(options, images);
    const auto expected = result_files(options.out);
    for (const int64_t memory : {int64_t{0}, int64_t{1} << 22, int64_t{1} << 30}) {
      CAPTURE(memory);
      const FakeControl late{.host = false, .deferred = true, .memory_bytes = memory};
      TrainOptions other = options;
      other.out = fresh();
      run_job(other, images, stop_after(9), late);
      run_job(resumed(other), images, {}, late);
      CHECK(result_files(other.out) == expected);
      // From one device to the other and back.
      other.out = fresh();
      run_job(other, images, stop_after(5), late);
      run_job(resumed(other), images, stop_after(17));
      run_job(resumed(other), images, {}, late);
      CHECK(result_files(other.out) == expected);
    }
  }
}

TEST_CASE("a device's NaN is named by the step that met it, although nobody looked until later") {
  FakeImages images(40);
  TrainOptions options = small_options(fresh());
  options.holdout = 0;
  options.checkpoint_every = {4, 0};
  options.log_every = 14;
  const FakeControl remote{.host = false, .deferred = true};
  run_job(options, images, stop_after(7), remote);
  for (int64_t i = 0; i < 40; ++i) images.poisoned[i] = std::nanf("");
  TrainOptions seldom = resumed(options);
  seldom.checkpoint_every = {13, 0};
  CHECK_THROWS_WITH_AS(run_job(seldom, images, {}, remote),
                       doctest::Contains("tap 'a' met NaN at step 8 (learning rate"), NumericError);
  CHECK(read_run(options.out).status == "failed");
  CHECK(model::CheckpointStore(options.out).choose_verified()->step == 7);
  images.poisoned.clear();
  CHECK(run_job(resumed(options), images, {}, remote).step == 14);
}

TEST_CASE("the precision is the device's usual one, is recorded, and follows the run to another device") {
  const FakeImages images(40);
  const FakeControl bf16{.host = false, .bf16 = true};
  const auto recorded = [](const fs::path& run) {
    return nlohmann::json::parse(read_file(run / "a" / "config.json")).at("precision").get<std::string>();
  };
  TrainOptions options = small_options(fresh());
  run_job(options, images, stop_after(3));
  CHECK(recorded(options.out) == "fp32");
  run_job(resumed(options), images, stop_after(5), bf16);
  CHECK(recorded(options.out) == "fp32");  // as it was started
  TrainOptions asked = resumed(options);
  asked.precision = SaePrecision::kBf16;
  run_job(asked, images, stop_after(7), bf16);
  CHECK(recorded(options.out) == "bf16");
  CHECK(read_run(options.out).options.precision == SaePrecision::kBf16);
  CHECK(mentions(refusal(asked, images), "--precision bf16 is not offered by fake"));
  run_job(resumed(options), images);  // this device has no bf16
  CHECK(recorded(options.out) == "fp32");

  TrainOptions other = small_options(fresh());
  run_job(other, images, {}, bf16);
  CHECK(recorded(other.out) == "bf16");
  TrainOptions refused = small_options(temporary_folder() / "run");
  refused.precision = SaePrecision::kTf32;
  CHECK(mentions(refusal(refused, images), "--precision tf32"));
  CHECK_FALSE(fs::exists(refused.out));
}

TEST_CASE("the automatic forward batch is the device's, and stays what it was when a run moves") {
  const FakeImages images(40);
  TrainOptions options = small_options(fresh());
  options.forward_batch = 0;
  run_job(options, images, stop_after(3));
  CHECK(read_run(options.out).options.forward_batch == kHostForwardBatch);
  run_job(resumed(options), images, {}, {.host = false});
  CHECK(read_run(options.out).options.forward_batch == kHostForwardBatch);
  options.out = fresh();
  run_job(options, images, {}, {.host = false});
  CHECK(read_run(options.out).options.forward_batch == kDeviceForwardBatch);
}

TEST_CASE("a device without enough memory says what would make the job fit, and works afterwards") {
  const FakeImages images(40);
  const TrainOptions options = small_options(fresh());
  FakeControl control{.host = false, .memory_bytes = 1 << 30};
  const Device device = fake_device(control);
  const auto attempt = [&] { return train(device, fake_graph(), images, options, {}, {}); };
  // What a job allocates is found one limit at a time: each one says so until it is enough.
  std::map<std::string, int> advice;
  int64_t limit = 1;
  for (int tries = 0; tries < 100; ++tries) {
    control.memory_bytes = limit;
    try {
      attempt();
      break;
    } catch (const MemoryError& error) {
      const std::string message = error.what();
      CHECK(mentions(message, "free; "));
      CHECK(control.memory_used == 0);
      CHECK_FALSE(fs::exists(options.out));
      for (const char* option : {"--forward-batch", "--buffer-tokens", "--tap"})
        advice[option] += mentions(message, option);
    }
    limit += 1 + limit / 8;
  }
  CHECK(read_run(options.out).status == "finished");
  CHECK(advice["--forward-batch"] > 0);
  CHECK(advice["--buffer-tokens"] > 0);
}

TEST_CASE("a tap trains alone as it does among others, and another seed trains another way") {
  const FakeImages images(40);
  const TrainOptions both = small_options(fresh());
  run_job(both, images);
  TrainOptions alone = both;
  alone.out = fresh();
  alone.taps = {"b"};
  run_job(alone, images);
  CHECK(read_file(alone.out / "b" / "sae.safetensors") == read_file(both.out / "b" / "sae.safetensors"));
  alone.out = fresh();
  alone.seed = 1;
  run_job(alone, images);
  CHECK(read_file(alone.out / "b" / "sae.safetensors") != read_file(both.out / "b" / "sae.safetensors"));
}

TEST_CASE("tokens may be raised, not lowered below what is done") {
  const FakeImages images(40);
  const TrainOptions options = small_options(fresh());
  run_job(options, images);
  TrainOptions more = resumed(options);
  more.tokens = 20 * 24;
  CHECK(run_job(more, images).step == 20);
  CHECK(read_run(options.out).total_steps == 20);
  TrainOptions less = resumed(options);
  less.tokens = 15 * 24;
  CHECK(mentions(refusal(less, images), "at least 480"));
}

TEST_CASE("resuming with what does not fit names the difference") {
  const FakeImages images(40);
  const TrainOptions options = small_options(fresh());
  run_job(options, images, stop_after(5));
  const auto change = [&](auto&& spoil) {
    TrainOptions other = resumed(options);
    spoil(other);
    return refusal(other, images);
  };
  CHECK(mentions(change([](TrainOptions& o) { o.k = 4; }), "--k is 4"));
  CHECK(mentions(change([](TrainOptions& o) { o.seed = 4; }), "--seed"));
  CHECK(mentions(change([](TrainOptions& o) { o.batch = 12; }), "--batch"));
  CHECK(mentions(change([](TrainOptions& o) { o.taps = {"a"}; }), "--tap"));
  CHECK(mentions(change([](TrainOptions& o) { o.learning_rate = 1; }), "--lr"));
  CHECK(mentions(refusal(resumed(options), FakeImages(41)), "other images"));
  Graph other = fake_graph();
  other.sha256 = "fedcba";
  CHECK(mentions(refusal(resumed(options), images, other), "another model"));
  CHECK_FALSE(fs::exists(options.out / "lock"));
  CHECK(run_job(resumed(options), images).step == 14);  // none of it did any harm
}

TEST_CASE("folders that cannot take a run are refused, and nothing is written") {
  const FakeImages images(40);
  const fs::path folder = temporary_folder();
  TrainOptions options = small_options(folder / "run");
  run_job(options, images, stop_after(1));
  CHECK(mentions(refusal(options, images), "--resume"));
  options.out = folder / "file";
  std::ofstream(options.out) << "x";
  CHECK(mentions(refusal(options, images), "file where a folder"));
  options.out = folder / "file" / "run";
  CHECK(mentions(refusal(options, images), "file where a folder"));
  options.out = folder / "absent";
  CHECK(mentions(refusal(resumed(options), images), "no folder"));
  CHECK_FALSE(fs::exists(options.out));
  fs::create_directory(folder / "empty");
  options.out = folder / "empty";
  CHECK(mentions(refusal(resumed(options), images), "holds no run"));
  CHECK(fs::is_empty(options.out));
  options.out = folder / "run";
  const model::RunLock lock(options.out);
  CHECK(mentions(refusal(resumed(options), images), "in use"));
}

TEST_CASE("bad requests leave nothing behind") {
  const FakeImages images(40);
  const fs::path parent = temporary_folder();
  const TrainOptions good = small_options(parent / "deep" / "run");
  const auto change = [&](auto&& spoil) {
    TrainOptions other = good;
    spoil(other);
    const std::string message = refusal(other, images);
    CHECK(fs::is_empty(parent));
    return message;
  };
  CHECK(mentions(change([](TrainOptions& o) { o.taps = {"nothing"}; }), "nothing"));
  CHECK(mentions(change([](TrainOptions& o) { o.taps = {"a", "a"}; }), "share"));
  CHECK(mentions(change([](TrainOptions& o) { o.taps = {"lock"}; }), "uses itself"));
  CHECK(mentions(change([](TrainOptions& o) { o.k = 17; }), "1..n = 16"));
  CHECK(mentions(change([](TrainOptions& o) { o.batch = 0; }), "--batch"));
  CHECK(mentions(change([](TrainOptions& o) { o.holdout = 0.9; }), "holdout"));
  CHECK(mentions(change([](TrainOptions& o) { o.positions_per_image = 17; }), "16 positions"));
  CHECK(mentions(change([](TrainOptions& o) { o.max_memory = 1000; }), "the 1000 B of --max-memory"));
  CHECK(mentions(change([](TrainOptions& o) { o.expansion = 100'000'000; }), "GiB"));
  const auto large_batch = [](TrainOptions& o) {
    o.batch = o.tokens = int64_t{1} << 24;
    o.max_memory = int64_t{1} << 29;
  };
  CHECK(mentions(change(large_batch), "GiB"));
}

TEST_CASE("images that mostly cannot be read leave nothing behind") {
  FakeImages images(40);
  for (int64_t i = 0; i < 30; ++i) images.unreadable[i] = "broken";
  const fs::path parent = temporary_folder();
  CHECK(mentions(refusal(small_options(parent / "deep" / "run"), images), "cannot be read"));
  CHECK(fs::is_empty(parent));
  images.unreadable.clear();
  for (int64_t i = 0; i < 10; ++i) images.unreadable[i] = "broken";  // the first eleven read hold one of them
  TrainOptions strict = small_options(parent / "run");
  strict.strict = true;
  CHECK(mentions(refusal(strict, images), ".jpg' cannot be read: broken"));
  CHECK(fs::is_empty(parent));
  strict.out = parent;  // a folder that was there stays, and stays empty
  CHECK(mentions(refusal(strict, images), ".jpg' cannot be read: broken"));
  CHECK(fs::is_empty(parent));
}

TEST_CASE("NaN stops at its step, names the tap, and the last checkpoint stays") {
  FakeImages images(40);
  TrainOptions options = small_options(fresh());
  options.holdout = 0;
  options.checkpoint_every = {2, 0};
  run_job(options, images, stop_after(7));  // the first round is clean
  images.poisoned[0] = std::nanf("");
  for (int64_t i = 1; i < 40; ++i) images.poisoned[i] = std::nanf("");
  try {
    run_job(resumed(options), images);
    FAIL("no error");
  } catch (const NumericError& error) {
    CHECK(mentions(error.what(), "tap 'a'"));
    CHECK(mentions(error.what(), "step 8"));
    CHECK(mentions(error.what(), "NaN"));
  }
  CHECK(read_run(options.out).status == "failed");
  CHECK(model::CheckpointStore(options.out).choose_verified()->step == 7);
  images.poisoned.clear();
  CHECK(run_job(resumed(options), images).step == 14);
}

TEST_CASE("activations that are not finite from the start name the tap") {
  FakeImages images(40);
  for (int64_t i = 0; i < 40; ++i) images.poisoned[i] = INFINITY;
  CHECK_THROWS_AS(run_job(small_options(fresh()), images), NumericError);
}

TEST_CASE("a damaged newest checkpoint falls back, and the end is still the same") {
  const FakeImages images(40);
  TrainOptions options = small_options(fresh());
  run_job(options, images);
  const auto expected = result_files(options.out);
  TrainOptions again = options;
  again.out = fresh();
  again.checkpoint_every = {5, 0};
  run_job(again, images, stop_after(9));
  fs::resize_file(again.out / "checkpoints" / "9" / "b" / "state.safetensors", 100);
  const TrainResult result = run_job(resumed(again), images);
  CHECK(result.step == 14);
  CHECK(result_files(again.out) == expected);
  std::ifstream metrics(again.out / "a" / "metrics.jsonl");
  std::vector<int64_t> steps;
  for (std::string line; std::getline(metrics, line);)
    steps.push_back(nlohmann::json::parse(line).at("step"));
  CHECK(steps == std::vector<int64_t>{4, 8, 12, 14});
}

TEST_CASE("epochs count tokens, and a job shorter than its buffer reads no more than it needs") {
  const FakeImages images(40);
  TrainOptions options = small_options(fresh());
  options.epochs = 2;
  options.tokens = 1;
  CHECK(run_job(options, images).step == (2 * 36 * 16 + 23) / 24);
  CHECK(read_run(options.out).options.tokens == 2 * 36 * 16);
  TrainOptions brief = small_options(fresh());
  brief.tokens = 24;
  FakeControl control;
  FakeImages few(400);
  brief.holdout = 0;
  brief.buffer_tokens = 100'000;
  CHECK(run_job(brief, few).step == 1);
  CHECK(few.reads <= 2);
}

TEST_CASE("progress tells where the job is") {
  const FakeImages images(40);
  TrainCallbacks callbacks;
  std::vector<int64_t> steps;
  bool read = false, evaluated = false;
  callbacks.progress = [&](const TrainProgress& progress) {
    CHECK(progress.total_steps == 14);
    if (progress.phase == TrainProgress::Phase::kTraining) steps.push_back(progress.step);
    if (progress.phase == TrainProgress::Phase::kReading)
      read = read || progress.images == progress.total_images;
    if (progress.phase == TrainProgress::Phase::kEvaluating) evaluated = progress.images == 4;
    if (progress.step >= 5) CHECK(progress.taps.size() == 2);
  };
  run_job(small_options(fresh()), images, callbacks);
  CHECK(steps.size() == 14);
  CHECK(steps.back() == 14);
  CHECK(read);
  CHECK(evaluated);
}

TEST_CASE("train: activations are kept only where enough images come again") {
  FakeControl control;
  const Device device = fake_device(control);
  TrainOptions options;
  const model::RoundSizes sizes{.batch = 10, .positions = 10, .images = 10};  // ten steps a round
  const auto kept = [&](int64_t steps) {
    return model::plan_cache(device, options, sizes, {}, 100, steps).device_bytes > 0;
  };
  CHECK_FALSE(kept(100));  // every image once
  CHECK_FALSE(kept(110));  // a tenth of them twice
  CHECK(kept(120));
  CHECK(kept(1000));
  options.augment.flip = true;
  CHECK_FALSE(kept(1000));
}

TEST_CASE("train: a round holds the buffer, the job or an epoch, whichever is least, and a batch at least") {
  TrainOptions options;
  options.batch = 100;
  options.buffer_tokens = 20'000;
  const auto images = [&](int64_t train_images, int64_t steps, int64_t recorded = 0) {
    return model::plan_rounds(options, 10, train_images, steps, recorded).images;
  };
  CHECK(images(10'000, 1'000'000) == 2000);  // the buffer
  CHECK(images(10'000, 30) == 300);          // the job
  CHECK(images(900, 1'000'000) == 900);      // an epoch
  CHECK(images(100, 1'000'000) == 2000);     // an epoch of ten batches would drop too much
  CHECK(images(900, 1'000'000, 1337) == 1337);
}
