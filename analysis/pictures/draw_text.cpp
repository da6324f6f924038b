#include "analysis/pictures/draw_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_easy_font.h>
#pragma GCC diagnostic pop

namespace branchsae {
namespace {

/// What stb_easy_font writes for each corner of a quad.
struct Vertex {
  float x, y, z;
  std::array<uint8_t, 4> colour;
};
static_assert(sizeof(Vertex) == 16);

/// It takes a writable C string, and only ASCII.
std::vector<char> plain(const std::string& text) {
  std::vector<char> characters;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0U) == 0x80U) continue;  // the rest of a character of UTF-8
    characters.push_back(c >= 32 && c < 127 ? c : '?');
  }
  characters.push_back('\0');
  return characters;
}

}  // namespace

int64_t text_width(const std::string& text) {
  return stb_easy_font_width(plain(text).data());
}

std::string fit_text(std::string text, int64_t width) {
  if (text_width(text) <= width) return text;
  while (!text.empty() && text_width(text + "..") > width) text.pop_back();
  return text + "..";
}

void draw_text(RgbImage& image, int64_t left, int64_t top, const std::string& text, uint8_t grey) {
  std::vector<char> characters = plain(text);
  std::vector<Vertex> vertices(characters.size() * 4 * 20);  // a character takes 270 bytes on average
  const int quads = stb_easy_font_print(0, 0, characters.data(), nullptr, vertices.data(),
                                        static_cast<int>(vertices.size() * sizeof(Vertex)));
  for (int q = 0; q < quads; ++q) {
    const Vertex& begin = vertices[static_cast<size_t>(4 * q)];
    const Vertex& end = vertices[static_cast<size_t>(4 * q + 2)];
    const auto place = [](float at, int64_t origin, int64_t extent) {
      return std::clamp<int64_t>(origin + std::lround(at), 0, extent);
    };
    for (int64_t y = place(begin.y, top, image.height); y < place(end.y, top, image.height); ++y) {
      const int64_t first = place(begin.x, left, image.width), last = place(end.x, left, image.width);
      if (first < last)
        std::fill_n(image.pixels.begin() + (y * image.width + first) * 3, (last - first) * 3, grey);
    }
  }
}

}  // namespace branchsae
