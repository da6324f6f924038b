#include "analysis/features/contact_sheet.h"

#include <algorithm>

#include "analysis/pictures/draw_text.h"
#include "analysis/pictures/photo.h"

namespace branchsae {
namespace {

constexpr int64_t kSide = 112, kGap = 4, kMargin = 8;
constexpr uint8_t kPaper = 250, kInk = 20, kFaintInk = 90;
constexpr int64_t kCellHeight = 2 * kSide + kGap + kTextHeight;

int64_t sheet_width(const ContactSheet& sheet) {
  size_t most = 4;
  for (const auto& row : sheet.rows) most = std::max(most, row.size());
  return 2 * kMargin + static_cast<int64_t>(most) * (kSide + kGap) - kGap;
}

void draw_cell(RgbImage& canvas, const SheetCell& cell, int64_t left, int64_t top) {
  paste(canvas, resized(cell.crop, kSide, kSide), left, top);
  paste(canvas, resized(cell.heat, kSide, kSide), left, top + kSide + kGap);
  draw_text(canvas, left, top + 2 * kSide + kGap + 2, fit_text(cell.caption, kSide), kFaintInk);
}

}  // namespace

RgbImage draw_sheet(const ContactSheet& sheet) {
  const auto lines = static_cast<int64_t>(sheet.heading.size());
  const int64_t width = sheet_width(sheet), row_height = kTextHeight + kCellHeight + kMargin;
  RgbImage canvas = blank_image(
      width, 2 * kMargin + lines * kTextHeight + static_cast<int64_t>(sheet.rows.size()) * row_height,
      kPaper);
  int64_t top = kMargin;
  for (const std::string& line : sheet.heading) {
    draw_text(canvas, kMargin, top, fit_text(line, width - 2 * kMargin), kInk);
    top += kTextHeight;
  }
  for (size_t i = 0; i < sheet.rows.size(); ++i) {
    top += kMargin;
    if (i < sheet.row_titles.size()) draw_text(canvas, kMargin, top, sheet.row_titles[i], kInk);
    int64_t left = kMargin;
    for (const SheetCell& cell : sheet.rows[i]) {
      draw_cell(canvas, cell, left, top + kTextHeight);
      left += kSide + kGap;
    }
    top += row_height - kMargin;
  }
  return canvas;
}

}  // namespace branchsae
