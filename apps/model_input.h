#pragma once
/// A command's MODEL and IMAGES.
#include <memory>
#include <string>
#include <vector>

#include "apps/option_set.h"
#include "engine/graph.h"
#include "engine/images.h"
#include "loader/class_list.h"

namespace branchsae::apps {

struct InputOptions {
  std::string preprocess;       ///< empty: chosen from the model
  std::string classes;          ///< class list's file; empty: chosen
  int64_t crop = 0;             ///< 0: the model's own input size, 224 when that is free
  int64_t resize = 0;           ///< 0: crop * 256 / 224
  bool strict = false;          ///< a damaged tar is an error
  bool refuse_unknown = false;  ///< labels of which the class list has none are an error
};

/// --preprocess.
void add_preprocess_option(OptionSet& options, InputOptions& input);
/// --classes, --crop, --resize.
void add_image_options(OptionSet& options, InputOptions& input);

/// Loads the model and says how pixels are prepared and why. Throws InputError; `path` empty: MODEL is
/// missing.
Graph open_model(const std::string& path, const InputOptions& input);

/// Opens the images at the size the model takes. Throws InputError when there are none, or when they are
/// 8-bit and the model's preprocessing is undecided.
std::unique_ptr<ImageSource> open_image_set(const std::vector<std::string>& specs, const Graph& graph,
                                            const InputOptions& input,
                                            std::shared_ptr<const ClassList> classes = nullptr);

std::shared_ptr<const ClassList> open_class_list(const InputOptions& input, const Graph& graph);

/// Specs that still mean the same from another working directory; a list joined by commas is taken apart.
std::vector<std::string> absolute_specs(const std::vector<std::string>& specs);

/// Fixed height and width of the graph's input; 0 where free.
struct InputSize {
  int64_t height = 0, width = 0;
};
InputSize fixed_input_size(const Graph& graph);
/// The size that images are brought to for this graph.
InputSize used_input_size(const Graph& graph);

/// "caffe (104/117/123,1,BGR,255)".
std::string describe(const Preprocess& preprocess);

}  // namespace branchsae::apps
