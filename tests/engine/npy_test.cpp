#include "engine/npy.h"

#include <doctest/doctest.h>

#include <vector>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;

namespace {
std::span<const char> bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
}  // namespace

TEST_CASE("what is written in rows is read back") {
  const fs::path path = test::temporary_folder() / "x.npy";
  const std::vector<float> rows = {1, 2, 3, 4, 5, 6};
  NpyWriter writer(path, "<f4", {2});
  writer.append(bytes_of(rows));
  writer.append(bytes_of({7, 8}));
  CHECK_FALSE(fs::exists(path));
  writer.finish();
  const NpyHeader header = read_npy_header(path);
  CHECK(header.dtype == "<f4");
  CHECK(header.shape == Shape{4, 2});
  CHECK(header.data_offset % 64 == 0);  // numpy aligns its data so; memory maps profit
  CHECK(read_file(path).size() == static_cast<size_t>(header.data_offset) + 8 * sizeof(float));
}

TEST_CASE("an unfinished writer leaves nothing behind") {
  const fs::path folder = test::temporary_folder();
  {
    NpyWriter writer(folder / "x.npy", "<f4", {2});
    writer.append(bytes_of({1, 2}));
  }
  CHECK(fs::is_empty(folder));
}

TEST_CASE("rows that are not whole are refused") {
  NpyWriter writer(test::temporary_folder() / "x.npy", "<f4", {2});
  writer.append(bytes_of({1, 2, 3}));
  CHECK_THROWS_AS(writer.finish(), ShapeError);
}

TEST_CASE("scalars-per-row and one-dimensional shapes") {
  const fs::path path = test::temporary_folder() / "x.npy";
  write_npy(path, "<f4", {3}, bytes_of({1, 2, 3}));
  CHECK(read_npy_header(path).shape == Shape{3});
}

TEST_CASE("files that are no usable .npy") {
  const fs::path folder = test::temporary_folder();
  const fs::path good = folder / "good.npy";
  write_npy(good, "<f4", {2, 2}, bytes_of({1, 2, 3, 4}));
  const std::string contents = read_file(good);
  const auto refuses = [&](std::string text) {
    write_file_atomically(folder / "bad.npy", text);
    CHECK_THROWS_AS(read_npy_header(folder / "bad.npy"), InputError);
  };
  for (size_t cut : {0, 5, 9, 40, 127, 130}) refuses(contents.substr(0, cut));  // truncated anywhere
  std::string fortran = contents;
  fortran.replace(fortran.find("False"), 5, "True ");
  refuses(fortran);
  std::string huge = contents;
  huge.replace(huge.find("(2, 2)"), 6, "(9999999999999, 9999999)");
  refuses(huge);
  std::string object = contents;
  object.replace(object.find("<f4"), 3, "|O8");
  refuses(object);
  CHECK_THROWS_AS(read_npy_header(folder), InputError);
  CHECK_THROWS_AS(read_npy_header(folder / "none.npy"), InputError);
}
