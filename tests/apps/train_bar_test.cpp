#include "apps/train_bar.h"

#include <doctest/doctest.h>

#include "apps/text_width.h"

using namespace branchsae;
using namespace branchsae::apps;

namespace {

/// In the middle of a job of several taps, every figure as long as it gets.
TrainProgress busy() {
  TrainProgress now;
  now.step = 330;
  now.total_steps = 733;
  now.tokens = 1'351'680;
  now.total_tokens = 3'002'368;
  now.images = 1'234;
  now.total_images = 12'345;
  now.images_per_second = 234.4;
  now.tokens_per_second = 152'340;
  now.seconds_left = 125;
  now.taps = {{"a", 3.2148, 0.0123, 31.9, 0.0125, 1e-3}, {"b", 1.5, 0.5, 30, 0.001, 1e-3}};
  return now;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("at 80 columns the line has every figure, and fits") {
  for (const auto phase : {TrainProgress::Phase::kReading, TrainProgress::Phase::kTraining}) {
    TrainProgress now = busy();
    now.phase = phase;
    const std::string line = train_line(now, 80);
    CAPTURE(line);
    CHECK(display_width(line) < 80);
    CHECK(line.front() == '[');
    for (const char* part :
         {"45%", "152k tok/s", "234 img/s", "loss<=3.21", "fvu<=0.50", "dead<=1.2%", "2m05s left"})
      CHECK(contains(line, part));
  }
}

TEST_CASE("a narrow terminal loses the least important figures first, a wide one gets all") {
  for (int columns = 21; columns < 200; ++columns) {
    const std::string line = train_line(busy(), columns);
    CAPTURE(columns);
    CHECK(display_width(line) < columns);
    CHECK(contains(line, "45%"));
  }
  CHECK(contains(train_line(busy(), 40), "fvu<=0.50"));
  CHECK_FALSE(contains(train_line(busy(), 40), "img/s"));
  CHECK(contains(train_line(busy(), 140), "1.35M/3.00M tokens"));
}

TEST_CASE("what is not known yet is not shown") {
  TrainProgress now;
  now.phase = TrainProgress::Phase::kReading;
  now.total_tokens = 1000;
  now.images = 3;
  now.total_images = 10;
  CHECK(train_line(now, 0) == "train 0%  0/1.00k tokens  read 3/10");
  CHECK(train_line(busy(), 0).find('[') == std::string::npos);
  TrainProgress one = busy();
  one.taps.resize(1);
  CHECK(contains(train_line(one, 0), "fvu 0.012"));
}

TEST_CASE("the evaluation counts images, and a sweep its failures") {
  TrainProgress now = busy();
  now.phase = TrainProgress::Phase::kEvaluating;
  CHECK(contains(train_line(now, 80), "9%"));
  CHECK(contains(train_line(now, 80), "1,234/12,345 images"));
  CHECK_FALSE(contains(train_line(now, 80), "tok/s"));
  now = busy();
  now.members = 8;
  now.failed_members = 2;
  CHECK(contains(train_line(now, 0), "2 of 8 failed"));
}
