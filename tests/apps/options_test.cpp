#include <doctest/doctest.h>

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <fstream>

#include "apps/argument_list.h"
#include "apps/config_file.h"
#include "apps/option_set.h"
#include "engine/error.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::apps;

namespace {

using Words = std::vector<std::string>;

/// A command with an option of each kind.
struct Command {
  CLI::App app{"test", "test"};
  OptionSet options{app};
  std::string model, out;
  Words images, taps;
  std::vector<int64_t> ks;
  int64_t k = 32, memory = 0;
  double rate = 0.5;
  bool strict = false;

  Command() {
    app.allow_extras();
    options.positional("MODEL", model, "");
    options.positionals("IMAGES", images, "");
    options.list("--tap", taps, "TAP", "");
    options.text("--out", out, "DIR", "");
    options.count("--k", k, 1, 64, "");
    options.counts("--many-k", ks, 1, 64, "");
    options.real("--rate", rate, 0, 1, "");
    options.bytes("--max-memory", memory, "");
    options.flag("--strict", strict, "");
  }
  void parse(Words words, const ConfigValues* config = nullptr) {
    words = expand_lists(words, options);
    std::reverse(words.begin(), words.end());
    app.parse(words);
    options.resolve(config);
  }
};

struct Environment {
  std::string name;
  Environment(std::string variable, const char* value) : name(std::move(variable)) {
    ::setenv(name.c_str(), value, 1);
  }
  ~Environment() { ::unsetenv(name.c_str()); }
};

std::string failure(Words words, const ConfigValues* config = nullptr) {
  Command command;
  try {
    command.parse(std::move(words), config);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::filesystem::path write(const std::string& text) {
  const auto path = test::temporary_folder() / "options.toml";
  std::ofstream(path) << text;
  return path;
}

}  // namespace

TEST_CASE("lists may be repeated, joined by commas or follow one another") {
  const Words expected = {"a", "b", "c"};
  for (const Words& words :
       {Words{"M", "I", "--tap", "a", "b", "c"}, Words{"--tap", "a,b", "M", "--tap", "c", "I"},
        Words{"--tap", "a", "b", "c", "M", "I"}, Words{"M", "--tap", "a", "b", "--tap=c", "I"},
        Words{"--tap", "a", "b", "c", "--k", "3", "M", "I"}, Words{"--tap", "a,b,c", "--", "M", "I"}}) {
    Command command;
    command.parse(words);
    CAPTURE(CLI::detail::join(words, " "));
    CHECK(command.taps == expected);
    CHECK(command.model == "M");
    CHECK(command.images == Words{"I"});
  }
}

TEST_CASE("several images are several arguments") {
  Command command;
  command.parse({"M", "1.png", "2.png", "--tap", "a", "--strict"});
  CHECK(command.images == Words{"1.png", "2.png"});
  CHECK(command.strict);
}

TEST_CASE("flag before environment before file before default") {
  const ConfigValues config = {{"k", {"7"}}, {"rate", {"0.25"}}, {"tap", {"x", "y"}}};
  const Environment k("BRANCHSAE_K", "8"), memory("BRANCHSAE_MAX_MEMORY", "2KiB"),
      empty("BRANCHSAE_RATE", "");
  const Environment strict("BRANCHSAE_STRICT", "yes");
  {
    Command command;
    command.parse({"M", "I", "--k", "9"}, &config);
    CHECK(command.k == 9);
    CHECK(command.options.source("k") == OptionSet::Source::kFlag);
  }
  Command command;
  command.parse({"M", "I"}, &config);
  CHECK(command.k == 8);
  CHECK(command.options.source("k") == OptionSet::Source::kEnvironment);
  CHECK(command.rate == 0.25);  // an empty variable says nothing
  CHECK(command.options.source("rate") == OptionSet::Source::kConfig);
  CHECK(command.taps == Words{"x", "y"});
  CHECK(command.memory == 2048);
  CHECK(command.strict);
  CHECK(command.options.source("out") == OptionSet::Source::kDefault);
  CHECK_FALSE(command.options.given("out"));
}

TEST_CASE("the last of a repeated option counts") {
  Command command;
  command.parse({"M", "I", "--k", "3", "--k=4"});
  CHECK(command.k == 4);
}

TEST_CASE("resolved options are all there") {
  Command command;
  command.parse({"M", "I", "--k", "3", "--tap", "a,b"});
  const Json resolved = command.options.resolved();
  CHECK(resolved["k"] == 3);
  CHECK(resolved["tap"] == Json({"a", "b"}));
  CHECK(resolved["rate"] == 0.5);
  CHECK(resolved["strict"] == false);
  CHECK(resolved["MODEL"] == "M");
}

TEST_CASE("bad values name the option, its bounds and where the value came from") {
  CHECK(failure({"--k", "0"}) == "--k must be a whole number from 1 to 64, not '0'");
  CHECK(failure({"--k", "3.5"}) == "--k must be a whole number from 1 to 64, not '3.5'");
  CHECK(failure({"--k", "-1"}) == "--k must be a whole number from 1 to 64, not '-1'");
  CHECK(failure({"--many-k", "3,x"}) == "--many-k must be a whole number from 1 to 64, not 'x'");
  CHECK(failure({"--rate", "nan"}) == "--rate must be a number from 0 to 1, not 'nan'");
  CHECK(failure({"--tap", "a,,b"}) == "--tap has an empty entry in 'a,,b'");
  CHECK(failure({"--max-memory", "lots"}).find("--max-memory must be a size") == 0);
  CHECK(failure({"--out", ""}) == "--out must not be empty");
  const ConfigValues config = {{"k", {"99"}}};
  CHECK(failure({}, &config).find("--k (from the configuration file) must") == 0);
  const Environment k("BRANCHSAE_K", "many");
  CHECK(failure({}).find("--k (from BRANCHSAE_K) must") == 0);
}

TEST_CASE("a configuration file has options for all commands and sections for one") {
  Command first, second;
  std::string only_second;
  second.options.text("--only-second", only_second, "X", "");
  const std::vector<std::pair<std::string, const OptionSet*>> commands = {{"one", &first.options},
                                                                          {"two", &second.options}};
  const auto path =
      write("k = 5\nmax_memory = \"1GiB\"\nonly-second = \"x\"\n[one]\nk = 6\ntap = [\"a\", \"b\"]\n");
  const ConfigValues one = read_config(path, "one", commands);
  CHECK(one.at("k") == Words{"6"});
  CHECK(one.at("tap") == Words{"a", "b"});
  CHECK(one.at("max-memory") == Words{"1GiB"});
  CHECK(read_config(path, "two", commands).at("k") == Words{"5"});
  CHECK_THROWS_AS(read_config(write("kk = 5\n"), "one", commands), InputError);
  CHECK_THROWS_AS(read_config(write("[three]\nk = 5\n"), "one", commands), InputError);
  CHECK_THROWS_AS(read_config(write("[one]\nonly-second = 5\n"), "two", commands), InputError);
  CHECK_THROWS_AS(read_config("/nonexistent/file", "one", commands), InputError);
}
