// Progress on standard error: one line redrawn on a terminal, otherwise a line every so often.
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "base/stop.h"
#include "cli/declared.h"

namespace ds {

using Clock = std::chrono::steady_clock;

struct Meter {
  std::mutex mutex;
  bool terminal = false, drawn = false;
  std::string label;
  uint64_t first = 0;  // done at the first call of this label: a resumed job's rate counts its own work only
  Clock::time_point begin, shown;
};
static Meter& meter() {
  static Meter instance;
  return instance;
}

static std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

static std::string duration(double seconds) {
  const auto s = static_cast<uint64_t>(seconds + 0.5);
  char text[48];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%llu:%02u:%02u", static_cast<unsigned long long>(s / 3600), unsigned(s / 60 % 60),
                  unsigned(s % 60));
  else
    std::snprintf(text, sizeof text, "%u:%02u", unsigned(s / 60), unsigned(s % 60));
  return text;
}

static std::string line(const Progress& state, uint64_t first, double seconds) {
  std::string text = cat(state.label, " ", state.done);
  if (state.total > 0) text += cat("/", state.total);
  text += " " + state.unit;
  if (state.total > 0)
    text += format(" %3.0f%%", 100.0 * static_cast<double>(state.done) / static_cast<double>(state.total));
  const double done = static_cast<double>(state.done > first ? state.done - first : 0);
  if (seconds > 0 && done > 0) {
    const double rate = done / seconds;
    text += format(rate < 10 ? "  %.2f" : "  %.0f", rate) + " " + state.unit + "/s";
    if (state.total > state.done) text += "  ETA " + duration(static_cast<double>(state.total - state.done) / rate);
  }
  return state.detail.empty() ? text : text + "  " + state.detail;
}

static void show(const Progress& state) {
  Meter& m = meter();
  const std::lock_guard lock(m.mutex);
  const auto now = Clock::now();
  if (m.label != state.label || state.done < m.first) {
    m.label = state.label;
    m.first = state.done;
    m.begin = now;
    m.shown = m.terminal ? Clock::time_point{} : now;
  }
  const bool last = state.total > 0 && state.done >= state.total;
  const auto interval = m.terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (now - m.shown < interval && !(last && m.terminal)) return;
  m.shown = now;
  const std::string text = line(state, m.first, std::chrono::duration<double>(now - m.begin).count());
  if (!m.terminal) return info(text);
  // The cursor goes back to the beginning, so that a message written meanwhile stands on a line of its own.
  winsize size{};
  const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
  std::fprintf(stderr, "\033[K%.*s\r", columns, text.c_str());
  std::fflush(stderr);
  m.drawn = true;
}

void install_progress(bool lines) {
  const char* const term = std::getenv("TERM");
  meter().terminal = isatty(STDERR_FILENO) && term && std::strcmp(term, "dumb") != 0;
  if (meter().terminal || lines) set_progress_sink(show);
}

void finish_progress() {
  set_progress_sink({});
  Meter& m = meter();
  const std::lock_guard lock(m.mutex);
  if (m.drawn) std::fputs("\033[K", stderr), std::fflush(stderr);
  m.drawn = false;
}

}  // namespace ds
