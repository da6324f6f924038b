// PNM by hand: stb_image scales neither by the file's own maximum nor puts 16-bit samples in order, and knows
// neither bitmaps nor the plain forms. Source: the netpbm format pages (pbm, pgm, ppm).
#include <algorithm>
#include <cctype>

#include "engine/error.h"
#include "loader/image_codecs.h"

namespace branchsae::loader {
namespace {

constexpr int64_t kMaxNumber = 1'000'000'000;

class PnmReader {
 public:
  explicit PnmReader(Bytes bytes) : bytes_(bytes) {}

  /// A decimal number after white space and comments, which the plain forms allow anywhere.
  int64_t number() {
    skip_space();
    if (at_ >= bytes_.size()) throw InputError("PNM: premature end of file");
    if (std::isdigit(bytes_[at_]) == 0) throw InputError(place("PNM: expected a number"));
    int64_t value = 0;
    for (; at_ < bytes_.size() && std::isdigit(bytes_[at_]) != 0; ++at_) {
      value = value * 10 + (bytes_[at_] - '0');
      if (value > kMaxNumber) throw InputError(place("PNM: absurd number"));
    }
    return value;
  }
  /// A sample of a plain bitmap: one digit, with or without space around.
  int64_t bit() {
    skip_space();
    if (at_ >= bytes_.size()) throw InputError("PNM: premature end of file");
    const uint8_t digit = bytes_[at_];
    if (digit != '0' && digit != '1') throw InputError(place("PNM: expected 0 or 1"));
    ++at_;
    return digit - '0';
  }
  /// The binary samples begin after one white-space character.
  Bytes binary(int64_t count) {
    if (at_ >= bytes_.size() || std::isspace(bytes_[at_]) == 0) {
      throw InputError(place("PNM: no samples after the header"));
    }
    const Bytes rest = bytes_.subspan(at_ + 1);
    if (static_cast<int64_t>(rest.size()) < count) throw InputError("PNM: premature end of file");
    return rest.first(static_cast<size_t>(count));
  }

 private:
  void skip_space() {
    for (; at_ < bytes_.size(); ++at_) {
      if (bytes_[at_] == '#') {
        while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
        if (at_ == bytes_.size()) return;
      } else if (std::isspace(bytes_[at_]) == 0) {
        return;
      }
    }
  }
  std::string place(const std::string& message) const { return message + " at byte " + std::to_string(at_); }

  Bytes bytes_;
  size_t at_ = 2;  // after "P6"
};

uint8_t to_8_bit(int64_t value, int64_t maximum) {
  return static_cast<uint8_t>((std::min(value, maximum) * 510 + maximum) / (2 * maximum));
}

/// Sets sample i of `channels` (1 or 3) interleaved ones.
void put(RgbImage& image, int64_t channels, int64_t i, uint8_t value) {
  if (channels == 3) {
    image.pixels[static_cast<size_t>(i)] = value;
  } else {
    std::fill_n(image.pixels.begin() + 3 * i, 3, value);
  }
}

void read_bitmap(PnmReader& reader, bool plain, RgbImage& image) {
  const int64_t row_bytes = (image.width + 7) / 8;
  const Bytes packed = plain ? Bytes() : reader.binary(row_bytes * image.height);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const bool black = plain ? reader.bit() == 1
                               : (packed[static_cast<size_t>(y * row_bytes + x / 8)] >> (7 - x % 8) & 1) != 0;
      put(image, 1, y * image.width + x, black ? 0 : 255);
    }
  }
}

void read_samples(PnmReader& reader, bool plain, int64_t channels, RgbImage& image) {
  const int64_t maximum = reader.number();
  if (maximum < 1 || maximum > 65535) {
    throw InputError("PNM: maximum sample value " + std::to_string(maximum) + " is not within 1 .. 65535");
  }
  const int64_t samples = image.width * image.height * channels;
  const int64_t sample_bytes = maximum > 255 ? 2 : 1;
  const Bytes packed = plain ? Bytes() : reader.binary(samples * sample_bytes);
  for (int64_t i = 0; i < samples; ++i) {
    int64_t value = 0;
    if (plain) {
      value = reader.number();
    } else if (sample_bytes == 1) {
      value = packed[static_cast<size_t>(i)];
    } else {
      value = packed[static_cast<size_t>(2 * i)] << 8 | packed[static_cast<size_t>(2 * i + 1)];
    }
    put(image, channels, i, to_8_bit(value, maximum));
  }
}

}  // namespace

RgbImage decode_pnm(Bytes bytes, int64_t max_pixels) {
  const int kind = bytes[1] - '0';  // 1-3 plain, 4-6 binary; bitmap, grey, colour
  const bool plain = kind <= 3;
  PnmReader reader(bytes);
  const int64_t width = reader.number();
  const int64_t height = reader.number();
  RgbImage image = make_image(width, height, max_pixels);
  if (kind == 1 || kind == 4) {
    read_bitmap(reader, plain, image);
  } else {
    read_samples(reader, plain, kind == 3 || kind == 6 ? 3 : 1, image);
  }
  return image;
}

}  // namespace branchsae::loader
