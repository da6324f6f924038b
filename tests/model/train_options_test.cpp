#include "model/train_options.h"

#include <doctest/doctest.h>

#include <functional>

#include "engine/error.h"

using namespace branchsae;

TEST_CASE("options go through JSON unchanged") {
  TrainOptions options;
  options.taps = {"mixed4c.5x5", "inception_4c/5x5"};
  options.k = 7;
  options.tied = false;
  options.unit_norm = true;
  options.start_norm = 0.1;
  options.centre = CentreStart::kGeometricMedian;
  options.learning_rate = 0.1 + 0.2;
  options.schedule = LrSchedule::kCosine;
  options.seed = ~uint64_t{0};
  options.checkpoint_every = {0, 90};
  options.strict = true;
  options.order = ImageOrder::kShards;
  options.shuffle_buffer = 77;
  options.augment = {.flip = true, .crop = true};
  options.decode_threads = 3;
  options.precision = SaePrecision::kBf16;
  options.conv = ConvAlgorithm::kDirect;
  const std::string json = to_json(options);
  const TrainOptions back = train_options_from_json(json, "run.json");
  CHECK(to_json(back) == json);
  CHECK(back.learning_rate == options.learning_rate);
  CHECK(back.seed == options.seed);
  CHECK(back.taps == options.taps);
  CHECK(back.centre == CentreStart::kGeometricMedian);
  CHECK(back.precision == SaePrecision::kBf16);
  CHECK(back.conv == ConvAlgorithm::kDirect);
  options.precision.reset();
  CHECK_FALSE(train_options_from_json(to_json(options), "run.json").precision);
  // A run of an earlier version.
  std::string old = to_json(options);
  old.erase(old.find("\"precision\":\"auto\","), std::string("\"precision\":\"auto\",").size());
  const std::string conv = "\"conv\":\"direct\",";
  REQUIRE(old.find(conv) != std::string::npos);
  old.erase(old.find(conv), conv.size());
  CHECK(train_options_from_json(old, "run.json").precision == SaePrecision::kF32);
  CHECK(train_options_from_json(old, "run.json").conv == ConvAlgorithm::kAuto);
  CHECK_THROWS_AS(train_options_from_json("{}", "run.json"), InputError);
  CHECK_THROWS_AS(train_options_from_json("[1", "run.json"), InputError);
}

TEST_CASE("checkpoint intervals") {
  CHECK(parse_checkpoint_every("100").steps == 100);
  CHECK(parse_checkpoint_every("30s").seconds == 30);
  CHECK(parse_checkpoint_every("5min").seconds == 300);
  CHECK(parse_checkpoint_every("1.5h").seconds == 5400);
  for (const char* text : {"100", "30s", "5min", "0.1h"}) {
    const CheckpointEvery every = parse_checkpoint_every(text);
    const CheckpointEvery again = parse_checkpoint_every(to_string(every));
    CHECK(again.steps == every.steps);
    CHECK(again.seconds == every.seconds);
  }
  for (const char* wrong : {"", "min", "-5", "0", "2.5", "5 min", "5m", "nan", "inf", "1e99h"}) {
    CHECK_THROWS_AS(parse_checkpoint_every(wrong), InputError);
  }
}

TEST_CASE("values that cannot work are refused") {
  TrainOptions good;
  good.taps = {"mixed4c.5x5"};
  CHECK_NOTHROW(check_options(good));
  const auto refuse = [&](const std::function<void(TrainOptions&)>& spoil, const char* named) {
    TrainOptions options = good;
    spoil(options);
    try {
      check_options(options);
      FAIL("accepted: ", named);
    } catch (const InputError& error) {
      CHECK_MESSAGE(std::string(error.what()).find(named) != std::string::npos, error.what());
    }
  };
  refuse([](TrainOptions& o) { o.taps.clear(); }, "--tap");
  refuse([](TrainOptions& o) { o.k = 0; }, "--k");
  refuse([](TrainOptions& o) { o.batch = 0; }, "--batch");
  refuse([](TrainOptions& o) { o.tokens = 0; }, "--tokens");
  refuse([](TrainOptions& o) { o.expansion = 0; }, "--expansion");
  refuse([](TrainOptions& o) { o.learning_rate = -1; }, "--lr");
  refuse([](TrainOptions& o) { o.learning_rate = std::stod("nan"); }, "--lr");
  refuse([](TrainOptions& o) { o.holdout = -0.1; }, "--holdout");
  refuse([](TrainOptions& o) { o.buffer_tokens = 0; }, "--buffer-tokens");
  refuse([](TrainOptions& o) { o.positions_per_image = -1; }, "--positions-per-image");
  refuse([](TrainOptions& o) { o.cache_size = 1 << 20; }, "name its folder with --cache");
  refuse([](TrainOptions& o) { o.epochs = 1e300; }, "--epochs");
  refuse([](TrainOptions& o) { o.dead_after = 0; }, "--dead-after");
  refuse([](TrainOptions& o) { o.log_every = 0; }, "--log-every");
  refuse([](TrainOptions& o) { o.forward_batch = -1; }, "--forward-batch");
}
