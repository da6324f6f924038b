#include "analysis/branches/contribution_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/plot/axis.h"
#include "model/plot/svg.h"

namespace branchsae {
namespace {

using model::Svg;

constexpr double kWidth = 790, kLeft = 150, kRight = 120, kTop = 62, kPlotHeight = 150, kTitle = 46,
                 kAxis = 40, kBottom = 14;
constexpr double kStrip = 20, kBarHeight = 14, kPlotWidth = kWidth - kLeft - kRight;
constexpr size_t kMostPoints = 500, kBins = 104, kMostConcepts = 8;

/// The concepts that are drawn, by their numbers.
std::vector<size_t> drawn_concepts(const BranchReport& report) {
  std::vector<size_t> drawn;
  for (size_t c = 0; c < report.concepts.size() && drawn.size() < kMostConcepts; ++c) {
    if (report.concepts[c].positives > 0) drawn.push_back(c);
  }
  return drawn;
}

/// Live latents by ascending positive share of a branch; those without one (no positive entry) come first.
std::vector<size_t> sorted_latents(const BranchReport& report, size_t b) {
  std::vector<size_t> order;
  for (size_t i = 0; i < report.latents.size(); ++i) {
    if (report.live[i] != 0) order.push_back(i);
  }
  const auto share = [&](size_t i) {
    const double value = report.latents[i].branches[b].positive;
    return std::isnan(value) ? 0 : value;
  };
  std::ranges::stable_sort(order, [&](size_t x, size_t y) { return share(x) < share(y); });
  return order;
}

/// One branch's panel.
class Panel {
 public:
  Panel(const BranchReport& report, size_t branch, double top, Svg& svg)
      : report_(report), branch_(branch), top_(top), svg_(svg), order_(sorted_latents(report, branch)) {}

  void draw() {
    const TapBranch& branch = report_.branches[branch_];
    const BranchSummary& summary = report_.summary[branch_];
    const auto series = static_cast<int>(branch_);
    svg_.mark(kLeft + 4, top_ + 14, series, series);
    svg_.text(
        kLeft + 16, top_ + 18,
        fmt::format("{}: {} of {} channels; {} of {} latents lie there by half and more", branch.group.name,
                    branch.group.count, channels(), summary.localised, report_.live_latents),
        Svg::Anchor::kStart, "label");
    draw_axes();
    draw_null(report_.nulls[branch_].random_positive, "null", "random");
    draw_null(report_.nulls[branch_].random_positive_99, "limit", "random, 99 %");
    draw_curve();
    double y = bottom() + kAxis;
    for (const size_t c : drawn_concepts(report_)) {
      draw_strip(c, y);
      y += kStrip;
    }
  }

 private:
  double bottom() const { return top_ + kTitle + kPlotHeight - 16; }
  double y_of(double share) const { return bottom() - share * (kPlotHeight - 10); }
  double x_of(double rank) const {
    return kLeft + kPlotWidth * rank / static_cast<double>(std::max<size_t>(order_.size(), 1));
  }
  int64_t channels() const {
    const ChannelGroup& last = report_.branches.back().group;
    return last.begin + last.count;
  }

  void draw_axes() {
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      svg_.line(kLeft, y_of(share), kLeft + kPlotWidth, y_of(share), "grid");
      svg_.text(kLeft - 7, y_of(share) + 4, model::tick_label(share), Svg::Anchor::kEnd, "tick");
    }
    svg_.line(kLeft, bottom(), kLeft + kPlotWidth, bottom(), "axis");
    svg_.text_upwards(kLeft - 44, y_of(0.5), "share", "label");
    svg_.text(kLeft, bottom() + 15, "1", Svg::Anchor::kMiddle, "tick");
    svg_.text(kLeft + kPlotWidth, bottom() + 15, std::to_string(order_.size()), Svg::Anchor::kMiddle, "tick");
    svg_.text(kLeft + kPlotWidth / 2, bottom() + 15, "latents, sorted by this branch's share",
              Svg::Anchor::kMiddle, "tick");
  }

  void draw_null(double share, const char* style, const char* name) {
    svg_.line(kLeft, y_of(share), kLeft + kPlotWidth, y_of(share), style);
    svg_.text(kLeft + kPlotWidth + 5, y_of(share) + 4, fmt::format("{} {:.2f}", name, share),
              Svg::Anchor::kStart, "note");
  }

  void draw_curve() {
    Svg::Points points;
    const size_t step = std::max<size_t>(1, order_.size() / kMostPoints);
    for (size_t rank = 0; rank < order_.size();
         rank += rank + 1 == order_.size() ? 1 : std::min(step, order_.size() - 1 - rank)) {
      const double share = report_.latents[order_[rank]].branches[branch_].positive;
      points.emplace_back(x_of(static_cast<double>(rank) + 0.5), y_of(std::isnan(share) ? 0 : share));
    }
    if (!points.empty()) svg_.polyline(points, static_cast<int>(branch_));
  }

  /// Bars as high as the share of a bin's latents that are of the concept; the highest fills the strip.
  void draw_strip(size_t c, double y) {
    const UnitConcept& units = report_.concepts[c];
    const size_t bins = std::min(kBins, order_.size());
    std::vector<double> share(bins);
    for (size_t bin = 0; bin < bins; ++bin) {
      const size_t begin = bin * order_.size() / bins, end = (bin + 1) * order_.size() / bins;
      for (size_t rank = begin; rank < end; ++rank) share[bin] += units.positive[order_[rank]];
      share[bin] /= static_cast<double>(end - begin);
    }
    const double most = *std::ranges::max_element(share);
    svg_.mark(16, y + kBarHeight / 2, static_cast<int>(c), static_cast<int>(c));
    svg_.text(26, y + kBarHeight - 3, fmt::format("{}, {}", units.name, units.positives), Svg::Anchor::kStart,
              "note");
    svg_.line(kLeft, y + kBarHeight, kLeft + kPlotWidth, y + kBarHeight, "grid");
    for (size_t bin = 0; most > 0 && bin < bins; ++bin) {
      const double height = kBarHeight * share[bin] / most;
      const double x = kLeft + kPlotWidth * static_cast<double>(bin) / static_cast<double>(bins);
      if (height > 0)
        svg_.bar(x, y + kBarHeight - height, kPlotWidth / static_cast<double>(bins) - 0.5, height,
                 static_cast<int>(c));
    }
    svg_.text(kLeft + kPlotWidth + 5, y + kBarHeight - 3, fmt::format("top {:.0f} %", 100 * most),
              Svg::Anchor::kStart, "note");
  }

  const BranchReport& report_;
  size_t branch_;
  double top_;
  Svg& svg_;
  std::vector<size_t> order_;
};

}  // namespace

std::string contribution_plot(const std::string& tap, const BranchReport& report) {
  const double panel =
      kTitle + kPlotHeight + kAxis + kStrip * static_cast<double>(drawn_concepts(report).size());
  Svg svg(kWidth, kTop + panel * static_cast<double>(report.branches.size()) + kBottom);
  const std::string title = fmt::format("{}: how much of each latent's decoder lies in each branch", tap);
  svg.text(16, 24, title, Svg::Anchor::kStart, "title");
  svg.text(
      16, 42,
      "Share |max(d_b, 0)| / |max(d, 0)|. Strips: share of the latents there that are of a concept; top: the "
      "highest.",
      Svg::Anchor::kStart, "note");
  for (size_t b = 0; b < report.branches.size(); ++b)
    Panel(report, b, kTop + panel * static_cast<double>(b), svg).draw();
  return svg.document(title);
}

}  // namespace branchsae
