#include "model/plot/svg.h"

#include <fmt/format.h>

#include <array>

namespace branchsae::model {
namespace {

// Told apart with any colour vision, and on black as on white (after Okabe and Ito 2008, darkened or
// lightened to a contrast of at least 3 on both).
constexpr std::array<const char*, kSeriesColours> kColours{"#0a78c2", "#d55e00", "#0a9a72", "#c46a9b",
                                                           "#a87c00", "#7a6fd0", "#d0453e", "#5d8a2a"};

constexpr const char* kStyle = R"(<style>
text { font-family: system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #222222 }
.title { font-size: 15px; font-weight: bold } .label { font-size: 12px }
.tick, .note { font-size: 11px; fill: #555555 }
.paper { fill: #ffffff } .grid { stroke: #dddddd; stroke-width: 1 } .axis { stroke: #777777; stroke-width: 1 }
.null, .limit { stroke: #444444; stroke-width: 1.2; stroke-dasharray: 6 4 } .limit { stroke-dasharray: 1.5 3 }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #e6e6e6 } .tick, .note { fill: #aaaaaa }
.paper { fill: #161616 } .grid { stroke: #333333 } .axis { stroke: #888888 }
.null, .limit { stroke: #bbbbbb }
}
</style>
)";

const char* colour(int series) {
  return kColours[static_cast<size_t>(series) % kColours.size()];
}

const char* anchor_name(Svg::Anchor anchor) {
  if (anchor == Svg::Anchor::kMiddle) return "middle";
  return anchor == Svg::Anchor::kEnd ? "end" : "start";
}

/// How many bytes the UTF-8 character at the front of `text` has; 0 when it is none.
size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const size_t bytes = first < 0x80   ? 1
                       : first < 0xC2 ? 0
                       : first < 0xE0 ? 2
                       : first < 0xF0 ? 3
                       : first < 0xF5 ? 4
                                      : 0;
  if (bytes > text.size()) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return bytes;
}

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t bytes = character_bytes(text);
    const char c = text.front();
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else if (bytes == 0 || (bytes == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F))) {
      escaped += '?';
    } else {
      escaped += text.substr(0, bytes);
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  return escaped;
}

void Svg::text(double x, double y, std::string_view text, Anchor anchor, const char* style) {
  body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", x, y,
                       anchor_name(anchor), style, xml_escaped(text));
}

void Svg::text_upwards(double x, double y, std::string_view text, const char* style) {
  body_ += fmt::format(
      "<text transform=\"translate({:.1f},{:.1f}) rotate(-90)\" text-anchor=\"middle\" "
      "class=\"{}\">{}</text>\n",
      x, y, style, xml_escaped(text));
}

void Svg::line(double x1, double y1, double x2, double y2, const char* style) {
  body_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1,
                       y1, x2, y2, style);
}

void Svg::polyline(const Points& points, int series) {
  body_ += fmt::format("<polyline class=\"curve\" stroke=\"{}\" points=\"", colour(series));
  for (size_t i = 0; i < points.size(); ++i)
    body_ += fmt::format("{}{:.1f},{:.1f}", i > 0 ? " " : "", points[i].first, points[i].second);
  body_ += "\"/>\n";
}

void Svg::dot(double x, double y, int series) {
  body_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\" fill=\"{}\"/>\n", x, y, colour(series));
}

void Svg::mark(double x, double y, int shape, int series) {
  // Corners around (0, 0); none: the circle.
  constexpr std::array<const char*, kMarkShapes> kCorners{
      "",
      "-3,-3 3,-3 3,3 -3,3",
      "0,-4 4,3 -4,3",
      "0,-4.2 4.2,0 0,4.2 -4.2,0",
      "0,4 4,-3 -4,-3",
      "-1,-4 1,-4 1,-1 4,-1 4,1 1,1 1,4 -1,4 -1,1 -4,1 -4,-1 -1,-1"};
  const char* corners = kCorners[static_cast<size_t>(shape) % kCorners.size()];
  if (*corners == '\0') return dot(x, y, series);
  body_ += fmt::format("<polygon transform=\"translate({:.1f},{:.1f})\" points=\"{}\" fill=\"{}\"/>\n", x, y,
                       corners, colour(series));
}

void Svg::bar(double x, double y, double width, double height, int series) {
  body_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n",
                       x, y, width, height, colour(series));
}

std::string Svg::document(std::string_view title) const {
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
      "width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n<title>{2}</title>\n{3}"
      "<rect class=\"paper\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>\n{4}</svg>\n",
      width_, height_, xml_escaped(title), kStyle, body_);
}

}  // namespace branchsae::model
