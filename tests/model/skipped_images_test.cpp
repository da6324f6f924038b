#include "model/skipped_images.h"

#include <doctest/doctest.h>

#include <numeric>

#include "engine/error.h"
#include "engine/log.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
using model::SkippedImages;

namespace {

/// Collects warnings while it lives.
class Warnings {
 public:
  Warnings() {
    set_log_sink([this](LogLevel level, const std::string& line) {
      if (level == LogLevel::kWarning) lines.push_back(line);
    });
  }
  ~Warnings() { set_log_sink({}); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  std::vector<std::string> lines;
};

std::vector<int64_t> every_second(int64_t count) {
  std::vector<int64_t> images;
  for (int64_t i = 0; i < count; i += 2) images.push_back(i);
  return images;
}

}  // namespace

TEST_CASE("a lost shard is one line with the number of its images, whichever of them is met first") {
  FakeImages images(1000);
  images.shard_size = 400;
  images.lost_from = 450;  // the second shard, cut off
  images.lost_to = 800;
  const std::vector<int64_t> considered = every_second(1000);
  SkippedImages skipped(images, considered, false);
  const Warnings warnings;
  skipped.add(600, "gone");
  CHECK(skipped.list().size() == 175);
  CHECK(skipped.contains(450));
  CHECK_FALSE(skipped.contains(451));  // not one of the job's
  CHECK_FALSE(skipped.contains(448));
  for (int64_t i = 450; i < 800; i += 2) skipped.add(i, "gone");
  REQUIRE(warnings.lines.size() == 1);
  CHECK(warnings.lines[0] == "175 of 500 images cannot be read: gone (first met: 'image600.jpg')");
}

TEST_CASE("broken images are named, the first few of them, and more than half are too many") {
  FakeImages images(20);
  std::vector<int64_t> considered(20);
  std::iota(considered.begin(), considered.end(), 0);
  SkippedImages skipped(images, considered, false);
  const Warnings warnings;
  for (int64_t i = 0; i < 10; ++i) skipped.add(i, "broken");
  CHECK(warnings.lines.size() == 5);
  CHECK(warnings.lines[0] == "skipping image 'image0.jpg': broken");
  CHECK_THROWS_WITH_AS(skipped.add(10, "broken"),
                       "11 of 20 images cannot be read (last: 'image10.jpg': broken); check the images",
                       InputError);
  SkippedImages strict(images, considered, true);
  CHECK_THROWS_WITH_AS(strict.add(3, "broken"), "image 'image3.jpg' cannot be read: broken (--strict)",
                       InputError);
}

TEST_CASE("training goes on when a shard vanishes, and ends when most images are gone") {
  FakeImages images(40);
  images.shard_size = 10;
  TrainOptions options = small_options(temporary_folder() / "run");
  options.tokens = 36 * 16 * 2;
  TrainCallbacks callbacks;
  callbacks.progress = [&](const TrainProgress& now) {
    if (now.step == 3) images.lost_to = 10;
  };
  const Warnings warnings;
  const TrainResult result = run_job(options, images, callbacks);
  CHECK_FALSE(result.stopped);
  CHECK(result.step == result.total_steps);
  CHECK(result.skipped.size() == 10);  // nine that train, one held out
  CHECK(warnings.lines.size() == 2);

  FakeImages most(40);
  most.shard_size = 30;
  TrainOptions other = small_options(temporary_folder() / "most");
  other.tokens = options.tokens;
  callbacks.progress = [&](const TrainProgress& now) {
    if (now.step == 3) most.lost_to = 30;
  };
  CHECK_THROWS_AS(run_job(other, most, callbacks), InputError);
  CHECK(read_run(other.out).status == "failed");
}
