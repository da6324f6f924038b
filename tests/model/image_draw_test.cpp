/// Augmentation: what is drawn, and that a run with it is as repeatable as one without.
#include "model/image_draw.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "engine/error.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::model;
using namespace branchsae::test;

namespace {

constexpr Augment kBoth{.flip = true, .crop = true};

/// Three epochs, of images in shards: rounds end inside epochs.
TrainOptions augmented(const std::filesystem::path& out) {
  TrainOptions options = small_options(out);
  options.tokens = 36 * 16 * 3;
  options.augment = kBoth;
  options.shuffle_buffer = 8;
  return options;
}

struct Sharded : FakeImages {
  Sharded() : FakeImages(40) { shard_size = 10; }
};

}  // namespace

TEST_CASE("names of augmentations") {
  for (const char* name : {"none", "flip", "crop", "flip,crop"})
    CHECK(to_string(parse_augment(name)) == name);
  CHECK(parse_augment("crop,flip") == kBoth);
  for (const char* wrong : {"", "flip,", ",", "flip crop", "rotate", "none,flip", "FLIP"}) {
    CHECK_THROWS_AS(parse_augment(wrong), InputError);
  }
}

TEST_CASE("draws are uniform, differ by seed, epoch and image, and flips do not depend on crops") {
  int flips = 0, left = 0, top = 0, both = 0;
  std::set<double> values;
  for (int64_t image = 0; image < 4000; ++image) {
    const CropDraw draw = draw_crop(kBoth, 5, 2, image);
    flips += draw.flip;
    left += draw.x < 0.5;
    top += draw.y < 0.5;
    both += draw.x < 0.5 && draw.y < 0.5;
    values.insert(draw.x);
    CHECK(draw_crop({.flip = true}, 5, 2, image).flip == draw.flip);
    CHECK(draw_crop({.flip = true}, 5, 2, image).x == 0.5);
    CHECK_FALSE(draw_crop({.crop = true}, 5, 2, image).flip);
  }
  // Five standard deviations of 4,000 even draws are 158; of the quarter 137.
  CHECK(std::abs(flips - 2000) < 158);
  CHECK(std::abs(left - 2000) < 158);
  CHECK(std::abs(top - 2000) < 158);
  CHECK(std::abs(both - 1000) < 137);
  CHECK(values.size() == 4000);
  const CropDraw here = draw_crop(kBoth, 5, 2, 9);
  CHECK(draw_crop(kBoth, 5, 2, 9).x == here.x);
  CHECK(draw_crop(kBoth, 5, 3, 9).x != here.x);
  CHECK(draw_crop(kBoth, 6, 2, 9).x != here.x);
}

TEST_CASE("a run that draws crops and goes by shards resumes exactly, with any number of decode threads") {
  const Sharded images;
  const TrainOptions whole = augmented(temporary_folder() / "whole");
  const TrainResult result = run_job(whole, images);
  CHECK(read_run(whole.out).options.order == ImageOrder::kShards);
  const auto expected = result_files(whole.out);
  for (const int64_t threads : {1, 5}) {
    TrainOptions options = augmented(temporary_folder() / "threads");
    options.decode_threads = threads;
    run_job(options, images);
    CHECK(result_files(options.out) == expected);
  }
  for (const int64_t step : {1, 8, 25, 40}) {
    CAPTURE(step);
    TrainOptions options = augmented(temporary_folder() / "stopped");
    REQUIRE(run_job(options, images, stop_after(step)).stopped);
    options.resume = true;
    options.decode_threads = step % 3;
    CHECK_FALSE(run_job(options, images).stopped);
    CHECK(result_files(options.out) == expected);
  }
  // Devices that decode ahead of the next round get the draws of its epoch.
  TrainOptions remote = augmented(temporary_folder() / "remote");
  run_job(remote, images, {}, {.host = false, .deferred = true});
  CHECK(result_files(remote.out) == expected);
}

TEST_CASE("what is drawn reaches training, not the evaluation, and nothing drawn is kept") {
  const Sharded images;
  const auto run = [&](const Augment& augment) {
    TrainOptions options = augmented(temporary_folder() / "run");
    options.augment = augment;
    options.tokens *= 2;
    const TrainResult result = run_job(options, images);
    auto files = result_files(options.out);
    files["images"] = std::to_string(result.forward_images);
    return files;
  };
  const auto none = run({}), flip = run({.flip = true}), crop = run({.crop = true});
  CHECK(none.at("a/sae.safetensors") != flip.at("a/sae.safetensors"));
  CHECK(none.at("a/sae.safetensors") != crop.at("a/sae.safetensors"));
  // Every epoch's 36 images and the four held out; without draws an image is run once.
  CHECK(none.at("images") == "40");
  CHECK(std::stoi(flip.at("images")) > 5 * 36);

  // Held-out images are cut in the centre.
  TrainOptions options = augmented(temporary_folder() / "centre");
  const Sharded counted;
  run_job(options, counted);
  for (int64_t held_out = 9; held_out < 40; held_out += 10) CHECK_FALSE(counted.drawn(held_out));
  CHECK(counted.drawn(0));
}

TEST_CASE("what does not fit together is refused") {
  Sharded images;
  TrainOptions options = augmented(temporary_folder() / "run");
  images.room = false;
  CHECK_THROWS_AS(run_job(options, images), InputError);
  options.augment = {.flip = true};
  run_job(options, images);
  options.resume = true;
  options.augment = {};
  CHECK_THROWS_WITH_AS(run_job(options, images), doctest::Contains("--augment is \"none\", but"), InputError);
  options.augment = {.flip = true};
  options.order = ImageOrder::kRandom;
  CHECK_THROWS_WITH_AS(run_job(options, images), doctest::Contains("--order is \"random\", but"), InputError);
  TrainOptions cached = augmented(temporary_folder() / "cached");
  cached.cache = temporary_folder() / "cache";
  CHECK_THROWS_WITH_AS(run_job(cached, images), doctest::Contains("leave out --cache"), InputError);
}
