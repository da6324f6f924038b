#pragma once
/// Which images stand behind the rows of an output file.
#include <string>
#include <vector>

#include "apps/output.h"
#include "engine/images.h"
#include "model/run.h"

namespace branchsae::apps {

/// [{"name", "index", "label"}, ...], label null when there is none.
Json image_list_json(const ImageSource& images, const std::vector<int64_t>& order);
Json skipped_json(const std::vector<SkippedImage>& skipped);
/// A name a line.
std::string image_names_text(const ImageSource& images, const std::vector<int64_t>& order);

}  // namespace branchsae::apps
