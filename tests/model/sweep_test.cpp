// Several runs trained from the same tokens.
#include "model/sweep.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

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

const std::vector<SweepMember> kMembers = {{"k=2,lr=1e-3", R"({"k":2,"lr":0.001})"},
                                           {"k=2,lr=auto", R"({"k":2,"lr":0})"},
                                           {"k=5,lr=1e-3", R"({"k":5,"lr":0.001})"},
                                           {"expansion=3", R"({"expansion":3,"tied":false})"}};

/// On both taps, which have grids of one size.
TrainOptions sweep_options(const fs::path& out) {
  TrainOptions options = small_options(out);
  options.sweep = kMembers;
  return options;
}

TrainOptions resumed(TrainOptions options) {
  options.resume = true;
  return options;
}

/// Of every member, by its name and the file's.
std::map<std::string, std::string> sweep_files(const TrainOptions& options) {
  std::map<std::string, std::string> files;
  for (const SweepMember& member : options.sweep) {
    for (const auto& [path, bytes] : result_files(options.out / "sweep" / member.name))
      files[member.name + "/" + path] = bytes;
  }
  return files;
}

/// What the members' runs end with when each is made alone.
std::map<std::string, std::string> files_made_alone(const TrainOptions& options, const FakeImages& images) {
  std::map<std::string, std::string> files;
  for (const SweepMember& member : options.sweep) {
    TrainOptions alone = member_options(options, member);
    alone.out = temporary_folder() / "run";
    run_job(alone, images);
    for (const auto& [path, bytes] : result_files(alone.out)) files[member.name + "/" + path] = bytes;
  }
  return files;
}

std::string refusal(const TrainOptions& options) {
  try {
    check_options(options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string status_of(const fs::path& run) {
  return read_run(run).status;
}

}  // namespace

TEST_CASE("each member of a sweep has the bytes of the same run made alone, from one forward pass") {
  FakeImages images(40);
  images.unreadable = {{5, "broken"}};
  const TrainOptions options = sweep_options(temporary_folder() / "run");
  FakeControl control;
  const TrainResult result =
      train(fake_device(control), fake_graph(), images, options, RunOrigin{}, TrainCallbacks{});
  FakeControl alone;
  TrainOptions one = member_options(options, kMembers[0]);
  one.out = temporary_folder() / "run";
  train(fake_device(alone), fake_graph(), images, one, RunOrigin{}, TrainCallbacks{});
  CHECK(control.images_run == alone.images_run);

  CHECK(sweep_files(options) == files_made_alone(options, images));
  CHECK(result.taps.empty());
  REQUIRE(result.members.size() == 4);
  for (const MemberResult& member : result.members) {
    CHECK(member.failure.empty());
    REQUIRE(member.taps.size() == 2);
    for (const TapResult& tap : member.taps) CHECK(tap.held_out->fvu > 0);
    CHECK(status_of(member.folder) == "finished");
  }
  CHECK(result.members[2].taps[0].tap.k == 5);
  CHECK(result.members[3].taps[0].tap.n == 3 * result.members[3].taps[0].tap.d);
  const RunInfo info = read_run(options.out);
  CHECK(info.taps.empty());
  REQUIRE(info.members.size() == 4);
  CHECK(info.members[1].name == "k=2,lr=auto");
  CHECK(info.members[1].status == "finished");
  std::istringstream table(read_file(options.out / "sweep.csv"));
  int lines = 0;
  for (std::string line; std::getline(table, line); ++lines) CHECK(std::ranges::count(line, ',') >= 12);
  CHECK(lines == 1 + 4 * 2);
}

TEST_CASE("a sweep goes on exactly, all members or one alone") {
  const FakeImages images(40);
  const TrainOptions options = sweep_options(temporary_folder() / "run");
  run_job(options, images);
  const auto expected = sweep_files(options);
  for (const int64_t stop : {0, 1, 6, 7, 13}) {
    CAPTURE(stop);
    TrainOptions again = options;
    again.out = temporary_folder() / "run";
    CHECK(run_job(again, images, stop_after(stop)).stopped);
    CHECK(status_of(again.out) == "stopped");
    CHECK(run_job(resumed(again), images).step == 14);
    CHECK(sweep_files(again) == expected);
  }
  TrainOptions again = options;
  again.out = temporary_folder() / "run";
  run_job(again, images, stop_after(5));
  TrainOptions ahead = member_options(resumed(again), kMembers[1]);
  CHECK(run_job(ahead, images, stop_after(9)).step == 9);
  CHECK(run_job(resumed(again), images).step == 14);  // the one that is ahead waits for the others
  CHECK(sweep_files(again) == expected);
  std::istringstream metrics(read_file(ahead.out / "a" / "metrics.jsonl"));
  int lines = 0;
  for (std::string line; std::getline(metrics, line);) ++lines;
  CHECK(lines == 4);
}

TEST_CASE("a sweep survives a kill at any change of its files") {
  const FakeImages images(40);
  TrainOptions options = small_options(temporary_folder() / "run");
  options.taps = {"a"};
  options.tokens = 5 * options.batch;
  options.checkpoint_every = {2, 0};
  options.sweep = {kMembers[0], kMembers[2]};
  int64_t changes = 0;
  model::set_file_hook([&](const char*, const fs::path&) { ++changes; });
  run_job(options, images);
  model::set_file_hook({});
  const auto expected = sweep_files(options);
  CHECK(changes > 50);
  for (int64_t failing = 1; failing <= changes; failing += 2) {
    CAPTURE(failing);
    TrainOptions again = options;
    again.out = temporary_folder() / "run";
    const pid_t child = ::fork();
    if (child == 0) {
      int64_t seen = 0;
      model::set_file_hook([&](const char*, const fs::path&) {
        if (++seen == failing) ::_exit(42);  // no destructor, no flush
      });
      run_job(again, images);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WEXITSTATUS(status) == 42);
    again.resume = fs::exists(again.out / "run.json");
    CHECK(run_job(again, images).step == 5);
    CHECK(sweep_files(again) == expected);
  }
}

TEST_CASE("a member that meets NaN is given up, and the others go on as if it were not there") {
  const FakeImages images(40);
  TrainOptions options = sweep_options(temporary_folder() / "run");
  options.checkpoint_every = {4, 0};
  TrainOptions wild = options;
  wild.sweep = {kMembers[0], {"lr=1e3", R"({"lr":1000})"}, kMembers[2]};
  const TrainResult result = run_job(wild, images);
  REQUIRE(result.members.size() == 3);
  CHECK(mentions(result.members[1].failure, "tap 'a' met NaN at step 6"));
  CHECK(status_of(result.members[1].folder) == "failed");
  CHECK(read_run(result.members[1].folder).failure == result.members[1].failure);
  CHECK(read_run(wild.out).members[1].status == "failed");
  CHECK(status_of(wild.out) == "finished");
  CHECK_FALSE(fs::exists(result.members[1].folder / "a" / "eval.json"));
  for (const size_t good : {size_t{0}, size_t{2}}) {
    TrainOptions alone = member_options(wild, wild.sweep[good]);
    alone.out = temporary_folder() / "run";
    run_job(alone, images);
    CHECK(result_files(result.members[good].folder) == result_files(alone.out));
  }
  // It stays out when the others go on.
  TrainOptions more = resumed(wild);
  more.tokens = 16 * 24;
  const TrainResult later = run_job(more, images);
  CHECK(later.step == 16);
  CHECK(later.members[1].failure == result.members[1].failure);
  CHECK(read_run(later.members[0].folder).step == 16);

  wild.out = temporary_folder() / "run";
  wild.sweep = {wild.sweep[1]};
  CHECK_THROWS_WITH_AS(run_job(wild, images), doctest::Contains("all 1 members of the sweep failed"),
                       NumericError);
  CHECK_THROWS_AS(run_job(resumed(wild), images), NumericError);
}

TEST_CASE("sweeps that cannot be are refused, and nothing is written") {
  TrainOptions options = sweep_options(temporary_folder() / "run");
  CHECK(refusal(options).empty());
  const auto with = [&](std::vector<SweepMember> members) {
    TrainOptions other = options;
    other.sweep = std::move(members);
    return refusal(other);
  };
  CHECK(mentions(with({{"tokens=1M", R"({"tokens":1000000})"}}), "cannot vary 'tokens'"));
  CHECK(mentions(with({{"seed=1", R"({"seed":1})"}}), "it can vary k, expansion, lr"));
  CHECK(mentions(with({{"k=2", R"({"k":2})"}, {"k=2", R"({"k":3})"}}), "k=2"));
  CHECK(mentions(with({{"lr=1e-3", R"({"lr":0.001})"}, {"lr=0.001", R"({"lr":0.001})"}}),
                 "lr=0.001 and lr=1e-3"));
  CHECK(mentions(with({{"../k", R"({"k":2})"}}), "'../k' cannot be the name"));
  CHECK(mentions(with({{"k", "{}"}}), "changes nothing"));
  CHECK(mentions(with({{"k=0", R"({"k":0})"}}), "sweep member k=0: --k must be in 1"));
  std::vector<SweepMember> many;
  for (int i = 1; i <= 257; ++i)
    many.push_back({"k=" + std::to_string(i), R"({"k":)" + std::to_string(i) + "}"});
  CHECK(mentions(with(many), "257 combinations; at most 256"));

  const FakeImages images(40);
  const auto job_refusal = [&](const TrainOptions& wanted) {
    try {
      run_job(wanted, images);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  TrainOptions large = options;
  large.max_memory = 30'000;  // enough for one member
  CHECK(mentions(job_refusal(large), "8 autoencoders of 4 sweep members"));
  large.sweep = {kMembers[0]};
  large.out = temporary_folder() / "run";
  CHECK(job_refusal(large).empty());
  options.sweep[0].changes = R"({"k":17})";  // more than there are latents
  CHECK(mentions(job_refusal(options), "1..n = 16"));
  CHECK_FALSE(fs::exists(options.out));
}

TEST_CASE("going on with another sweep is refused") {
  const FakeImages images(40);
  const TrainOptions options = sweep_options(temporary_folder() / "run");
  run_job(options, images, stop_after(3));
  TrainOptions other = resumed(options);
  other.sweep.pop_back();
  CHECK_THROWS_WITH_AS(run_job(other, images), doctest::Contains("another --sweep"), InputError);
  CHECK_THROWS_WITH_AS(run_job(options, images), doctest::Contains("--resume"), InputError);
  CHECK(run_job(resumed(options), images).step == 14);
}
