#include "cuda/device.h"
#include "tests/cuda/kernel_test.h"
#include "tests/test_data.h"

namespace branchsae::cuda::test {
namespace {

const bool registered = (branchsae::test::require(why_unavailable), true);

}  // namespace

bool emulated() {
  return !registered;  // named here, so that the requirement above is not dropped
}

void relax_checks() {}

void for_each_order(const std::function<void(std::string_view how)>& body) {
  body("the first run");
  body("the second run");
}

}  // namespace branchsae::cuda::test
