#pragma once
/// Results on stdout: text made of tables, or one JSON document.
#include <nlohmann/json.hpp>
#include <string>

namespace branchsae::apps {

using Json = nlohmann::ordered_json;

/// Collects a command's results; nothing is written before the command has succeeded.
class Output {
 public:
  void text(const std::string& part) { text_ += part; }
  void json(Json document) { document_ = std::move(document); }
  /// Writes the document when json was asked for, else the text. Throws IoError when stdout is closed or
  /// full.
  void write(bool as_json) const;

 private:
  std::string text_;
  Json document_;
};

/// Throws IoError. Writes all of it or fails.
void write_stdout(const std::string& text);

/// Indented, with a final line feed; invalid UTF-8 (file names) is replaced, NaN and infinity become null.
std::string dump(const Json& document);

}  // namespace branchsae::apps
