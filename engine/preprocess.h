#pragma once
/// How 8-bit RGB pixels become the network's input.
#include <array>
#include <string>

namespace branchsae {

/// input channel c = (pixel[order[c]] * range / 255 - mean[c]) / stddev[c], pixel in 0..255 RGB.
struct Preprocess {
  std::string name;                    ///< "caffe", "lucid", "torchvision" or "custom"
  std::array<float, 3> mean{0, 0, 0};  ///< in the input's own channel order and range
  std::array<float, 3> stddev{1, 1, 1};
  std::array<int, 3> order{0, 1, 2};  ///< {0,1,2} = RGB, {2,1,0} = BGR
  float range = 255.0F;               ///< largest value before the mean is taken off: 255 or 1

  bool operator==(const Preprocess&) const = default;
};

/// BGR, 0..255 minus (104, 117, 123): BVLC GoogLeNet.
Preprocess caffe_preprocess();
/// RGB, 0..255 minus 117: lucid's inception5h.
Preprocess lucid_preprocess();
/// RGB, 0..1, mean (0.485, 0.456, 0.406), stddev (0.229, 0.224, 0.225).
Preprocess torchvision_preprocess();

/// "caffe", "lucid", "torchvision", or MEAN,STD,ORDER,RANGE as in "104/117/123,1,BGR,255" (one number or
/// three separated by '/'). Throws InputError naming what is wrong.
Preprocess parse_preprocess(const std::string& text);
/// The form parse_preprocess takes.
std::string to_string(const Preprocess& preprocess);

}  // namespace branchsae
