// ds-run chat: where messages come from, and how it looks.
#include <errno.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "io/output.h"
#include "run/chat_session.h"
#include "run/chat_terminal.h"
#include "run/groups.h"
#include "run/precision.h"

namespace ds {

static void write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EPIPE) throw ClosedPipe{};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) system_fail("<stdout>: cannot write: ", std::generic_category().message(errno));
    text.remove_prefix(static_cast<size_t>(n));
  }
}

namespace {

// Answers and notes on a terminal. What a model writes is text: its control characters, which could change the terminal, are
// left out. Between <think> and </think> it is dim.
class Screen {
 public:
  explicit Screen(bool colour) : colour_(colour) {}

  void answer(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      const bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
      if (c1) ++i;  // U+0080 to U+009F
      else if ((c >= 32 && c != 127) || c == '\n' || c == '\t') out += text[i];
    }
    if (out.empty()) return;
    at_line_begin_ = out.back() == '\n';
    if (colour_) {
      if (const size_t begin = out.find("<think>"); begin != std::string::npos) out.insert(begin, kDim);
      if (const size_t end = out.find("</think>"); end != std::string::npos) out.insert(end + 8, kPlain);
    }
    write_out(out);
  }
  void end_answer() {
    if (colour_) write_out(kPlain);
    if (!at_line_begin_) write_out("\n");
    at_line_begin_ = true;
  }
  // A line or more that the program says.
  void note(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    if (text.empty()) return;
    write_out(colour_ ? cat(kDim, text, kPlain, "\n") : cat(text, "\n"));
  }
  void loading(const std::string& what) {
    if (colour_) write_out(cat(kDim, "loading ", what, " ...", kPlain));
  }
  void loaded() {
    if (colour_) write_out("\r\033[K");
  }

 private:
  static constexpr char kDim[] = "\033[2m", kPlain[] = "\033[0m";
  bool colour_, at_line_begin_ = true;
};

// Lines of standard input as they come, so that a program may wait for each answer before it writes on.
class Lines {
 public:
  // A message; lines that end in a backslash go on.
  std::optional<std::string> read() {
    std::string message;
    for (bool begun = false;; begun = true) {
      const std::optional<std::string> line = next();
      if (!line) return begun ? std::optional(message) : std::nullopt;
      message += *line;
      if (!message.ends_with('\\')) return message;
      message.back() = '\n';
    }
  }

 private:
  static constexpr size_t kLongest = size_t{64} << 20;
  std::optional<std::string> next() {
    for (;;) {
      throw_if_stopped();
      if (const size_t end = held_.find('\n', searched_); end != std::string::npos) {
        std::string line = held_.substr(0, end);
        held_.erase(0, end + 1);
        searched_ = 0;
        if (line.ends_with('\r')) line.pop_back();
        return line;
      }
      searched_ = held_.size();
      require(held_.size() <= kLongest, "<stdin>: a message is longer than ", kLongest, " bytes");
      char buffer[1 << 16];
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) system_fail("<stdin>: cannot read: ", std::generic_category().message(errno));
      if (n == 0) return held_.empty() ? std::nullopt : std::optional(std::exchange(held_, {}));
      held_.append(buffer, static_cast<size_t>(n));
    }
  }
  std::string held_;
  size_t searched_ = 0;
};

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\n") == std::string::npos; }

// What a line asks for: a command that ends (false), one that says something, or a message.
struct Turn {
  ChatSession& session;
  std::function<void(std::string_view)> show, note;
  std::function<bool()> interrupted;
  std::function<void()> end_answer;

  bool take(std::string line) {
    if (is_blank(line)) return true;
    if (line.starts_with("//")) return answer(line.substr(1)), true;
    if (!line.starts_with('/')) return answer(line), true;
    while (line.ends_with(' ') || line.ends_with('\n')) line.pop_back();
    if (line == "/quit") return false;
    if (line == "/retry") answer(session.take_back());
    else note(session.command(line));
    return true;
  }

 private:
  void answer(const std::string& message) {
    std::string said;
    try {
      said = session.answer(message, show, interrupted);
    } catch (const Error&) {
      end_answer();
      throw;
    }
    end_answer();
    note(said);
  }
};

}  // namespace

static void converse(ChatSession& session, Screen& screen, const ChatOptions& options, bool colour) {
  ChatTerminal terminal(options.history, colour);
  Turn turn{session, [&](std::string_view text) { screen.answer(text); }, [&](std::string_view text) { screen.note(text); },
            [&] { return terminal.take_interrupt(); }, [&] { screen.end_answer(); }};
  while (const std::optional<std::string> line = terminal.read()) try {
      if (!turn.take(*line)) break;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      screen.note(error.what());
    }
}

// Answers go out as they are, each with a line end; all else is said on standard error.
static uint64_t converse_by_lines(ChatSession& session) {
  uint64_t failed = 0;
  Lines lines;
  Turn turn{session, write_out,
            [&](std::string_view text) {
              for (size_t begin = 0; begin < text.size();) {  // a line each
                const size_t end = std::min(text.find('\n', begin), text.size());
                if (end > begin) say(text.substr(begin, end - begin));
                begin = end + 1;
              }
            },
            [] { return false; }, [] { write_out("\n"); }};
  while (const std::optional<std::string> line = lines.read()) try {
      if (!turn.take(*line)) break;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      log(LogLevel::error, error.what());
      ++failed;
    }
  return failed;
}

uint64_t run_chat(const ChatOptions& given, Report& report) {
  ChatOptions options = given;
  options.run.model = precision_folder(options.run.model, options.run.precision);
  if (options.run.kv_cache_dtype == "int8") options.run.engine.kv_cache_dtype = DType::i8;
  const char *const no_colour = std::getenv("NO_COLOR"), *const kind = std::getenv("TERM");
  const bool interactive = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  const bool colour = interactive && (!no_colour || !*no_colour) && std::string_view(kind ? kind : "dumb") != "dumb";
  Screen screen(colour);
  auto name = std::filesystem::path(given.run.model);
  name = name.has_filename() ? name.filename() : name.parent_path().filename();
  ChatTemplate chat_template = load_chat_template(options);  // before the weights, which take longer
  screen.loading(name.string());
  Engine engine = load_engine(options.run, report);
  const std::unique_ptr<Engine> draft = load_draft(options.run);
  ChatSession session(engine, std::move(chat_template), options);
  screen.loaded();
  uint64_t failed = 0;
  if (interactive) {
    screen.note(cat(name.string(), ", ", engine.max_length(), " tokens of context; /help lists commands, Ctrl-C stops an answer, Ctrl-D ends"));
    converse(session, screen, options, colour);
  } else {
    failed = converse_by_lines(session);
  }
  report_engine(engine, report);
  report_throughput(engine.throughput, report);
  return failed;
}

}  // namespace ds
