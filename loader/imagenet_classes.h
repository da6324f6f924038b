#pragma once
/// The built-in class table. Its data, imagenet_classes.cpp, is written by scripts/make_class_table.py.
#include <span>
#include <string_view>

namespace branchsae::loader {

struct ImagenetClass {
  std::string_view wordnet_id;
  std::string_view names;
};

/// The 1,000 classes of ILSVRC-2012 by index.
std::span<const ImagenetClass> imagenet_classes();

}  // namespace branchsae::loader
