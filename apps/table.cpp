#include "apps/table.h"

#include <algorithm>

#include "apps/text_width.h"

namespace branchsae::apps {

std::string Table::line(const std::vector<std::string>& cells, const std::vector<int64_t>& widths) const {
  std::string text;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const std::string cell = i < cells.size() ? printable(cells[i]) : "";
    const auto padding = static_cast<size_t>(widths[i] - display_width(cell));
    if (i > 0) text += "  ";
    if (columns_[i].align == Align::kRight) text.append(padding, ' ');
    text += cell;
    if (columns_[i].align == Align::kLeft) text.append(padding, ' ');
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string Table::text() const {
  std::vector<int64_t> widths;
  std::vector<std::string> titles, rules;
  for (size_t i = 0; i < columns_.size(); ++i) {
    int64_t width = display_width(columns_[i].title);
    for (const auto& cells : rows_) {
      if (i < cells.size()) width = std::max(width, display_width(printable(cells[i])));
    }
    widths.push_back(width);
    titles.push_back(columns_[i].title);
    rules.emplace_back(static_cast<size_t>(width), '-');
  }
  std::string text = line(titles, widths) + line(rules, widths);
  for (const auto& cells : rows_) text += line(cells, widths);
  return text;
}

}  // namespace branchsae::apps
