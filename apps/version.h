#pragma once
#include <string>

namespace branchsae::apps {

/// Version, commit, compiler, CUDA and CPU, a line each.
std::string version_text();
/// "0.1.0 (commit 1234abcd)".
std::string version_line();
/// "g++ 12.2.0", and what there is of CUDA.
std::string compiler_text();
std::string cuda_text();

}  // namespace branchsae::apps
