#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/random.h"
#include "loader/synthetic.h"

namespace branchsae {
namespace loader {
namespace {

constexpr int64_t kMaxSide = 8192;

using Colour = std::array<double, 3>;  ///< RGB, 0..255

Colour random_colour(Random& random) {
  return {random.uniform() * 255, random.uniform() * 255, random.uniform() * 255};
}

double mix(double a, double b, double share) {
  return a + (b - a) * share;
}

/// 1 inside, 0 outside, a soft edge of a few pixels between; distance is positive inside, in figure units.
double inside(double distance) {
  return std::clamp(0.5 + distance * 20.0, 0.0, 1.0);
}

double wave(double x) {
  return 0.5 + 0.5 * std::sin(2.0 * std::numbers::pi * x);
}

/// Smooth random values on a lattice, summed over three octaves; about 0..1.
class Clouds {
 public:
  explicit Clouds(Random& random) {
    for (double& value : lattice_) value = random.uniform();
  }
  double at(double x, double y) const {
    return (octave(x, y) + 0.5 * octave(2 * x, 2 * y) + 0.25 * octave(4 * x, 4 * y)) / 1.75;
  }

 private:
  static constexpr int64_t kSide = 16;
  double corner(int64_t x, int64_t y) const {
    return lattice_[static_cast<size_t>(((y % kSide) + kSide) % kSide * kSide +
                                        ((x % kSide) + kSide) % kSide)];
  }
  double octave(double x, double y) const {
    const double floor_x = std::floor(x), floor_y = std::floor(y);
    const auto column = static_cast<int64_t>(floor_x), row = static_cast<int64_t>(floor_y);
    const double right = x - floor_x, down = y - floor_y;
    return mix(mix(corner(column, row), corner(column + 1, row), right),
               mix(corner(column, row + 1), corner(column + 1, row + 1), right), down);
  }
  std::array<double, kSide * kSide> lattice_{};
};

/// What one picture consists of; coordinates (u, v) are rotated, centred on the figure, 1 = its radius.
struct Figure {
  double frequency;
  const Clouds* clouds;
};

/// How much of the foreground colour a point shows, 0..1.
using Mask = double (*)(const Figure&, double u, double v);

struct Kind {
  const char* name;
  Mask mask;
};

constexpr std::array<Kind, 8> kKinds{{
    {"disc", [](const Figure&, double u, double v) { return inside(1.0 - std::hypot(u, v)); }},
    {"square",
     [](const Figure&, double u, double v) { return inside(0.9 - std::max(std::abs(u), std::abs(v))); }},
    {"triangle", [](const Figure&, double u,
                    double v) { return inside(std::min(v + 0.6, 0.6 - std::abs(u) - 0.5 * v)); }},
    {"stripes", [](const Figure& figure, double u, double) { return wave(figure.frequency * u); }},
    {"checks",
     [](const Figure& figure, double u, double v) {
       return wave(figure.frequency * u) > 0.5 ? wave(figure.frequency * v) : 1 - wave(figure.frequency * v);
     }},
    {"rings",
     [](const Figure& figure, double u, double v) { return wave(figure.frequency * std::hypot(u, v)); }},
    {"gradient", [](const Figure&, double u, double) { return std::clamp(0.5 + 0.4 * u, 0.0, 1.0); }},
    {"clouds", [](const Figure& figure, double u,
                  double v) { return figure.clouds->at(figure.frequency * u, figure.frequency * v); }},
}};

std::vector<uint8_t> draw(const Kind& kind, Random& random, int64_t height, int64_t width) {
  const Colour front = random_colour(random), top = random_colour(random), bottom = random_colour(random);
  const double angle = random.uniform() * 2.0 * std::numbers::pi;
  const double side = static_cast<double>(std::min(height, width));
  const double radius = side * mix(0.15, 0.45, random.uniform());
  const double centre_x = static_cast<double>(width) * mix(0.3, 0.7, random.uniform());
  const double centre_y = static_cast<double>(height) * mix(0.3, 0.7, random.uniform());
  const double grain = mix(2.0, 16.0, random.uniform());
  const Clouds clouds(random);
  const Figure figure{mix(0.5, 3.0, random.uniform()), &clouds};

  std::vector<uint8_t> pixels(static_cast<size_t>(height * width * 3));
  auto out = pixels.begin();
  for (int64_t y = 0; y < height; ++y) {
    const double depth = (static_cast<double>(y) + 0.5) / static_cast<double>(height);
    for (int64_t x = 0; x < width; ++x) {
      const double right = (static_cast<double>(x) + 0.5 - centre_x) / radius;
      const double down = (static_cast<double>(y) + 0.5 - centre_y) / radius;
      const double share = kind.mask(figure, right * std::cos(angle) + down * std::sin(angle),
                                     down * std::cos(angle) - right * std::sin(angle));
      const double noise = (random.uniform() - 0.5) * grain;
      for (size_t c = 0; c < 3; ++c) {
        const double value = mix(mix(top[c], bottom[c], depth), front[c], share) + noise;
        *out++ = static_cast<uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return pixels;
}

std::string encode_png(const std::vector<uint8_t>& pixels, int64_t height, int64_t width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<png_uint_32>(height);
  image.width = static_cast<png_uint_32>(width);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  const int written = png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr);
  if (written == 0)
    throw Error(fmt::format("drawing a {} x {} picture: libpng: {}", width, height, image.message));
  bytes.resize(size);
  return bytes;
}

}  // namespace
}  // namespace loader

void write_synthetic_images(const std::filesystem::path& folder, const SyntheticImages& options) {
  if (options.count < 1 || options.height < 1 || options.width < 1 || options.height > loader::kMaxSide ||
      options.width > loader::kMaxSide) {
    throw InputError(
        fmt::format("synthetic images: {} of {} x {} pixels; count and sides must be at least 1, "
                    "sides at most {}",
                    options.count, options.width, options.height, loader::kMaxSide));
  }
  for (const loader::Kind& kind : loader::kKinds) make_writable_folder(folder / kind.name);
  for (int64_t i = 0; i < options.count; ++i) {
    const loader::Kind& kind = loader::kKinds.at(static_cast<size_t>(i) % loader::kKinds.size());
    Random random(options.seed, static_cast<uint64_t>(i));
    const std::vector<uint8_t> pixels = loader::draw(kind, random, options.height, options.width);
    const std::string png = loader::encode_png(pixels, options.height, options.width);
    write_file_atomically(folder / kind.name / fmt::format("{}_{:05}.png", kind.name, i),
                          std::span<const char>(png));
  }
}

}  // namespace branchsae
