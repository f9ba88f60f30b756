// How every tool talks: one set of common options, one way of exit. Tools' mains declare options and call their room.
//
// An option is declared once; --help, --config, --completions, the report's options and the test of the man page all
// read that declaration. The command line wins over --config, which wins over the field's value at declaration.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/report.h"

namespace ds {

// Options that every tool has; declared by App, resolved before the action runs.
struct CommonOptions {
  size_t threads = 0;    // -j; App has called set_threads()
  uint64_t seed = 0;     // --seed
  std::string report;    // --report; App writes it after the action
  bool quiet = false;    // -q
  int verbose = 0;       // -v, counted
  bool dry_run = false;  // --dry-run, where the verb asks for it
};

// A group of options of a tool or verb. Each call binds one option to a field, which must outlive App::run; the field's
// value is the default that --help shows (nothing is shown for an empty string or an empty optional, which then means
// "off"). Names are "-o,--output" or "--near"; a name without dashes is positional ("FILE"). Units are upper-case
// words; FILE, DIR and MODEL (a folder or a file) complete to paths and stay out of the report's options. An option given twice is wrong usage,
// except flags, and vectors, which collect a value from each occurrence.
class Options {
 public:
  Options& flag(const std::string& name, bool& field, const std::string& help);
  Options& option(const std::string& name, std::string& field, const std::string& help,
                  const std::string& unit = "TEXT");
  Options& option(const std::string& name, int64_t& field, const std::string& help, const std::string& unit = "N");
  Options& option(const std::string& name, uint64_t& field, const std::string& help, const std::string& unit = "N");
  Options& option(const std::string& name, int& field, const std::string& help, const std::string& unit = "N");
  Options& option(const std::string& name, double& field, const std::string& help, const std::string& unit = "X");
  Options& option(const std::string& name, std::optional<int64_t>& field, const std::string& help,
                  const std::string& unit = "N");
  Options& option(const std::string& name, std::optional<double>& field, const std::string& help,
                  const std::string& unit = "X");
  Options& option(const std::string& name, std::vector<std::string>& field, const std::string& help,
                  const std::string& unit = "TEXT");
  Options& bytes(const std::string& name, size_t& field, const std::string& help);  // "64M"
  Options& choice(const std::string& name, std::string& field, const std::vector<std::string>& choices,
                  const std::string& help);

  // About the option just declared:
  Options& required();
  Options& range(double low, double high);  // both allowed; else wrong usage
  Options& commas();                        // a vector's values are also split at commas
  Options& incidental();                    // does not decide the bytes (--resume): not in the report's options

  Options& group(const std::string& title);  // heading of the options that follow
  Options& dry_run();                        // this verb has --dry-run

  struct Impl;
  explicit Options(Impl* impl) : impl_(impl) {}

 private:
  Impl* impl_;
};

// One tool. Usage errors exit with 2, Errors with 1, a signal or a closed pipe as the signal does (128 + its number).
class App {
 public:
  // `summary` completes "ds-clean - ..." and begins with a small letter.
  App(std::string name, std::string summary);
  ~App();
  // Declares a verb (or, with an empty name, what the tool does when its first argument is no verb). `examples` are
  // lines for --help that work when pasted.
  // The action's return value is the exit status (0, or 3 for a quality gate not met). It may throw Error, UsageError,
  // Stopped (after a signal) and ClosedPipe; it never exits by itself.
  Options verb(const std::string& name, const std::string& summary, const std::vector<std::string>& examples,
               std::function<int(const CommonOptions&, Report&)> action);
  int run(int argc, char** argv);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
