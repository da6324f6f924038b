#include "model/plot/training_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "model/json.h"
#include "model/plot/chart.h"

namespace branchsae::model {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr int kBinsPerDecade = 8;
constexpr size_t kMostPanels = 24;

/// An axis for these values: log when all are above 0 and they span a decade.
Axis axis_for(const std::string& label, const std::vector<double>& values) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) low = high = 1;
  const bool log = low > 0 && high / low >= 10;
  return round_axis(label, log, log || low < 0 ? low : 0, high);
}

std::vector<double> heights(const std::vector<Curve>& curves) {
  std::vector<double> all;
  for (const Curve& curve : curves) {
    for (const auto& [x, y] : curve.points) all.push_back(y);
  }
  return all;
}

/// A field of every line against tokens. A line that is no number there (null: NaN) makes a gap.
Points field_points(const std::vector<Json>& lines, const char* field) {
  Points points;
  for (const Json& line : lines) {
    if (!line.contains("tokens") || !line["tokens"].is_number() || !line.contains(field)) continue;
    points.emplace_back(line["tokens"].get<double>(),
                        line[field].is_number() ? line[field].get<double>() : std::nan(""));
  }
  return points;
}

std::vector<Json> parse_lines(const std::string& text) {
  std::vector<Json> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    Json line = Json::parse(text.substr(begin, end - begin), nullptr, false);
    if (line.is_object()) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

Panel curve_panel(const char* title, const char* label, Points points) {
  Panel panel;
  panel.title = title;
  panel.x = exact_axis("tokens", false, 0, points.empty() ? 1 : points.back().first);
  panel.curves = {{"", std::move(points), false}};
  panel.y = axis_for(label, heights(panel.curves));
  return panel;
}

/// "k=4,lr=1e-3" in its parts. A name of another form is one part without a key.
std::vector<std::pair<std::string, std::string>> parts_of(const std::string& name) {
  std::vector<std::pair<std::string, std::string>> parts;
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find(',', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const size_t equals = part.find('=');
    if (equals == std::string::npos) return {{"", name}};
    parts.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    begin = end + 1;
  }
  return parts;
}

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// How a sweep's members are laid out along x.
struct Layout {
  std::string key;                  ///< of the axis
  std::vector<std::string> values;  ///< of that key, as they were first seen
  bool numbers = true;              ///< all of them are

  double place(const std::string& value) const {
    if (numbers) return *as_number(value);
    return static_cast<double>(std::ranges::find(values, value) - values.begin());
  }
};

Layout layout_of(const std::vector<MemberResult>& members) {
  std::vector<Layout> keys;
  for (const MemberResult& member : members) {
    for (const auto& [key, value] : parts_of(member.name)) {
      auto found = std::ranges::find(keys, key, &Layout::key);
      if (found == keys.end()) found = keys.insert(keys.end(), {key, {}, true});
      if (std::ranges::find(found->values, value) != found->values.end()) continue;
      found->values.push_back(value);
      found->numbers = found->numbers && as_number(value).has_value();
    }
  }
  for (const Layout& layout : keys) {
    if (layout.values.size() > 1) return layout;
  }
  return keys.front();
}

Axis axis_of(const Layout& layout) {
  std::vector<Tick> ticks;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const std::string& value : layout.values) {
    ticks.push_back({layout.place(value), value});
    low = std::min(low, ticks.back().value);
    high = std::max(high, ticks.back().value);
  }
  return axis_at(layout.key, layout.numbers && low > 0 && high / low >= 4, std::move(ticks));
}

Panel sweep_panel(const std::vector<MemberResult>& members, size_t tap, const Layout& layout) {
  std::vector<std::string> order;
  std::map<std::string, Points> curves;
  for (const MemberResult& member : members) {
    const TapResult& result = member.taps.at(tap);
    if (!result.held_out || !std::isfinite(result.held_out->fvu)) continue;
    double x = 0;
    std::string rest;
    for (const auto& [key, value] : parts_of(member.name)) {
      if (key == layout.key) {
        x = layout.place(value);
      } else {
        rest += (rest.empty() ? "" : ", ") + key + "=" + value;
      }
    }
    if (!curves.contains(rest)) order.push_back(rest);
    curves[rest].emplace_back(x, result.held_out->fvu);
  }
  Panel panel;
  panel.title = members.front().taps.at(tap).tap.name;
  panel.x = axis_of(layout);
  for (const std::string& name : order) {
    std::ranges::sort(curves[name]);
    panel.curves.push_back({name, curves[name], true});
  }
  panel.y = axis_for("held-out FVU", heights(panel.curves));
  return panel;
}

}  // namespace

std::string loss_plot(const std::string& tap, const std::string& metrics_lines) {
  const std::vector<Json> lines = parse_lines(metrics_lines);
  if (lines.empty()) return "";
  return draw(tap + ": training", {curve_panel("loss, mean |x - x_hat|\u00b2 of a batch in scaled units",
                                               "loss", field_points(lines, "loss")),
                                   curve_panel("fraction of variance unexplained, of a batch", "FVU",
                                               field_points(lines, "fvu"))});
}

std::string density_plot(const std::string& tap, const SaeMetrics& metrics) {
  std::map<int, int64_t> bins;  // floor(bins a decade x log10 of the density) -> latents
  for (const double density : metrics.density) {
    if (density > 0) ++bins[static_cast<int>(std::floor(std::log10(density) * kBinsPerDecade + 1e-9))];
  }
  const auto edge = [](int bin) { return std::pow(10.0, static_cast<double>(bin) / kBinsPerDecade); };
  Panel panel;
  panel.title = "latents by the share of held-out tokens on which they are active";
  panel.note = fmt::format("{} of {} latents ({:.2f} %) were never active on the {} tokens",
                           metrics.dead_latents, metrics.density.size(), 100 * metrics.dead, metrics.tokens);
  int64_t most = 1;
  for (const auto& [bin, count] : bins) {
    panel.bars.push_back({edge(bin), edge(bin + 1), static_cast<double>(count)});
    most = std::max(most, count);
  }
  panel.x = bins.empty()
                ? round_axis("density", true, 1e-3, 1)
                : exact_axis("density", true, edge(bins.begin()->first), edge(bins.rbegin()->first + 1));
  panel.y = round_axis("latents", false, 0, static_cast<double>(most));
  return draw(tap + ": density of the latents", {panel});
}

std::string sweep_plot(const TrainResult& result) {
  const auto evaluated = [](const MemberResult& member) {
    return std::ranges::any_of(member.taps, [](const TapResult& tap) { return tap.held_out.has_value(); });
  };
  if (std::ranges::none_of(result.members, evaluated)) return "";
  const Layout layout = layout_of(result.members);
  std::vector<Panel> panels;
  const size_t taps = std::min(result.members.front().taps.size(), kMostPanels);
  for (size_t tap = 0; tap < taps; ++tap) panels.push_back(sweep_panel(result.members, tap, layout));
  return draw(fmt::format("sweep over {}: held-out FVU", layout.key.empty() ? "its members" : layout.key),
              panels);
}

}  // namespace branchsae::model
