#include "model/checkpoint.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>

#include "engine/error.h"
#include "engine/files.h"
#include "model/run_files.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::model;
namespace fs = std::filesystem;

namespace {

std::vector<CheckpointStore::File> files_with(const std::string& text) {
  return {{"a/sae", [text](const fs::path& path) { write_text(path, text); }},
          {"b/sae", [text](const fs::path& path) { write_text(path, text + text); }}};
}

void overwrite(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

}  // namespace

TEST_CASE("the newest generation is found again, the one before is kept, older ones go") {
  const fs::path run = test::temporary_folder();
  CheckpointStore store(run);
  CHECK_FALSE(store.choose_verified());
  for (int64_t step : {10, 20, 30}) {
    store.commit(step, files_with(std::to_string(step)));
    store.remove_others();
  }
  CHECK_FALSE(fs::exists(store.folder(10)));
  CHECK(fs::exists(store.folder(20)));
  CheckpointStore again(run);
  const auto newest = again.choose_verified();
  REQUIRE(newest);
  CHECK(newest->step == 30);
  CHECK(newest->files.size() == 2);
  CHECK(newest->files.at("a/sae") == sha256_of_file(store.folder(30) / "a/sae"));
}

TEST_CASE("a damaged generation makes way for the one before") {
  const fs::path run = test::temporary_folder();
  CheckpointStore store(run);
  store.commit(10, files_with("ten"));
  store.commit(20, files_with("twenty"));
  SUBCASE("changed") {
    overwrite(store.folder(20) / "b/sae", "twentytwentz");
  }
  SUBCASE("cut off") {
    overwrite(store.folder(20) / "a/sae", "");
  }
  SUBCASE("missing") {
    fs::remove(store.folder(20) / "a/sae");
  }
  SUBCASE("folder missing") {
    fs::remove_all(store.folder(20));
  }
  CheckpointStore again(run);
  CHECK(again.choose_verified()->step == 10);
  // The next commit keeps the good one as the one before, not the damaged one.
  again.commit(20, files_with("anew"));
  overwrite(again.folder(20) / "a/sae", "spoilt");
  CHECK(CheckpointStore(run).choose_verified()->step == 10);
}

TEST_CASE("without a usable generation there is an error") {
  const fs::path run = test::temporary_folder();
  CheckpointStore store(run);
  store.commit(10, files_with("ten"));
  overwrite(store.folder(10) / "a/sae", "x");
  CHECK_THROWS_AS(CheckpointStore(run).choose_verified(), InputError);
  overwrite(run / "checkpoint.json", "{\"current\": {\"step\": ");
  CHECK_THROWS_AS(CheckpointStore{run}, InputError);
  overwrite(run / "checkpoint.json", R"({"current": {"step": 1, "files": {"../../etc/passwd": "0"}}})");
  CHECK_THROWS_AS(CheckpointStore{run}, InputError);
}

TEST_CASE("what a killed process left under the same step is replaced") {
  const fs::path run = test::temporary_folder();
  CheckpointStore store(run);
  fs::create_directories(store.folder(10) / "a");
  overwrite(store.folder(10) / "a/other", "left over");
  store.commit(10, files_with("ten"));
  CHECK_FALSE(fs::exists(store.folder(10) / "a/other"));
  CHECK(CheckpointStore(run).choose_verified()->step == 10);
}

TEST_CASE("links replace what was there, also by the same file") {
  const fs::path folder = test::temporary_folder();
  write_text(folder / "from", "new");
  write_text(folder / "to", "old");
  for (int i = 0; i < 2; ++i) {
    link_or_copy(folder / "from", folder / "to");
    CHECK(read_file(folder / "to") == "new");
    CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 2);
  }
}

TEST_CASE("only what cut-off writes leave is cleared away") {
  const fs::path folder = test::temporary_folder();
  // No process has a number above 2^22.
  const std::string running = "d.json.tmp" + std::to_string(::getppid());
  for (const std::string& name :
       {std::string("a.json.tmp5000000"), std::string("a.json"), std::string("b.tmp"),
        std::string("c.tmp12x"), std::string(".tmp5000000"), running})
    write_text(folder / name, "x");
  fs::create_directory(folder / "staged.tmp5000000");
  remove_leftovers(folder);
  CHECK_FALSE(fs::exists(folder / "a.json.tmp5000000"));
  CHECK_FALSE(fs::exists(folder / ".tmp5000000"));
  for (const char* name : {"a.json", "b.tmp", "c.tmp12x", running.c_str(), "staged.tmp5000000"})
    CHECK(fs::exists(folder / name));
}
