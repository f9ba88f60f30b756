// Running the real executables: fork, exec, and what came of it. Used by tests/contract and tests/cli.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ds::test {

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A folder that is removed with everything in it.
struct Scratch {
  std::filesystem::path path;
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "ds-test-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a scratch folder");
    path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
};

struct Result {
  int exit = -1;      // exit status, or -1 after a signal
  int signal = 0;     // the signal that ended it, or 0
  bool late = false;  // it ran past the limit and was killed
  std::string out, err;
};

struct Command {
  std::vector<std::string> words;         // words[0] is the executable
  std::filesystem::path directory = "/";  // where it runs
  std::string input;                      // standard input
  std::string output;                     // standard output goes to this file instead of Result::out
  bool closed_pipe = false;               // standard output is a pipe that nobody reads
  std::vector<std::pair<std::string, std::string>> environment;
  double limit_seconds = 60;
};

// A started command; finish() waits for it.
class Running {
 public:
  explicit Running(const Command& command) : command_(command) {
    spill(scratch_.path / "in", command.input);
    const std::string out = command.output.empty() ? (scratch_.path / "out").string() : command.output;
    int pipe_ends[2] = {-1, -1};
    if (command.closed_pipe && pipe(pipe_ends) != 0) throw std::runtime_error("cannot make a pipe");
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      const int in_fd = open((scratch_.path / "in").c_str(), O_RDONLY);
      const int out_fd = command.closed_pipe ? pipe_ends[1] : open(out.c_str(), O_WRONLY | O_CREAT, 0644);
      const int err_fd = open((scratch_.path / "err").c_str(), O_WRONLY | O_CREAT, 0644);
      if (in_fd < 0 || out_fd < 0 || err_fd < 0 || chdir(command.directory.c_str()) != 0) _exit(126);
      dup2(in_fd, 0), dup2(out_fd, 1), dup2(err_fd, 2);
      if (command.closed_pipe) close(pipe_ends[0]), close(pipe_ends[1]);
      for (const int s : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) ::signal(s, SIG_DFL);
      for (const auto& [name, value] : command.environment) setenv(name.c_str(), value.c_str(), 1);
      std::vector<char*> words;
      for (const std::string& word : command.words) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      execvp(words[0], words.data());
      _exit(127);
    }
    if (command.closed_pipe) close(pipe_ends[0]), close(pipe_ends[1]);
  }
  pid_t pid() const { return pid_; }

  Result finish() {
    Result result;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(command_.limit_seconds);
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (!result.late && std::chrono::steady_clock::now() > end) {
        result.late = true;
        kill(pid_, SIGKILL);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (WIFEXITED(status)) result.exit = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    if (command_.output.empty() && !command_.closed_pipe) result.out = slurp(scratch_.path / "out");
    result.err = slurp(scratch_.path / "err");
    return result;
  }

 private:
  Command command_;
  Scratch scratch_;
  pid_t pid_ = -1;
};

inline Result run(const Command& command) { return Running(command).finish(); }

}  // namespace ds::test
