#include "tests/apps/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <stdexcept>

extern char** environ;

namespace branchsae::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> environment_of(const ProcessOptions& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    // Options must come from the test alone.
    if (std::strncmp(*entry, "BRANCHSAE_", 10) != 0) all.emplace_back(*entry);
  }
  // Two threads that wait for each other at every layer take seconds when the machine is busy otherwise.
  if (!options.environment.contains("BRANCHSAE_THREADS")) all.emplace_back("BRANCHSAE_THREADS=1");
  for (const auto& [name, value] : options.environment) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

/// In the child: only calls that are safe after fork.
[[noreturn]] void become(char** arguments, char** environment, const ProcessOptions& options, int out,
                         int err) {
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
  if (options.largest_file > 0) {
    const auto size = static_cast<rlim_t>(options.largest_file);
    const rlimit limit{size, size};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ::dup2(err, STDERR_FILENO);
  if (options.out == "closed") {
    ::close(STDOUT_FILENO);
  } else {
    ::dup2(out, STDOUT_FILENO);
  }
  ::execve(BRANCHSAE_BINARY, arguments, environment);
  ::_exit(127);
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() { close_one(read); }
  void close_write() { close_one(write); }

 private:
  static void close_one(int& descriptor) {
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }
};

bool has_appeared(const std::filesystem::path& file) {
  std::string prefix = file.filename().string();
  if (!prefix.ends_with('*')) return std::filesystem::exists(file);
  prefix.pop_back();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(file.parent_path(), ignored)) {
    if (entry.path().filename().string().starts_with(prefix)) return true;
  }
  return false;
}

/// Reads both pipes to their ends; sends the signal when its text shows up.
void collect(pid_t child, Pipe& out, Pipe& err, const ProcessOptions& options, ProcessResult& result) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  const bool by_text = !options.signal_when.empty(), by_file = !options.signal_when_file.empty();
  int signals_left = by_text || by_file ? options.signals : 0;
  bool killed = false;
  while (out.read >= 0 || err.read >= 0) {
    std::array<pollfd, 2> polled = {pollfd{out.read, POLLIN, 0}, pollfd{err.read, POLLIN, 0}};
    ::poll(polled.data(), polled.size(), 20);
    for (const auto& [descriptor, events, revents] : polled) {
      if (revents == 0) continue;
      std::array<char, 65536> buffer{};
      const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
      Pipe& pipe = descriptor == out.read ? out : err;
      if (count <= 0) {
        pipe.close_read();
      } else {
        (&pipe == &out ? result.out : result.err).append(buffer.data(), static_cast<size_t>(count));
      }
    }
    if (signals_left > 0 && ((by_text && result.err.find(options.signal_when) != std::string::npos) ||
                             (by_file && has_appeared(options.signal_when_file)))) {
      for (; signals_left > 0; --signals_left) {
        ::kill(child, options.signal);
        ::usleep(20'000);  // two of one kind at once would arrive as one
      }
    }
    if (!killed && std::chrono::steady_clock::now() > limit) killed = ::kill(child, SIGKILL) == 0;
  }
}

}  // namespace

std::vector<std::string> ProcessResult::error_lines() const {
  std::vector<std::string> errors;
  for (const std::string& line : err_lines()) {
    if (line.starts_with("branchsae: error:")) errors.push_back(line);
  }
  return errors;
}

std::vector<std::string> ProcessResult::err_lines() const {
  return lines_of(err);
}

ProcessResult run_program(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  std::vector<std::string> words = {"branchsae"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = environment_of(options);
  std::vector<char*> argv = pointers(words), envp = pointers(environment);
  Pipe out, err;
  const bool to_file = !options.out.empty() && options.out != "closed" && options.out != "broken";
  int out_target = out.write;
  if (to_file) out_target = ::open(options.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (options.out == "broken") out.close_read();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) become(argv.data(), envp.data(), options, out_target, err.write);
  out.close_write();
  err.close_write();
  if (to_file) ::close(out_target);
  ProcessResult result;
  collect(child, out, err, options, result);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

}  // namespace branchsae::test
