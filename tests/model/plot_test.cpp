// Charts: what is in them, and that any text and any number gives a document that an XML parser takes.
#include "model/plot/chart.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/files.h"
#include "model/plot/svg.h"
#include "model/plot/training_plots.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::model;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Tags that open and close in order, attributes in quotes, no bare & or < in text: as much of
/// well-formedness as these documents can break.
bool well_formed(const std::string& document) {
  std::vector<std::string> open;
  for (size_t at = 0; at < document.size();) {
    if (document[at] == '&') {
      const std::string entity = document.substr(at, document.find(';', at) - at);
      if (entity != "&amp" && entity != "&lt" && entity != "&gt" && entity != "&quot") return false;
    }
    if (static_cast<unsigned char>(document[at]) < 0x20 && document[at] != '\n') return false;
    if (document[at] != '<') {
      ++at;
      continue;
    }
    const size_t end = document.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = document.substr(at + 1, end - at - 1);
    at = end + 1;
    if (count(tag, "\"") % 2 != 0 || contains(tag, "<")) return false;
    const std::string name = tag.substr(0, tag.find(' '));
    if (tag.front() == '?') continue;
    if (tag.front() == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
  }
  return open.empty();
}

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> texts;
  for (const Tick& tick : axis.ticks) texts.push_back(tick.label);
  return texts;
}

using Labels = std::vector<std::string>;

SaeMetrics metrics_of(std::vector<double> density) {
  SaeMetrics metrics;
  metrics.tokens = 1000;
  for (const double value : density) metrics.dead_latents += value == 0;
  metrics.dead = static_cast<double>(metrics.dead_latents) / static_cast<double>(density.size());
  metrics.density = std::move(density);
  return metrics;
}

}  // namespace

TEST_CASE("ticks are round, and enclose what is shown") {
  CHECK(labels(round_axis("", false, 0, 2.9e6)) == Labels{"0", "1M", "2M", "3M"});
  CHECK(labels(round_axis("", false, 0, 0.273)) == Labels{"0", "0.1", "0.2", "0.3"});
  CHECK(labels(round_axis("", true, 3e-4, 0.8)) == Labels{"0.0001", "0.001", "0.01", "0.1", "1"});
  CHECK(labels(round_axis("", true, 0.02, 0.3)) == Labels{"0.02", "0.05", "0.1", "0.2", "0.5"});
  CHECK(labels(exact_axis("", false, 0, 200704)) == Labels{"0", "50k", "100k", "150k", "200k"});
  CHECK(exact_axis("", false, 0, 200704).high == 200704);
  for (const auto& [low, high] : {std::pair{1e-9, 1.0}, {3.0, 3.0}, {0.0, 0.0}, {5.0, 1.0}, {1e-3, 1e15}}) {
    for (const bool log : {false, true}) {
      if (log && low <= 0) continue;
      const Axis axis = round_axis("", log, low, high);
      CHECK(axis.ticks.size() >= 2);
      CHECK(axis.ticks.size() <= 12);
      CHECK(axis.place(low) >= -1e-9);
      CHECK(axis.place(std::max(low, high)) <= 1 + 1e-9);
      CHECK(axis.low < axis.high);
    }
  }
  const Axis at = axis_at("k", true, {{32, "32"}, {4, "4"}});
  CHECK(at.place(4) > 0);
  CHECK(at.place(32) < 1);
  CHECK(at.place(std::sqrt(4.0 * 32)) == doctest::Approx(0.5));
  CHECK(tick_label(3e-5) == "3e-5");
  CHECK(tick_label(1.5e6) == "1.5M");
  CHECK(tick_label(0.1 + 0.2) == "0.3");
}

TEST_CASE("any text can stand in a chart") {
  CHECK(xml_escaped("a<b>&\"c\"") == "a&lt;b&gt;&amp;&quot;c&quot;");
  CHECK(xml_escaped("\x1b[0m\n\xff\xc3") == "?[0m???");
  CHECK(xml_escaped("µ²") == "µ²");
  Panel panel;
  panel.title = "</text><script>";
  panel.x = round_axis("x & y", false, 0, 1);
  panel.y = round_axis("\"", false, 0, 1);
  panel.note = "\x01 <";
  panel.curves = {{"<k=4>", {{0, 0}, {1, 1}}, true}};
  const std::string document = draw("a < b", {panel});
  CHECK(well_formed(document));
  CHECK_FALSE(contains(document, "<script>"));
  CHECK_FALSE(well_formed(document + "<"));  // the check itself
}

TEST_CASE("values that an axis cannot show make a gap") {
  Panel panel;
  panel.x = round_axis("", false, 0, 5);
  panel.y = round_axis("", true, 0.1, 1);
  panel.curves = {{"", {{0, 0.5}, {1, 0.4}, {2, std::nan("")}, {3, 0.3}, {4, 0}, {5, 0.2}}, false}};
  const std::string document = draw("", {panel});
  CHECK(count(document, "<polyline") == 1);
  CHECK(count(document, "<circle") == 2);  // what stands alone between gaps
  CHECK_FALSE(contains(document, "nan"));
  CHECK_FALSE(contains(document, "inf"));
}

TEST_CASE("the loss plot has both curves, over a span of decades on a log axis") {
  std::string lines;
  for (int i = 1; i <= 10; ++i) {
    lines += "{\"tokens\":" + std::to_string(1000 * i) + ",\"loss\":" + std::to_string(100.0 / i / i) +
             ",\"fvu\":0.5}\n";
  }
  const std::string document = loss_plot("mixed4c.5x5", lines);
  CHECK(well_formed(document));
  CHECK(count(document, "<polyline") == 2);
  CHECK(contains(document, "mixed4c.5x5: training"));
  for (const char* label : {">1<", ">10<", ">100<", ">tokens<", ">FVU<"}) CHECK(contains(document, label));
  CHECK(loss_plot("a", "").empty());
  CHECK(well_formed(loss_plot("a", "{\"tokens\":5,\"loss\":null,\"fvu\":null}\nnot json\n")));
}

TEST_CASE("the density plot counts every latent once, and names the dead") {
  const std::string document = density_plot("mixed4d", metrics_of({0, 0, 0.001, 0.0011, 0.1, 1}));
  CHECK(well_formed(document));
  CHECK(contains(document, "2 of 6 latents (33.33 %) were never active on the 1000 tokens"));
  CHECK(count(document, "<rect") == 1 + 3);  // the paper; 0.001 and 0.0011 share a bar
  CHECK(well_formed(density_plot("a", metrics_of({0, 0}))));
}

TEST_CASE("a job draws what it was asked for, a sweep its outcome too") {
  const FakeImages images(40);
  TrainOptions options = small_options(temporary_folder() / "run");
  options.plot = true;
  options.sweep = {{"k=2,lr=1e-3", R"({"k":2,"lr":0.001})"},
                   {"k=2,lr=auto", R"({"k":2,"lr":0})"},
                   {"k=8,lr=1e-3", R"({"k":8,"lr":0.001})"},
                   {"k=8,lr=auto", R"({"k":8,"lr":0})"}};
  run_job(options, images);
  for (const SweepMember& member : options.sweep) {
    for (const char* tap : {"a", "b"}) {
      for (const char* name : {"loss.svg", "density.svg"})
        CHECK(well_formed(read_file(options.out / "sweep" / member.name / tap / name)));
    }
  }
  const std::string sweep = read_file(options.out / "sweep.svg");
  CHECK(well_formed(sweep));
  CHECK(contains(sweep, "sweep over k: held-out FVU"));
  CHECK(count(sweep, "<circle") == 2 * 4);
  CHECK(count(sweep, ">lr=auto<") == 2);
  TrainOptions words = options;
  words.out = temporary_folder() / "run";
  words.sweep = {{"centre=mean", R"({"centre":"mean"})"},
                 {"centre=geometric-median", R"({"centre":"geometric-median"})"}};
  run_job(words, images);
  CHECK(contains(read_file(words.out / "sweep.svg"), ">geometric-median<"));

  TrainOptions plain = small_options(temporary_folder() / "run");
  run_job(plain, images);
  CHECK_FALSE(fs::exists(plain.out / "a" / "loss.svg"));
  plain.resume = plain.plot = true;  // a finished run is drawn without a step
  plain.holdout = 0.1;
  run_job(plain, images);
  CHECK(fs::exists(plain.out / "a" / "density.svg"));
}
