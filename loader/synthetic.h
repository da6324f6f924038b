#pragma once
/// A stand-in for the real network and photos, for tests and for machines where neither can be had. Equal
/// options give equal files. What an autoencoder learns from it says nothing about InceptionV1.
#include <cstdint>
#include <filesystem>

namespace branchsae {

struct SyntheticModel {
  uint64_t seed = 1;
  int64_t width_divisor = 1;  ///< channel counts are InceptionV1's divided by this; at least 1 a convolution
  int64_t classes = 1000;     ///< outputs of the classifier
};

/// Writes an ONNX model (opset 13) of InceptionV1's structure with BVLC's tensor names and seeded random
/// weights.
///
/// Input    `data` [N, 3, H, W], BGR, 0..255 minus (104, 117, 123); output `prob` [N, classes]
/// Weights  normal, of the size that keeps activations' size from layer to layer; every filter sums to zero,
///          since to a random ReLU network without that all images soon look alike
/// Source   structure: Szegedy et al. 2014, arXiv:1409.4842, table 1; size of the weights after He et al.
/// 2015,
///          arXiv:1502.01852, equation 10
/// Throws   InputError for options out of range, IoError when the file cannot be written
void write_synthetic_inception(const std::filesystem::path& path, const SyntheticModel& options = {});

struct SyntheticImages {
  uint64_t seed = 1;
  int64_t count = 64;
  int64_t height = 256, width = 288;  ///< pixels
};

/// Draws `count` RGB pictures as folder/<kind>/<kind>_<number>.png: discs, squares, triangles, stripes,
/// checks, rings, gradients and clouds, in turn, each with its own colours, place, angle and grain. Folders
/// are made. Throws InputError for options out of range, IoError when a file cannot be written.
void write_synthetic_images(const std::filesystem::path& folder, const SyntheticImages& options = {});

}  // namespace branchsae
