#include "text/regex.h"

#include <re2/re2.h>

#include <string>

#include "base/error.h"

namespace ds {

constexpr int kMostInstructions = 10000;

struct Regex::Impl {
  RE2 re2;
  Impl(std::string_view pattern, const RE2::Options& options)
      : re2(re2::StringPiece(pattern.data(), pattern.size()), options) {}
};

Regex::Regex(std::string_view pattern, std::string_view where) {
  RE2::Options options;
  options.set_log_errors(false);  // it would write to stderr itself
  options.set_never_capture(true);
  impl_ = std::make_unique<Impl>(pattern, options);
  const std::string_view shown = pattern.substr(0, pattern.size() <= 60 ? pattern.size() : 0);
  const std::string name = shown.empty() ? "the pattern" : cat("the pattern '", shown, "'");
  if (!impl_->re2.ok()) throw UsageError(cat(where, ": ", name, " is wrong: ", impl_->re2.error()));
  // What the automaton cannot hold in memory is simulated, at a cost per byte of up to the size of the program.
  if (impl_->re2.ProgramSize() > kMostInstructions)
    throw UsageError(cat(where, ": ", name, " is too large: ", impl_->re2.ProgramSize(), " instructions, at most ",
                         kMostInstructions, " are allowed; use fewer counted repetitions"));
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

bool Regex::search(std::string_view text) const {
  const re2::StringPiece piece(text.data(), text.size());
  return impl_->re2.Match(piece, 0, text.size(), RE2::UNANCHORED, nullptr, 0);
}

}  // namespace ds
