#include "apps/application.h"
#include "apps/commands/commands.h"
#include "cpu/waiting.h"

int main(int argc, char** argv) {
  branchsae::cpu::wait_briefly(argv);
  branchsae::apps::Application application;
  branchsae::apps::add_all_commands(application);
  return application.run(argc, argv);
}
