// cli_case FOLDER TOOLS: runs one case of tests/cli (see CMakeLists.txt) and compares what came of it.
#include <cstdio>

#include "contract/process.h"

namespace fs = std::filesystem;
using namespace ds::test;

static bool same(const char* what, const std::string& expected, const std::string& found) {
  if (expected == found) return true;
  std::printf("--- expected %s\n%s--- found\n%s---\n", what, expected.c_str(), found.c_str());
  return false;
}

static int expected_exit(const fs::path& file) { return fs::exists(file) ? std::stoi(slurp(file)) : 0; }

int main(int argc, char** argv) {
  if (argc != 3) {
    std::printf("usage: cli_case FOLDER TOOLS\n");
    return 2;
  }
  const fs::path folder = argv[1];
  const Scratch scratch;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name != "cmd" && name != "stdin" && !name.starts_with("expected_"))
      fs::copy(entry.path(), scratch.path / name, fs::copy_options::recursive);
  }
  const Result result =
      run({.words = {"sh", (folder / "cmd").string()},
           .directory = scratch.path,
           .input = slurp(folder / "stdin"),
           .environment = {
               {"PATH", std::string(argv[2]) + ":" + std::getenv("PATH")}, {"LC_ALL", "C"}, {"NO_COLOR", "1"}}});
  bool good = same("standard output", slurp(folder / "expected_stdout"), result.out);
  good = same("standard error", slurp(folder / "expected_stderr"), result.err) && good;
  good =
      same("exit status", std::to_string(expected_exit(folder / "expected_exit")),
           result.late ? "none: it ran too long" : std::to_string(result.signal ? 128 + result.signal : result.exit)) &&
      good;
  return good ? 0 : 1;
}
