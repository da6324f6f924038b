// libFuzzer target: any bytes as an ONNX file must give a graph or an InputError.
//   cmake -B build-fuzz -DCMAKE_CXX_COMPILER=clang++ -DBRANCHSAE_FUZZ=ON -DBRANCHSAE_CUDA=OFF
//         -DBRANCHSAE_SANITIZE=fuzzer-no-link,address,undefined
//   cmake --build build-fuzz --target onnx_fuzzer && mkdir -p corpus && cp tests/golden/*.onnx corpus
//   build-fuzz/bin/onnx_fuzzer -max_len=100000 -rss_limit_mb=1024 corpus
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "engine/error.h"
#include "loader/onnx_loader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int file = ::memfd_create("model", 0);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) return 0;
  branchsae::LoadOptions options;
  options.max_constant_bytes = int64_t{64} << 20;
  try {
    branchsae::load_onnx("/proc/self/fd/" + std::to_string(file), options);
  } catch (const branchsae::InputError&) {
  }
  ::close(file);
  return 0;
}
