/// Damaged files of every format: each either decodes or is refused with one line, the same way every time.
#include <doctest/doctest.h>
#include <png.h>

#include <random>

#include "engine/error.h"
#include "loader/image_source.h"
#include "tests/loader/image_files.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;

namespace {

struct Seed {
  std::string name;
  std::string bytes;
};

std::vector<Seed> seeds() {
  const RgbImage picture = gradient(40, 24);
  std::vector<uint8_t> indices(40 * 24), palette(128 * 3), bytes(40 * 24 * 8), packed(40 * 24 / 2);
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<uint8_t>(i % 128);
  for (size_t i = 0; i < palette.size(); ++i) palette[i] = static_cast<uint8_t>(i);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  using Colour = JpegOptions::Colour;
  const std::vector<uint8_t> few_colours(palette.begin(), palette.begin() + 48);
  return {
      {"baseline.jpg", encode_jpeg(picture, {.restart_interval = 3, .app1 = exif_block(6)})},
      {"progressive.jpg", encode_jpeg(picture, {.progressive = true, .horizontal_sampling = 2})},
      {"arithmetic.jpg", encode_jpeg(picture, {.arithmetic = true})},
      {"cmyk.jpg", encode_jpeg(picture, {.colour = Colour::kYcck})},
      {"rgb.png", encode_png(picture)},
      {"rgba16.png",
       encode_png(40, 24, bytes, {.bit_depth = 16, .color_type = PNG_COLOR_TYPE_RGBA, .interlaced = true})},
      {"palette.png", encode_png(40, 24, packed,
                                 {.bit_depth = 4,
                                  .color_type = PNG_COLOR_TYPE_PALETTE,
                                  .palette = few_colours,
                                  .palette_alpha = {0, 128}})},
      {"a.bmp", encode_bmp(picture)},
      {"palette.bmp", encode_bmp(40, 24, std::vector<uint8_t>(40 * 24, 3), few_colours)},
      {"a.gif", encode_gif(40, 24, indices, palette, true)},
      {"raw.tga", encode_tga(picture, false)},
      {"rle.tga", encode_tga(picture, true)},
      {"a.ppm", encode_ppm(picture)},
      {"plain.pgm", "P2\n# c\n3 3\n7\n1 2 3 4 5 6 7 0 1\n"},
  };
}

/// One of: bytes changed, a piece removed, a piece doubled, cut off, a run of one value.
std::string damaged(const std::string& whole, std::mt19937& random) {
  std::string bytes = whole;
  const auto position = [&] { return random() % bytes.size(); };
  switch (random() % 6) {
    case 0:
      bytes.resize(position());
      break;
    case 1:
      bytes.erase(position(), 1 + random() % 40);
      break;
    case 2:
      bytes.insert(position(), bytes.substr(position(), random() % 200));
      break;
    case 3: {
      const size_t start = position();
      const size_t count = std::min<size_t>(1 + random() % 16, bytes.size() - start);
      bytes.replace(start, count, count, static_cast<char>(random() % 2 == 0 ? 0xFF : 0x00));
      break;
    }
    case 4:  // headers are short: aim at them
      bytes[random() % std::min<size_t>(bytes.size(), 64)] = static_cast<char>(random());
      break;
    default:
      for (uint32_t i = 0, count = 1 + random() % 8; i < count; ++i)
        bytes[position()] = static_cast<char>(random());
  }
  return bytes;
}

/// "WxH" and a checksum, or the reason. Anything but InputError escapes and fails the test.
std::string outcome(const std::string& bytes, const std::string& name) {
  try {
    const RgbImage image = decode(bytes, name, 200'000);
    REQUIRE(static_cast<int64_t>(image.pixels.size()) == image.width * image.height * 3);
    uint64_t sum = 0;
    for (const uint8_t value : image.pixels) sum = sum * 31 + value;
    return std::to_string(image.width) + "x" + std::to_string(image.height) + " " + std::to_string(sum);
  } catch (const InputError& error) {
    const std::string reason = error.what();
    CHECK(!reason.empty());
    CHECK(reason.find('\n') == std::string::npos);
    return reason;
  }
}

}  // namespace

TEST_CASE("damaged images decode or are refused") {
  std::mt19937 random(20240817);
  for (const Seed& seed : seeds()) {
    CAPTURE(seed.name);
    REQUIRE(outcome(seed.bytes, seed.name).find('x') != std::string::npos);
    int64_t decoded = 0, refused = 0;
    for (int round = 0; round < 400; ++round) {
      const std::string bytes = damaged(seed.bytes, random);
      const std::string first = outcome(bytes, seed.name);
      CHECK(outcome(bytes, seed.name) == first);
      ++(first.find('x') < 4 ? decoded : refused);
    }
    CHECK(refused > 0);  // or the damage does none
  }
}

TEST_CASE("noise behind every signature is refused") {
  std::mt19937 random(7);
  const std::string signatures[] = {"\xFF\xD8\xFF", "\x89PNG\r\n\x1A\n", "GIF89a", "BM", "P6\n", "P1 ", ""};
  for (const std::string& signature : signatures) {
    for (int round = 0; round < 100; ++round) {
      std::string bytes = signature;
      for (uint32_t i = 0, count = random() % 600; i < count; ++i) bytes += static_cast<char>(random());
      outcome(bytes, "a.tga");
    }
  }
}

TEST_CASE("damaged shards are refused or give images") {
  // Two files in a ustar as tar writes them, made here without a library so that headers can be damaged.
  std::string tar;
  for (const char* name : {"a.png", "b.png"}) {
    const std::string image = encode_png(gradient(9, 8));
    std::string header = name;
    header.resize(512);
    header.replace(100, 7, octal(7, 0644));
    header.replace(124, 11, octal(11, static_cast<int64_t>(image.size())));
    header.replace(136, 11, octal(11, 0));
    header[156] = '0';
    header.replace(257, 8, std::string("ustar\00000", 8));
    header.replace(148, 8, 8, ' ');
    int64_t sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    header.replace(148, 6, octal(6, sum));
    header[154] = '\0';
    tar += header + image + std::string((512 - image.size() % 512) % 512, '\0');
  }
  tar += std::string(1024, '\0');

  const auto path = temporary_folder() / "t.tar";
  write_bytes(path, tar);
  REQUIRE(open_images(path.string())->size() == 2);
  std::mt19937 random(99);
  std::vector<uint8_t> pixels(224 * 224 * 3);
  for (int round = 0; round < 300; ++round) {
    write_bytes(path, damaged(tar, random));
    try {
      const auto source = open_images(path.string());
      for (int64_t i = 0; i < source->size(); ++i) source->read_centre(i, pixels.data());
    } catch (const InputError& error) {
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
    }
  }
}
