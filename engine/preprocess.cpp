#include "engine/preprocess.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

#include "engine/error.h"

namespace branchsae {
namespace {

[[noreturn]] void fail(const std::string& text, const std::string& why) {
  throw InputError(
      fmt::format("preprocessing '{}': {}; give caffe, lucid, torchvision or MEAN,STD,ORDER,RANGE such as "
                  "104/117/123,1,BGR,255",
                  text, why));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

float parse_number(const std::string& text, const std::string& whole) {
  float number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) {
    fail(whole, fmt::format("'{}' is no number", text));
  }
  return number;
}

std::array<float, 3> parse_triple(const std::string& text, const std::string& whole) {
  const std::vector<std::string> parts = split(text, '/');
  if (parts.size() != 1 && parts.size() != 3)
    fail(whole, fmt::format("'{}' is neither one number nor three", text));
  std::array<float, 3> triple{};
  for (size_t c = 0; c < 3; ++c) triple[c] = parse_number(parts[parts.size() == 1 ? 0 : c], whole);
  return triple;
}

std::string triple_text(const std::array<float, 3>& triple) {
  if (triple[0] == triple[1] && triple[1] == triple[2]) return fmt::format("{}", triple[0]);
  return fmt::format("{}/{}/{}", triple[0], triple[1], triple[2]);
}

}  // namespace

Preprocess caffe_preprocess() {
  return {"caffe", {104, 117, 123}, {1, 1, 1}, {2, 1, 0}, 255};
}

Preprocess lucid_preprocess() {
  return {"lucid", {117, 117, 117}, {1, 1, 1}, {0, 1, 2}, 255};
}

Preprocess torchvision_preprocess() {
  return {"torchvision", {0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}, {0, 1, 2}, 1};
}

Preprocess parse_preprocess(const std::string& text) {
  if (text == "caffe") return caffe_preprocess();
  if (text == "lucid") return lucid_preprocess();
  if (text == "torchvision") return torchvision_preprocess();
  const std::vector<std::string> parts = split(text, ',');
  if (parts.size() != 4) fail(text, "is no known name and has not four parts");
  Preprocess custom;
  custom.name = "custom";
  custom.mean = parse_triple(parts[0], text);
  custom.stddev = parse_triple(parts[1], text);
  for (float deviation : custom.stddev) {
    if (deviation <= 0) fail(text, "the standard deviation must be positive");
  }
  if (parts[2] == "BGR" || parts[2] == "bgr") {
    custom.order = {2, 1, 0};
  } else if (parts[2] != "RGB" && parts[2] != "rgb") {
    fail(text, fmt::format("'{}' is neither RGB nor BGR", parts[2]));
  }
  custom.range = parse_number(parts[3], text);
  if (custom.range <= 0) fail(text, "the range must be positive");
  return custom;
}

std::string to_string(const Preprocess& preprocess) {
  if (preprocess.name != "custom") return preprocess.name;
  const char* order = preprocess.order[0] == 2 ? "BGR" : "RGB";
  return fmt::format("{},{},{},{}", triple_text(preprocess.mean), triple_text(preprocess.stddev), order,
                     preprocess.range);
}

}  // namespace branchsae
