#pragma once
/// Writes SVG 1.1, a shape at a time. Colours follow the reader's light or dark mode where the viewer knows it.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace branchsae::model {

/// &, <, >, quotes; control characters, which XML does not allow, become '?', and so do bytes that are no
/// UTF-8.
std::string xml_escaped(std::string_view text);

class Svg {
 public:
  enum class Anchor { kStart, kMiddle, kEnd };
  using Points = std::vector<std::pair<double, double>>;

  /// Pixels.
  Svg(double width, double height) : width_(width), height_(height) {}
  /// Classes: "title", "label", "tick", "note" (sizes and colours of text).
  void text(double x, double y, std::string_view text, Anchor anchor, const char* style);
  /// Turned by 90 degrees, reading upwards.
  void text_upwards(double x, double y, std::string_view text, const char* style);
  /// Classes: "grid", "axis", "null" (dashed: what chance gives), "limit" (dotted).
  void line(double x1, double y1, double x2, double y2, const char* style);
  /// In the colour of series number `series`.
  void polyline(const Points& points, int series);
  void dot(double x, double y, int series);
  /// One of kMarkShapes shapes, about 7 pixels wide, in the colour of the series.
  void mark(double x, double y, int shape, int series);
  void bar(double x, double y, double width, double height, int series);
  /// The whole document; `title` is what a screen reader says.
  std::string document(std::string_view title) const;

 private:
  double width_, height_;
  std::string body_;
};

/// Series have different colours up to this number, and then again.
inline constexpr int kSeriesColours = 8;
/// Circle, square, triangle, diamond, turned triangle, cross.
inline constexpr int kMarkShapes = 6;

}  // namespace branchsae::model
