#include "apps/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/error.h"

namespace branchsae::apps {

void write_stdout(const std::string& text) {
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw IoError(std::string("cannot write the results to stdout: ") + std::strerror(errno) +
                    "; give it a file or pipe that can be written");
    }
    left.remove_prefix(static_cast<size_t>(written));
  }
}

std::string dump(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Output::write(bool as_json) const {
  write_stdout(as_json ? dump(document_) : text_);
}

}  // namespace branchsae::apps
