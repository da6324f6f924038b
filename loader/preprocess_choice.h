#pragma once
/// Which preprocessing a model wants: said by the user, by a file beside the model, by the model, or guessed
/// from the graph. A wrong choice still gives activations, only meaningless ones, so the reason is kept.
#include <filesystem>
#include <map>
#include <string>

#include "engine/graph.h"

namespace branchsae {

/// Sets graph.preprocess and graph.preprocess_reason from the first of these that decides:
///   1. `option`, as parse_preprocess() takes it; empty: not given.
///   2. a JSON file beside the model, <model>.onnx.json or <model>.json, with the key "preprocess": a text as
///      above, or an object {"mean": 117 or [104, 117, 123], "std": 1 or [..], "order": "RGB" or "BGR",
///      "range": 255 or 1}; mean and std are in the network's channel order and range, and std, order and
///      range may be left out (1, "RGB", 255). A file without that key is passed over.
///   3. the ONNX property (metadata_props) "branchsae.preprocess" or "preprocess", a text as above.
///   4. the graph: tensors with BVLC's names: caffe; mixed4a of 508 channels: lucid; LRN and 1,000 outputs:
///      caffe; inception blocks without LRN: torchvision.
/// Where none does, preprocess stays unset and the reason says what to give.
/// `metadata` are the ONNX properties; graph.blocks must be filled in.
/// Throws InputError when what was said cannot be read.
void choose_preprocess(Graph& graph, const std::filesystem::path& model,
                       const std::map<std::string, std::string>& metadata, const std::string& option);

}  // namespace branchsae
