#include "base/log.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace ds {

static std::string tool_name = "ds";
static LogLevel log_threshold = LogLevel::warning;
static bool log_json = false;

void set_log(std::string_view name, LogLevel threshold, bool json) {
  tool_name = name;
  log_threshold = threshold;
  log_json = json;
}

static std::string json_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out;
}

static void write_out(std::string_view text) {
  static std::mutex mutex;
  static const char* const term = std::getenv("TERM");
  static const bool clears = !log_json && isatty(STDERR_FILENO) && term && std::string_view(term) != "dumb";
  const std::lock_guard lock(mutex);
  if (clears) std::fputs("\033[K", stderr);  // the progress line that the cursor stands on
  std::fwrite(text.data(), 1, text.size(), stderr);
}

static void write_line(LogLevel level, std::string_view message) {
  static const char* const names[] = {"error", "warning", "info"};
  const char* const name = names[static_cast<int>(level)];
  std::string line;
  if (log_json)
    line = cat("{\"tool\": \"", tool_name, "\", \"level\": \"", name, "\", \"message\": \"", json_escaped(message),
               "\"}\n");
  else if (level == LogLevel::info)
    line = cat(tool_name, ": ", message, "\n");
  else
    line = cat(tool_name, ": ", name, ": ", message, "\n");
  write_out(line);
}

void log(LogLevel level, std::string_view message) {
  if (level <= log_threshold) write_line(level, message);
}

void say(std::string_view message) {
  if (log_threshold >= LogLevel::warning) write_line(LogLevel::info, message);
}

void log_table(std::string_view table) {
  if (!log_json && log_threshold >= LogLevel::warning) write_out(table);
}

}  // namespace ds
