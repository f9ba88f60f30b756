// How every tool talks: one set of common options, one way of exit. Tools' mains declare options and call their room.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

// Options that every tool has; declared by App, resolved before the action runs.
struct CommonOptions {
  size_t threads = 0;             // -j
  uint64_t seed = 0;              // --seed
  std::string report;             // --report
  bool quiet = false;             // -q
  int verbose = 0;                // -v
  bool dry_run = false;           // --dry-run, where the tool asks for it
};

// A group of options of a tool or verb. Each call binds one option to a field; the field's value is the default that
// --help shows. Names are "-o,--output" or "--near"; a name without dashes is positional.
class Options {
 public:
  Options& flag(const std::string& name, bool& field, const std::string& help);
  Options& option(const std::string& name, std::string& field, const std::string& help, const std::string& unit = "TEXT");
  Options& option(const std::string& name, int64_t& field, const std::string& help, const std::string& unit = "N");
  Options& option(const std::string& name, double& field, const std::string& help, const std::string& unit = "X");
  Options& option(const std::string& name, std::vector<std::string>& field, const std::string& help, const std::string& unit = "TEXT");
  Options& bytes(const std::string& name, size_t& field, const std::string& help);         // "64M"
  Options& choice(const std::string& name, std::string& field, const std::vector<std::string>& choices, const std::string& help);
  Options& required();                                                                      // the option just declared
  Options& group(const std::string& title);                                                 // heading of the options that follow

  struct Impl;
  explicit Options(Impl* impl) : impl_(impl) {}

 private:
  Impl* impl_;
};

// One tool. Usage errors exit with 2, Errors with 1, a signal with 128 + its number, a closed pipe quietly.
class App {
 public:
  App(std::string name, std::string summary);
  ~App();
  // Declares a verb (or, with an empty name, the tool itself). `examples` are lines for --help.
  // The action's return value is the exit status (0, or 3 for a quality gate not met).
  Options verb(const std::string& name, const std::string& summary, const std::vector<std::string>& examples,
               std::function<int(const CommonOptions&, Report&)> action);
  int run(int argc, char** argv);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
