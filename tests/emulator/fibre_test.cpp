#include "tests/emulator/fibre.h"

#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

using branchsae::emulator::Fibre;
using branchsae::emulator::FibreStacks;

namespace {

struct Player {
  Fibre fibre;
  Fibre* host = nullptr;
  std::string* log = nullptr;
  int name = 0;
  double sum = 0;
};

/// Registers that a call must keep, the stack and an exception survive switches.
void play(void* argument) {
  auto* self = static_cast<Player*>(argument);
  Fibre::arrived(self->fibre);
  std::array<double, 100> values;
  std::iota(values.begin(), values.end(), self->name);
  for (int round = 0; round < 3; ++round) {
    try {
      *self->log += std::to_string(self->name);
      Fibre::switch_to(self->fibre, *self->host);
      throw std::runtime_error("thrown on a fibre");
    } catch (const std::runtime_error&) {
      self->sum += std::accumulate(values.begin(), values.end(), 0.0);
    }
  }
  for (;;) Fibre::switch_to(self->fibre, *self->host);
}

}  // namespace

TEST_CASE("fibres take turns and keep what is theirs") {
  FibreStacks stacks;
  Fibre host;
  std::string log;
  std::vector<Player> players(3);
  for (int i = 0; i < 3; ++i) {
    Player& player = players[static_cast<std::size_t>(i)];
    player.host = &host;
    player.log = &log;
    player.name = i;
    player.fibre.prepare(stacks.get(static_cast<std::size_t>(i)), FibreStacks::bytes(), play, &player);
  }
  for (int round = 0; round < 4; ++round) {
    for (Player& player : players) Fibre::switch_to(host, player.fibre);
  }
  CHECK(log == "012012012");
  for (const Player& player : players) CHECK(player.sum == 3 * (4950 + 100 * player.name));
}

TEST_CASE("a stack can be used again from the start") {
  FibreStacks stacks;
  Fibre host;
  std::string log;
  for (int i = 0; i < 1000; ++i) {
    Player player{{}, &host, &log, i % 10, 0};
    player.fibre.prepare(stacks.get(0), FibreStacks::bytes(), play, &player);
    for (int round = 0; round < 4; ++round) Fibre::switch_to(host, player.fibre);
    CHECK(player.sum == 3 * (4950 + 100 * (i % 10)));
  }
  CHECK(log.size() == 3000);
}
