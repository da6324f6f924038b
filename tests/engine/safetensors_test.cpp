#include "engine/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;

namespace {

SafeTensors sample() {
  SafeTensors contents;
  HostTensor w({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  contents.tensors["W"] = SafeTensor::from(w);
  contents.tensors["fired"] = SafeTensor::from(std::vector<int64_t>{7, -8});
  contents.metadata = {{"k", "32"}, {"tap", "mixed4c.5x5"}};
  return contents;
}

void write_with_header(const fs::path& path, const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  write_file_atomically(path, file + header + data);
}

}  // namespace

TEST_CASE("tensors and metadata survive a round trip, equal contents give equal bytes") {
  const fs::path folder = test::temporary_folder();
  write_safetensors(folder / "a", sample());
  write_safetensors(folder / "b", sample());
  CHECK(read_file(folder / "a") == read_file(folder / "b"));
  const SafeTensors read = read_safetensors(folder / "a");
  CHECK(read.metadata == sample().metadata);
  const HostTensor w = read.at("W").to_host_tensor("W");
  CHECK(w.shape() == Shape{2, 3});
  CHECK(w[5] == 6.0F);
  CHECK(read.at("fired").to_int64("fired") == std::vector<int64_t>{7, -8});
  CHECK_THROWS_AS(read.at("V"), InputError);
  CHECK_THROWS_AS(read.at("W").to_int64("W"), InputError);
}

TEST_CASE("every truncation is refused") {
  const fs::path folder = test::temporary_folder();
  write_safetensors(folder / "a", sample());
  const std::string whole = read_file(folder / "a");
  for (size_t cut = 0; cut < whole.size(); cut += 3) {
    write_file_atomically(folder / "cut", whole.substr(0, cut));
    CHECK_THROWS_AS(read_safetensors(folder / "cut"), InputError);
  }
}

TEST_CASE("headers that lie are refused") {
  const fs::path path = test::temporary_folder() / "x";
  const std::string data(16, '\0');
  const auto refuses = [&](const std::string& header) {
    CAPTURE(header);
    write_with_header(path, header, data);
    CHECK_THROWS_AS(read_safetensors(path), InputError);
  };
  refuses("not json");
  refuses("[1, 2]");
  refuses(R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}})");   // leaves the file
  refuses(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})");   // shape too small
  refuses(R"({"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})");  // negative
  refuses(R"({"a":{"dtype":"F31","shape":[4],"data_offsets":[0,16]}})");   // unknown type
  refuses(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})");   // backwards
  refuses(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}})");  // overflow
  refuses(R"({"a":{"dtype":"F32","shape":[4]}})");                                            // no offsets
  refuses(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})");
}
