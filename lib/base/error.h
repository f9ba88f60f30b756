// The one exception type of the project, and how to throw it.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ds {

// A failure that a user can act on: what was expected, what was found, what to do, with file:line where there is one.
// Tools print what() on one line and exit with 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Wrong usage of a command line or an option's value: tools exit with 2.
struct UsageError : Error {
  using Error::Error;
};

// A failure of the machine and not of the data at hand: a full disk, a file that another hand has cut short. It ends the
// run also where bad records are put aside.
struct SystemError : Error {
  using Error::Error;
};

// Joins its arguments as a stream would print them.
template <class... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// A name out of a file as a message shows it: whole up to 100 bytes, else its beginning, cut between characters of UTF-8,
// and an ellipsis.
inline std::string shown(std::string_view name) {
  constexpr size_t kShown = 100;
  if (name.size() <= kShown) return std::string(name);
  size_t end = kShown;
  while (end > kShown - 4 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
  return std::string(name.substr(0, end)) + "\u2026";
}

// Throws Error with the joined arguments as its message.
template <class... Args>
[[noreturn]] void fail(const Args&... args) {
  throw Error(cat(args...));
}

// The same with a SystemError.
template <class... Args>
[[noreturn]] void system_fail(const Args&... args) {
  throw SystemError(cat(args...));
}

// Throws Error unless the condition holds. The message is built only on failure.
template <class... Args>
void require(bool condition, const Args&... args) {
  if (!condition) [[unlikely]]
    fail(args...);
}

}  // namespace ds
