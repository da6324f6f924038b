#include "model/plot/chart.h"

#include <algorithm>
#include <cmath>

#include "model/plot/svg.h"

namespace branchsae::model {
namespace {

constexpr double kWidth = 720, kTitleHeight = 34, kPlotHeight = 210;
constexpr double kLeft = 76, kRight = 20, kAbove = 44, kBelow = 48, kLegendLine = 17;
constexpr double kLegendColumn = 200, kLegendMark = 18;
constexpr int kLegendColumns = 3;

/// Where a panel's plot lies.
struct Frame {
  double left, top, width, height;
  double x(const Axis& axis, double value) const { return left + axis.place(value) * width; }
  double y(const Axis& axis, double value) const { return top + height - axis.place(value) * height; }
};

std::vector<std::pair<std::string, int>> legend_of(const Panel& panel) {
  std::vector<std::pair<std::string, int>> entries;
  for (size_t i = 0; i < panel.curves.size(); ++i) {
    if (!panel.curves[i].name.empty()) entries.emplace_back(panel.curves[i].name, static_cast<int>(i));
  }
  return entries;
}

double legend_height(const Panel& panel) {
  const auto entries = static_cast<double>(legend_of(panel).size());
  return std::ceil(entries / kLegendColumns) * kLegendLine;
}

double panel_height(const Panel& panel) {
  return kAbove + kPlotHeight + kBelow + legend_height(panel);
}

/// A dozen characters shorter than what a column holds at this size of text.
std::string shortened(const std::string& text, size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

void draw_axes(const Panel& panel, const Frame& frame, Svg& svg) {
  const double bottom = frame.top + frame.height, right = frame.left + frame.width;
  for (const Tick& tick : panel.y.ticks) {
    const double y = frame.y(panel.y, tick.value);
    svg.line(frame.left, y, right, y, "grid");
    svg.text(frame.left - 7, y + 4, tick.label, Svg::Anchor::kEnd, "tick");
  }
  for (const Tick& tick : panel.x.ticks) {
    const double x = frame.x(panel.x, tick.value);
    svg.line(x, bottom, x, bottom + 4, "axis");
    svg.text(x, bottom + 17, tick.label, Svg::Anchor::kMiddle, "tick");
  }
  svg.line(frame.left, bottom, right, bottom, "axis");
  svg.line(frame.left, frame.top, frame.left, bottom, "axis");
  svg.text(frame.left + frame.width / 2, bottom + 36, panel.x.label, Svg::Anchor::kMiddle, "label");
  svg.text_upwards(18, frame.top + frame.height / 2, panel.y.label, "label");
}

bool can_show(const Axis& axis, double value) {
  return std::isfinite(value) && (!axis.log || value > 0);
}

void draw_curve(const Panel& panel, const Frame& frame, int number, Svg& svg) {
  const Curve& curve = panel.curves[static_cast<size_t>(number)];
  Svg::Points part;
  const auto finish_part = [&] {
    if (part.size() > 1) svg.polyline(part, number);
    if (part.size() == 1 && !curve.dots) svg.dot(part[0].first, part[0].second, number);
    part.clear();
  };
  for (const auto& [x, y] : curve.points) {
    if (!can_show(panel.x, x) || !can_show(panel.y, y)) {
      finish_part();
      continue;
    }
    part.emplace_back(frame.x(panel.x, x), frame.y(panel.y, y));
    if (curve.dots) svg.dot(part.back().first, part.back().second, number);
  }
  finish_part();
}

void draw_bars(const Panel& panel, const Frame& frame, Svg& svg) {
  const double bottom = frame.top + frame.height;
  for (const Bar& bar : panel.bars) {
    if (bar.height <= 0) continue;
    const double x1 = frame.x(panel.x, bar.x1), x2 = frame.x(panel.x, bar.x2);
    const double y = frame.y(panel.y, bar.height);
    svg.bar(x1, y, std::max(x2 - x1 - 1, 0.5), bottom - y, 0);
  }
}

void draw_legend(const Panel& panel, double left, double top, Svg& svg) {
  const auto entries = legend_of(panel);
  for (size_t i = 0; i < entries.size(); ++i) {
    const double x = left + static_cast<double>(i % kLegendColumns) * kLegendColumn;
    const double y = top + static_cast<double>(i / kLegendColumns) * kLegendLine;
    svg.polyline({{x, y - 4}, {x + kLegendMark, y - 4}}, entries[i].second);
    svg.text(x + kLegendMark + 6, y, shortened(entries[i].first, 28), Svg::Anchor::kStart, "tick");
  }
}

void draw_panel(const Panel& panel, double top, Svg& svg) {
  const Frame frame{kLeft, top + kAbove, kWidth - kLeft - kRight, kPlotHeight};
  svg.text(kLeft, top + 18, panel.title, Svg::Anchor::kStart, "label");
  if (!panel.note.empty()) svg.text(kLeft, top + 35, panel.note, Svg::Anchor::kStart, "note");
  draw_axes(panel, frame, svg);
  draw_bars(panel, frame, svg);
  for (int i = 0; i < static_cast<int>(panel.curves.size()); ++i) draw_curve(panel, frame, i, svg);
  draw_legend(panel, kLeft, top + kAbove + kPlotHeight + kBelow + 6, svg);
}

}  // namespace

std::string draw(const std::string& title, const std::vector<Panel>& panels) {
  double height = kTitleHeight + 10;
  for (const Panel& panel : panels) height += panel_height(panel);
  Svg svg(kWidth, height);
  svg.text(kLeft, 24, title, Svg::Anchor::kStart, "title");
  double top = kTitleHeight;
  for (const Panel& panel : panels) {
    draw_panel(panel, top, svg);
    top += panel_height(panel);
  }
  return svg.document(title);
}

}  // namespace branchsae::model
