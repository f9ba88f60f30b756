// One run of a tool: which verb, which options, the action, and the exit status of whatever happens.
#include "cli/app.h"

#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <limits>
#include <new>

#include "base/log.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "cli/declared.h"
#include "io/json.h"
#include "io/output.h"

extern "C" void ds_link_processor_check();

namespace ds {

struct App::Impl {
  Tool tool;
  std::vector<std::unique_ptr<Verb>> verbs;
  CommonOptions common;
  bool common_declared = false;
  // Options that App itself answers.
  bool help = false, version = false, dump = false;
  std::string config, completions, log_format = "text";

  const Verb* find(const std::string& name) const {
    for (const auto& verb : verbs)
      if (verb->name == name) return verb.get();
    return nullptr;
  }
  void declare_common();
  void print_and_check(const std::string& text) const;
  int dispatch(const std::vector<std::string>& words);
  int act(const Verb& verb);
};

App::App(std::string name, std::string summary) : impl_(new Impl) {
  ds_link_processor_check();
  impl_->tool.name = std::move(name);
  impl_->tool.summary = std::move(summary);
}
App::~App() = default;

Options App::verb(const std::string& name, const std::string& summary, const std::vector<std::string>& examples,
                  std::function<int(const CommonOptions&, Report&)> action) {
  auto verb = std::make_unique<Verb>();
  verb->name = name;
  verb->summary = summary;
  verb->examples = examples;
  verb->action = std::move(action);
  impl_->verbs.push_back(std::move(verb));
  impl_->tool.verbs.push_back(impl_->verbs.back().get());
  return Options(impl_->verbs.back().get());
}

void App::Impl::declare_common() {
  if (std::exchange(common_declared, true)) return;
  for (const auto& verb : verbs) {
    Options o(verb.get());
    o.group("Common options");
    o.option("-j,--threads", common.threads, "threads; 0: one a processor; the bytes do not depend on it")
        .range(0, 4096)
        .incidental();
    o.option("--seed", common.seed, "seed of every random choice");
    o.option("--config", config, "options from a TOML file: near = 0.8; a verb's in its table", "FILE");
    o.option("--report", common.report, "write what was done, with hashes of inputs and outputs, as JSON", "FILE");
    o.choice("--log-format", log_format, {"text", "json"}, "how messages on standard error are written").incidental();
    if (verb->has_dry_run) o.flag("--dry-run", common.dry_run, "show the plan and change nothing").incidental();
    o.flag("-q,--quiet", common.quiet, "only errors").incidental();
    bool unused = false;
    o.flag("-v,--verbose", unused, "more messages; progress as lines where there is no terminal").incidental();
    verb->options.back().field = &common.verbose;
    verb->options.back().counted = true;
    o.flag("-h,--help", help, "show this help").incidental();
    o.flag("--version", version, "show the version, the vector width and whether CUDA is built in").incidental();
    o.option("--completions", completions, "print shell completions", "bash|zsh|fish");
    verb->options.back().choices = {"bash", "zsh", "fish"};
    verb->options.back().hidden = true;
    o.flag("--dump-options", dump, "print all options, tab-separated");
    verb->options.back().hidden = true;
  }
}

// Standard output as the last thing that can fail: a full disk shows when the buffer is written.
[[noreturn]] static void fail_standard_output() {
  if (errno == EPIPE) throw ClosedPipe{};
  fail("<stdout>: cannot write: ", std::strerror(errno ? errno : EIO));
}

static void flush_standard_output() {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) || std::cout.bad()) fail_standard_output();
}

void App::Impl::print_and_check(const std::string& text) const {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_standard_output();
  flush_standard_output();
}

struct Answered {};  // --help and the like: done before the action

int App::Impl::dispatch(const std::vector<std::string>& words) {
  const Verb* verb = words.empty() ? nullptr : find(words[0]);
  std::vector<std::string> rest = words;
  if (verb && !words[0].empty())
    rest.erase(rest.begin());
  else
    verb = find("");
  const auto answer = [&] {
    std::string text;
    if (help)
      text = help_text(tool, verb);
    else if (version)
      text = version_text(tool);
    else if (dump)
      text = dump_text(tool);
    else if (!completions.empty())
      text = completion_text(tool, completions);
    if (text.empty()) return;
    print_and_check(text);
    throw Answered{};
  };
  if (!verb) {  // a tool of verbs only, and the first word is none
    Verb only_common;
    for (const Declared& o : verbs.front()->options)
      if (o.group == "Common options") only_common.options.push_back(o);
    const std::string first = words.empty() ? "" : words[0];
    std::vector<std::string> names;
    std::string list;
    for (const auto& v : verbs) names.push_back(v->name), list += (list.empty() ? "" : ", ") + v->name;
    if (first.starts_with("-")) parse_words(tool, only_common, words, "", answer);
    if (words.empty() || first.starts_with("-")) throw UsageError(cat("the first argument must be a verb: ", list));
    throw UsageError(cat("unknown verb '", first, "'", nearest(first, names), " (verbs: ", list, ")"));
  }
  parse_words(tool, *verb, rest, config, answer);
  return act(*verb);
}

int App::Impl::act(const Verb& verb) {
  set_log(tool.name,
          common.quiet         ? LogLevel::error
          : common.verbose > 0 ? LogLevel::info
                               : LogLevel::warning,
          log_format == "json");
  set_threads(common.threads);
  if (!common.quiet) install_progress(common.verbose > 0);
  Report report;
  report.tool = tool.name;
  report.command = verb.name;
  for (const Declared& o : verb.options)
    if (!o.hidden && !o.incidental && !o.is_path() && !o.is_positional())
      report.options.emplace_back(o.key(), current_json(o));
  const int status = verb.action(common, report);
  finish_progress();
  flush_standard_output();
  report.write(common.report);
  return status;
}

static int report_error(int status, std::string message) {
  finish_progress();
  for (char& c : message)
    if (c == '\n' || c == '\r') c = ' ';
  log(LogLevel::error, message);
  return status;
}

// The first words that set how an error is written, an error in the command line itself included.
static bool wants_json(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i)
    if (words[i] == "--log-format=json" ||
        (words[i] == "--log-format" && i + 1 < words.size() && words[i + 1] == "json"))
      return true;
  return false;
}

int App::run(int argc, char** argv) {
  reserve_standard_descriptors();
  install_signals();
  const std::vector<std::string> words(argv + (argc > 0), argv + argc);
  set_log(impl_->tool.name, LogLevel::warning, wants_json(words));
  int status = 1;
  try {
    impl_->declare_common();
    return impl_->dispatch(words);
  } catch (const Answered&) {
    return 0;
  } catch (const Stopped&) {
    finish_progress();
  } catch (const ClosedPipe&) {  // end as a tool that never asked to survive SIGPIPE: silent, 141 in the shell
    finish_progress();
    remove_temporaries();
    die_by(SIGPIPE);
  } catch (const UsageError& e) {
    const bool named = !words.empty() && !words[0].empty() && impl_->find(words[0]);
    status = report_error(2, cat(e.what(), " (see ", impl_->tool.name, named ? " " + words[0] : "", " --help)"));
  } catch (const Error& e) {
    status = report_error(1, e.what());
  } catch (const std::bad_alloc&) {
    status = report_error(1, "out of memory: lower the memory options (see --help) or use a machine with more memory");
  } catch (const std::exception& e) {
    status = report_error(1, cat("internal error: ", e.what()));
  }
  // A failure on the way out does not hide that a signal ended the run.
  remove_temporaries();
  if (stop_requested()) die_by(stop_signal.load());
  return status;
}

}  // namespace ds
