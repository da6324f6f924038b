/// A run survives the failure of any single change to its files, and a kill at any of them.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "engine/error.h"
#include "engine/files.h"
#include "model/checkpoint.h"
#include "model/run_files.h"
#include "tests/model/train_fixture.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

constexpr int kKilled = 42;
constexpr int64_t kSteps = 8;

TrainOptions faulty_options(const fs::path& out) {
  TrainOptions options = small_options(out);
  // Short, as every write waits for the disk; three generations, so that the oldest is removed.
  options.taps = {"a"};
  options.tokens = kSteps * options.batch;
  options.checkpoint_every = {3, 0};
  return options;
}

/// Sets a hook for a scope.
struct Hook {
  explicit Hook(model::FileHook hook) { model::set_file_hook(std::move(hook)); }
  ~Hook() { model::set_file_hook({}); }
};

int64_t count_changes(const FakeImages& images) {
  int64_t changes = 0;
  const Hook hook([&](const char*, const fs::path&) { ++changes; });
  run_job(faulty_options(temporary_folder() / "run"), images);
  return changes;
}

/// The newest committed checkpoint verifies; then the run is finished and compared.
void check_recovers(const fs::path& run, const FakeImages& images,
                    const std::map<std::string, std::string>& expected) {
  TrainOptions options = faulty_options(run);
  if (fs::exists(run / "checkpoint.json")) CHECK(model::CheckpointStore(run).choose_verified());
  options.resume = fs::exists(run / "run.json");
  const TrainResult result = run_job(options, images);
  CHECK(result.step == kSteps);
  CHECK(result_files(run) == expected);
}

}  // namespace

TEST_CASE("any one change that fails is an error, and the run goes on from its last checkpoint") {
  const FakeImages images(40);
  const fs::path whole = temporary_folder() / "run";
  run_job(faulty_options(whole), images);
  const auto expected = result_files(whole);
  const int64_t changes = count_changes(images);
  CHECK(changes > 35);
  for (int64_t failing = 1; failing <= changes; ++failing) {
    CAPTURE(failing);
    const fs::path run = temporary_folder() / "run";
    int64_t seen = 0;
    std::string operation;
    {
      const Hook hook([&](const char* name, const fs::path& path) {
        if (++seen != failing) return;
        operation = std::string(name) + " " + path.filename().string();
        throw IoError("disk full");
      });
      CHECK_THROWS_AS(run_job(faulty_options(run), images), IoError);
    }
    CAPTURE(operation);
    check_recovers(run, images, expected);
  }
}

TEST_CASE("a kill at any change loses nothing that was committed") {
  const FakeImages images(40);
  const fs::path whole = temporary_folder() / "run";
  run_job(faulty_options(whole), images);
  const auto expected = result_files(whole);
  const int64_t changes = count_changes(images);
  for (int64_t failing = 1; failing <= changes; failing += 3) {
    CAPTURE(failing);
    const fs::path run = temporary_folder() / "run";
    const pid_t child = ::fork();
    if (child == 0) {
      int64_t seen = 0;
      model::set_file_hook([&](const char*, const fs::path&) {
        if (++seen == failing) ::_exit(kKilled);  // no destructor, no flush
      });
      run_job(faulty_options(run), images);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == kKilled);
    check_recovers(run, images, expected);
  }
}

TEST_CASE("a file that cannot grow is a full disk: one line, and the checkpoint before stays") {
  const FakeImages images(40);
  const fs::path whole = temporary_folder() / "run";
  run_job(faulty_options(whole), images);
  const auto expected = result_files(whole);
  const fs::path run = temporary_folder() / "run";
  run_job(faulty_options(run), images, stop_after(4));
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1500, 1500};  // sae.safetensors of 8 x 16 floats with its header is larger
    ::setrlimit(RLIMIT_FSIZE, &limit);
    TrainOptions options = faulty_options(run);
    options.resume = true;
    try {
      run_job(options, images);
    } catch (const IoError&) {
      ::_exit(kKilled);
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == kKilled);
  CHECK(model::CheckpointStore(run).choose_verified()->step == 4);
  check_recovers(run, images, expected);
}
