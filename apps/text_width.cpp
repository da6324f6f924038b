#include "apps/text_width.h"

#include <algorithm>
#include <iterator>

namespace branchsae::apps {
namespace {

struct Range {
  uint32_t first, last;
};

// Blocks of Unicode 15 (EastAsianWidth.txt: W and F), merged to whole blocks; sorted.
constexpr Range kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},
                           {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},   {0xAC00, 0xD7A3},
                           {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
                           {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
// Combining marks, joiners and variation selectors.
constexpr Range kZero[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A},
                           {0x064B, 0x065F}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F},
                           {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

template <size_t Count>
bool contains(const Range (&ranges)[Count], uint32_t point) {
  const Range* end = std::end(ranges);
  const Range* at =
      std::lower_bound(std::begin(ranges), end, point, [](const Range& r, uint32_t p) { return r.last < p; });
  return at != end && point >= at->first;
}

/// Length of the valid UTF-8 sequence at the start of `text`, 0 when there is none; `point` is set.
size_t decode(std::string_view text, uint32_t& point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) {
    point = byte(0);
    return 1;
  }
  const size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < length) return 0;
  point = byte(0) & (0xFFU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  return overlong || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF) ? 0 : length;
}

}  // namespace

int64_t display_width(std::string_view text) {
  int64_t width = 0;
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t length = decode(text, point);
    width += length == 0 ? 1 : contains(kWide, point) ? 2 : contains(kZero, point) ? 0 : 1;
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return width;
}

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t length = decode(text, point);
    const bool control =
        point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029;
    if (length == 0 || control) {
      shown += '?';
    } else {
      shown += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return shown;
}

}  // namespace branchsae::apps
