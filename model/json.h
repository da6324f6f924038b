#pragma once
/// JSON inside model/: not part of the library's interface.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "engine/error.h"
#include "model/sae_metrics.h"

namespace branchsae::model {

using Json = nlohmann::ordered_json;

Json metrics_json(const SaeMetrics& metrics);

/// Parses a whole document. Throws InputError naming `where` and the byte.
inline Json parse_json(const std::string& text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("'{}' is damaged: it is not JSON", where), error.what());
  }
}

/// A field of a type. Throws InputError naming `where` and the field.
template <class T>
T json_field(const Json& object, const char* field, const std::string& where) {
  try {
    return object.at(field).get<T>();
  } catch (const nlohmann::json::exception& error) {
    throw InputError(
        fmt::format("'{}' is damaged: its field \"{}\" is absent or of the wrong type", where, field),
        error.what());
  }
}

}  // namespace branchsae::model
