#include "run/chat_terminal.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"

namespace ds {

// ---- Signals ----

// Set by handlers, looked at where a key is waited for. A handler may run on any thread, so that no call is sure to be
// interrupted by one: the wait for a key looks up ten times a second.
static std::atomic<bool> interrupted, resized, suspended, continued;
static termios before_raw;

static constexpr char kPasteOn[] = "\033[?2004h", kPasteOff[] = "\033[?2004l";

static void write_terminal(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(STDOUT_FILENO, text, size);
    if (n < 0 && errno != EINTR) return;  // the reading end sees it
    if (n > 0) text += n, size -= static_cast<size_t>(n);
  }
}

static void on_event(int signal) {
  if (signal == SIGINT) interrupted = true;
  if (signal == SIGWINCH) resized = true;
  if (signal == SIGTSTP) suspended = true;
  if (signal == SIGCONT) continued = true;
}

// The wait for a key ends, which gives the terminal back.
static void on_end(int signal) { stop_signal = signal; }

// A crash while the terminal is raw.
static void on_crash(int signal) {
  tcsetattr(STDIN_FILENO, TCSANOW, &before_raw);
  if (::write(STDOUT_FILENO, kPasteOff, sizeof kPasteOff - 1) < 0) _exit(128 + signal);
  ::signal(signal, SIG_DFL);
  raise(signal);
}

namespace {

// Handlers that are there as long as this object.
template <size_t n>
class Handlers {
 public:
  Handlers(const std::array<int, n>& signals, void (*handler)(int)) : signals_(signals) {
    struct sigaction action {};
    action.sa_handler = handler;
    for (size_t i = 0; i < n; ++i) {
      sigaction(signals_[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) sigaction(signals_[i], &action, nullptr);
    }
  }
  ~Handlers() {
    for (size_t i = 0; i < n; ++i) sigaction(signals_[i], &before_[i], nullptr);
  }
  Handlers(const Handlers&) = delete;

 private:
  std::array<int, n> signals_;
  std::array<struct sigaction, n> before_;
};

constexpr std::array kKeyEvents{SIGTSTP, SIGCONT, SIGWINCH};
constexpr std::array kEnds{SIGTERM, SIGHUP, SIGQUIT};
constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

}  // namespace

// ---- Keys ----

static bool line_is_empty(EditLine* editor) {
  const LineInfoW* const line = el_wline(editor);
  return line->lastchar == line->buffer;
}

// Suspended by Ctrl-Z, or continued after another hand had stopped the program: the terminal was the shell's meanwhile.
static void give_back_terminal(EditLine* editor) {
  el_set(editor, EL_PREP_TERM, 0);
  if (suspended.exchange(false)) {
    write_terminal(kPasteOff, sizeof kPasteOff - 1);
    struct sigaction normal {}, ours {};
    normal.sa_handler = SIG_DFL;
    sigaction(SIGTSTP, &normal, &ours);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &ours, nullptr);
  }
  continued = false;
  write_terminal(kPasteOn, sizeof kPasteOn - 1);
  el_set(editor, EL_PREP_TERM, 1);
  el_set(editor, EL_REFRESH);
}

// One byte of the keyboard: 1; 0 at its end; -1 where the message is given up.
static int read_byte(EditLine* editor, unsigned char& byte) {
  for (;;) {
    if (stop_requested() || interrupted) return -1;
    if (suspended || continued) give_back_terminal(editor);
    if (resized.exchange(false)) el_resize(editor);
    pollfd keyboard{STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&keyboard, 1, 100);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t n = ready < 0 ? -1 : ::read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    return n == 1 ? 1 : 0;
  }
}

// A character of UTF-8; bytes that are none become U+FFFD.
static int read_character(EditLine* editor, wchar_t* out) {
  unsigned char byte = 0;
  if (const int got = read_byte(editor, byte); got != 1) return got;
  const int more = byte < 0x80 ? 0 : byte >= 0xc2 && byte < 0xe0 ? 1 : byte >= 0xe0 && byte < 0xf0 ? 2 : byte >= 0xf0 && byte < 0xf5 ? 3 : -1;
  uint32_t character = more <= 0 ? byte : byte & (0x3fu >> more);
  for (int i = 0; i < more; ++i) {
    if (const int got = read_byte(editor, byte); got != 1) return got;
    if ((byte & 0xc0) != 0x80) {
      *out = 0xfffd;
      return 1;
    }
    character = character << 6 | (byte & 0x3f);
  }
  static constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  const bool wrong = more < 0 || character < kLeast[more] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000);
  *out = static_cast<wchar_t>(wrong ? 0xfffd : character);
  return 1;
}

// What the terminal sends between the marks of a paste goes into the line as it is, line ends included.
static unsigned char take_paste(EditLine* editor, int) {
  static constexpr std::wstring_view kEnd = L"\033[201~";
  constexpr size_t kMost = size_t{1} << 20;
  std::wstring text;
  while (!text.ends_with(kEnd)) {
    wchar_t character = 0;
    if (read_character(editor, &character) != 1) return CC_EOF;
    if (text.size() > kMost) text.erase(0, text.size() - kEnd.size());  // nobody means that; what follows is still read
    text += character;
  }
  text.resize(text.size() - kEnd.size());
  std::wstring lines;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == L'\r') lines += L'\n', i += i + 1 < text.size() && text[i + 1] == L'\n';
    else if (text[i] >= 32 || text[i] == L'\n' || text[i] == L'\t') lines += text[i];
  }
  while (lines.ends_with(L'\n')) lines.pop_back();
  if (!lines.empty() && el_winsertstr(editor, lines.c_str()) < 0) return CC_ERROR;
  return CC_REFRESH;
}

static unsigned char take_line_end(EditLine* editor, int) { return el_winsertstr(editor, L"\n") < 0 ? CC_ERROR : CC_REFRESH; }

// ---- Messages ----

struct ChatTerminal::Impl {
  EditLine* editor = nullptr;
  History* typed = nullptr;
  std::string file, prompt, more;
  bool going_on = false;                       // a line of the message is there already
  Handlers<1> interrupt{{SIGINT}, on_event};

  ~Impl() {
    el_end(editor);
    history_end(typed);
  }

  static char* show_prompt(EditLine* editor) {
    Impl* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return (self->going_on ? self->more : self->prompt).data();
  }

  void remember(const std::string& message) {
    HistEvent event;
    history(typed, &event, H_ENTER, message.c_str());
    if (file.empty()) return;
    const std::string fresh = file + ".new";
    if (history(typed, &event, H_SAVE, fresh.c_str()) < 0 || std::rename(fresh.c_str(), file.c_str()) != 0) {
      std::remove(fresh.c_str());
      warn(file, ": the history cannot be written; it is not kept");
      file.clear();
    }
  }

  // A line without its end; nothing where the keyboard ended, or the message was given up (`interrupted` is set then).
  std::optional<std::string> line() {
    int count = 0;
    el_set(editor, EL_PREP_TERM, 1);  // before the prompt: who sees it may type
    const char* const text_line = el_gets(editor, &count);
    if (!text_line || count <= 0) return std::nullopt;
    std::string text(text_line, static_cast<size_t>(count));
    if (text.ends_with('\n')) text.pop_back();
    return text;
  }
};

ChatTerminal::ChatTerminal(const std::string& history_file, bool colour) : impl_(new Impl) {
  Impl& m = *impl_;
  setlocale(LC_CTYPE, "C.UTF-8");  // text is UTF-8 here, whatever the environment says
  m.file = history_file;
  m.prompt = colour ? "\1\033[32m\1> \1\033[0m\1" : "> ";
  m.more = colour ? "\1\033[32m\1. \1\033[0m\1" : ". ";
  m.typed = history_init();
  m.editor = el_init("ds-run", stdin, stdout, stderr);
  require(m.editor && m.typed, "the terminal cannot be used for line editing");
  HistEvent event;
  history(m.typed, &event, H_SETSIZE, 1000);
  history(m.typed, &event, H_SETUNIQUE, 1);
  if (!m.file.empty() && ::access(m.file.c_str(), F_OK) == 0 && history(m.typed, &event, H_LOAD, m.file.c_str()) < 0)
    fail(m.file, ": expected a history that `ds-run chat --history` wrote");
  el_set(m.editor, EL_CLIENTDATA, &m);
  el_set(m.editor, EL_PROMPT_ESC, &Impl::show_prompt, '\1');
  el_set(m.editor, EL_EDITOR, "emacs");
  el_set(m.editor, EL_SIGNAL, 0);
  el_set(m.editor, EL_SETTY, "-d", "-icrnl", "-inlcr", nullptr);  // so that a pasted CR LF is one line end
  el_set(m.editor, EL_HIST, history, m.typed);
  el_set(m.editor, EL_GETCFN, &read_character);
  el_set(m.editor, EL_ADDFN, "ds-paste", "take pasted text as it is", &take_paste);
  el_set(m.editor, EL_ADDFN, "ds-line-end", "begin a new line of the message", &take_line_end);
  const std::pair<const char*, const char*> keys[] = {{"\\e[200~", "ds-paste"}, {"\\e^M", "ds-line-end"}, {"^R", "em-inc-search-prev"},
      {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"}, {"\\e[3~", "ed-delete-next-char"}};
  for (const auto& [key, command] : keys) el_set(m.editor, EL_BIND, key, command, nullptr);
  el_source(m.editor, nullptr);
}

ChatTerminal::~ChatTerminal() = default;

bool ChatTerminal::take_interrupt() { return interrupted.exchange(false); }

std::optional<std::string> ChatTerminal::read() {
  Impl& m = *impl_;
  interrupted = false;
  tcgetattr(STDIN_FILENO, &before_raw);
  const Handlers events(kKeyEvents, on_event);
  const Handlers ends(kEnds, on_end);
  const Handlers crashes(kCrashes, on_crash);
  el_resize(m.editor);
  std::string message;
  m.going_on = false;
  for (;;) {
    write_terminal(kPasteOn, sizeof kPasteOn - 1);
    const std::optional<std::string> line = m.line();
    write_terminal(kPasteOff, sizeof kPasteOff - 1);
    if (!line) {
      write_terminal("\n", 1);
      throw_if_stopped();
      const bool typed = m.going_on || !line_is_empty(m.editor);
      if (!interrupted.exchange(false) || !typed) return std::nullopt;
      message.clear(), m.going_on = false;
      continue;
    }
    message += *line;
    m.going_on = message.ends_with('\\');
    if (!m.going_on) break;
    message.back() = '\n';
  }
  if (message.find_first_not_of(" \n\t") != std::string::npos) m.remember(message);
  return message;
}

}  // namespace ds
