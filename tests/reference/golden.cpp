#include "tests/reference/golden.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/npy.h"
#include "tests/test_data.h"

namespace branchsae::reference {

using nlohmann::json;

ValueId GoldenOutput::find(const Graph& graph) const {
  for (const Block& candidate : graph.blocks) {
    if (candidate.name == block) return candidate.value;
  }
  const ValueId id = graph.find_value(tensor);
  if (id == kNoValue) throw InputError("no block or tensor \"" + name() + "\" in " + graph.source);
  return id;
}

Array read_array(const std::filesystem::path& path) {
  const NpyHeader header = read_npy_header(path);
  if (header.dtype != "<f4") throw InputError(path.string() + ": not float32 but " + header.dtype);
  std::vector<float> data(static_cast<size_t>(element_count(header.shape)));
  std::ifstream file(path, std::ios::binary);
  file.seekg(header.data_offset);
  file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size() * sizeof(float)));
  if (!file) throw InputError(path.string() + ": cut short");
  return {header.shape, data};
}

GoldenSet read_golden(const std::string& name) {
  const std::filesystem::path folder = test::source_folder() / "tests" / "golden";
  std::ifstream file(folder / (name + ".json"));
  const json manifest = json::parse(file);
  GoldenSet set;
  for (const json& model : manifest.at("models")) set.models.push_back(folder / model.get<std::string>());
  set.images = read_array(folder / manifest.at("input").get<std::string>());
  for (const json& output : manifest.at("outputs")) {
    set.outputs.push_back({output.value("block", ""), output.value("tensor", ""),
                           read_array(folder / output.at("file").get<std::string>())});
  }
  for (const json& block : manifest.at("blocks")) {
    GoldenBlock expected{block.at("name"), {}};
    for (const json& branch : block.at("branches")) {
      expected.branches.push_back(
          {branch.at("name"), branch.at("kernel"), branch.at("begin"), branch.at("end")});
    }
    set.blocks.push_back(std::move(expected));
  }
  return set;
}

}  // namespace branchsae::reference
