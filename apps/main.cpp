#include "apps/application.h"
#include "apps/commands/commands.h"

int main(int argc, char** argv) {
  branchsae::apps::Application application;
  branchsae::apps::add_all_commands(application);
  return application.run(argc, argv);
}
