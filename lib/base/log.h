// Diagnostics: one line on standard error, as text or JSON. Nothing else in lib writes to the terminal.
#pragma once
#include <string_view>

#include "base/error.h"

namespace ds {

enum class LogLevel { error, warning, info };

// How diagnostics are written; set once by the command line. `name` is the tool's.
void set_log(std::string_view name, LogLevel threshold, bool json);
void log(LogLevel level, std::string_view message);

// A line that is said without -v too, but not with -q: where a server listens, what a command did. In JSON it is of level info.
void say(std::string_view message);

// A table for a person to read, as it is; nothing where messages are JSON or the threshold is below warnings (-q).
void log_table(std::string_view table);

template <class... Args>
void warn(const Args&... args) {
  log(LogLevel::warning, cat(args...));
}
template <class... Args>
void info(const Args&... args) {
  log(LogLevel::info, cat(args...));
}

}  // namespace ds
