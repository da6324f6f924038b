#pragma once
/// A chart of curves or bars, drawn as SVG.
#include <string>
#include <utility>
#include <vector>

#include "model/plot/axis.h"

namespace branchsae::model {

struct Curve {
  std::string name;  ///< in the legend; empty: in none
  std::vector<std::pair<double, double>> points;
  bool dots = false;  ///< a dot at every point
};

/// From x1 to x2, as high as `height`.
struct Bar {
  double x1 = 0, x2 = 0, height = 0;
};

struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Curve> curves;
  std::vector<Bar> bars;
  std::string note;  ///< below the title
};

/// Panels below one another under one title. Points that an axis cannot show (NaN; not above 0 on a log axis)
/// are left out, and the curve has a gap there.
std::string draw(const std::string& title, const std::vector<Panel>& panels);

}  // namespace branchsae::model
