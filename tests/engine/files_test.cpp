#include "engine/files.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/error.h"
#include "tests/test_data.h"

namespace fs = std::filesystem;
using namespace branchsae;

TEST_CASE("sha256 of the standard's own examples") {  // FIPS 180-4
  const std::string abc = "abc";
  CHECK(sha256_of(abc) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of(std::string()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("a file written atomically holds the bytes and leaves nothing else behind") {
  const fs::path folder = test::temporary_folder();
  write_file_atomically(folder / "a", std::string("first"));
  write_file_atomically(folder / "a", std::string("second"));
  CHECK(read_file(folder / "a") == "second");
  CHECK(sha256_of_file(folder / "a") == sha256_of(std::string("second")));
  CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 1);
}

TEST_CASE("a failing writer keeps the old file and removes the temporary one") {
  const fs::path folder = test::temporary_folder();
  write_file_atomically(folder / "a", std::string("old"));
  CHECK_THROWS(write_file_atomically(folder / "a", [](std::ostream& stream) {
    stream << "half";
    throw std::runtime_error("stop");
  }));
  CHECK(read_file(folder / "a") == "old");
  CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 1);
}

TEST_CASE("a folder that is missing is an IoError that names the file") {
  const fs::path folder = test::temporary_folder();
  try {
    write_file_atomically(folder / "missing" / "a", std::string("x"));
    FAIL("no error");
  } catch (const IoError& error) {
    CHECK(std::string(error.what()).find("missing/a") != std::string::npos);
    CHECK(error.exit_code() == 1);
  }
}

TEST_CASE("a disk that fills up keeps the old file") {
  const fs::path folder = test::temporary_folder();
  write_file_atomically(folder / "a", std::string("old"));
  CHECK_THROWS_AS(
      write_file_atomically(folder / "a", [](std::ostream& stream) { stream.setstate(std::ios::badbit); }),
      IoError);
  CHECK(read_file(folder / "a") == "old");
}

TEST_CASE("reading: missing files, folders and caps") {
  const fs::path folder = test::temporary_folder();
  CHECK_THROWS_AS(read_file(folder / "none"), InputError);
  CHECK_THROWS_AS(read_file(folder), InputError);
  write_file_atomically(folder / "ten", std::string("0123456789"));
  CHECK_THROWS_AS(read_file(folder / "ten", 9), InputError);
  CHECK(read_file(folder / "ten", 10).size() == 10);
}

TEST_CASE("a file where a folder is expected") {
  const fs::path folder = test::temporary_folder();
  write_file_atomically(folder / "file", std::string("x"));
  CHECK_THROWS_AS(make_writable_folder(folder / "file"), InputError);
  CHECK_THROWS_AS(make_writable_folder(folder / "file" / "below"), InputError);
  make_writable_folder(folder / "new" / "deep");
  CHECK(fs::is_directory(folder / "new" / "deep"));
}

TEST_CASE("what is left of a killed process is told from what another one writes") {
  const pid_t ended = ::fork();
  if (ended == 0) ::_exit(0);
  REQUIRE(::waitpid(ended, nullptr, 0) == ended);
  CHECK(is_leftover("a.json.tmp" + std::to_string(ended)));
  CHECK_FALSE(is_leftover("a.json.tmp" + std::to_string(::getppid())));
  // A number that was given again: what has our name was not made by us.
  CHECK(is_leftover(temporary_beside("folder/a").filename().string()));
  CHECK(is_leftover(".tmp99999999999999999999"));
  for (const char* name : {"a.json", "b.tmp", "c.tmp12x", "d.tmp-1", "", "tmp12"})
    CHECK_FALSE(is_leftover(name));
}
