#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/pattern_translate.h"

namespace ds {
namespace {

constexpr uint32_t match_limit = 10'000'000;
constexpr uint32_t heap_limit_kib = 64 << 10;
constexpr size_t jit_stack_bytes = size_t{4} << 20;
// Compiled code does not count its steps well, and PCRE2's limit is one for each place where a match may begin. So
// compiled code runs only the patterns that cannot backtrack far, on a window of the text: from one place it takes about
// window^repeats / repeats! steps, at most 2000. The interpreter, which counts its steps over the whole text, runs the
// other patterns, and the match that reaches the window's end. Where there is one repeat, compiled code tries a wide
// window at that place before, and the worst that it may have cost is counted.
constexpr int compiled_repeats = 2;
constexpr size_t window_bytes[compiled_repeats + 1] = {std::numeric_limits<size_t>::max(), 1000, 64};
constexpr size_t wide_window_bytes = 20'000;
constexpr uint64_t bytes_of_step = 32;  // that a repeat may pass in the time of a step

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

std::string shortened(const std::string& pattern) {
  size_t size = std::min<size_t>(pattern.size(), 100);
  while (size < pattern.size() && (static_cast<uint8_t>(pattern[size]) & 0xc0) == 0x80) --size;
  return pattern.substr(0, size) + (size < pattern.size() ? "..." : "");
}

// Of a window of at most so many bytes at `place`, in whole characters.
size_t window_end(std::string_view text, size_t place, size_t most) {
  if (text.size() - place <= most) return text.size();
  size_t end = place + most;
  while ((static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return end;
}

// What one thread needs to match: created at its first match.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, jit_stack_bytes, nullptr);
  Workspace() {
    require(data && context && stack, "not enough memory to match a pattern");
    pcre2_set_match_limit(context, match_limit);
    pcre2_set_heap_limit(context, heap_limit_kib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Workspace(const Workspace&) = delete;
};

}  // namespace

struct Pattern::Impl {
  pcre2_code *code = nullptr, *counted = nullptr;  // without and with a callout at every step
  pcre2_code* here = nullptr;                      // `code` at one place only, of a pattern with one repeat
  bool jit = false;
  int repeats = 0;
  std::string where, pattern;
  ~Impl() {
    pcre2_code_free(code);
    pcre2_code_free(counted);
    pcre2_code_free(here);
  }
};

namespace {

struct StepCounter {
  MatchSteps& steps;
  size_t at;
};

int count_step(pcre2_callout_block* block, void* data) {
  auto& counter = *static_cast<StepCounter*>(data);
  const size_t at = block->current_position, passed = at > counter.at ? at - counter.at : counter.at - at;
  const uint64_t taken = 1 + passed / bytes_of_step;
  counter.at = at;
  return counter.steps.take(taken) ? 0 : PCRE2_ERROR_MATCHLIMIT;
}

}  // namespace

Pattern::Pattern(std::string_view pattern, std::string_view where) : impl_(new Impl) {
  impl_->where = where;
  impl_->pattern = pattern;
  require(pattern.size() < 65536, where, ": a pattern of ", pattern.size(), " bytes is too long");
  const TranslatedPattern translated = translate_pattern(pattern, where);
  impl_->repeats = translated.repeats;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  require(context != nullptr, "not enough memory for a pattern");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), 1 << 20);
  int error = 0;
  PCRE2_SIZE offset = 0;
  const auto compile = [&](uint32_t options) {
    return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.text.data()), translated.text.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | options, &error, &offset,
                         context.get());
  };
  impl_->code = compile(0);
  if (impl_->code) impl_->counted = compile(PCRE2_AUTO_CALLOUT);
  require(impl_->code && impl_->counted, where, ": the pattern does not compile: ", message_of(error), ": ", pattern);
  const auto compiled = [](pcre2_code* code) {
    return code && pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
  };
  impl_->jit = translated.repeats <= compiled_repeats && compiled(impl_->code);
  if (!impl_->jit || translated.repeats != 1) return;
  impl_->here = compile(PCRE2_ANCHORED);
  require(compiled(impl_->here), where, ": the pattern does not compile: ", pattern);
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

bool Pattern::find(std::string_view text, size_t from, MatchSteps& steps, size_t& begin, size_t& end) const {
  static thread_local Workspace workspace;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(workspace.data);
  size_t place = from;
  const auto run_compiled = [&](const pcre2_code* code, size_t window) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (window < text.size() ? PCRE2_PARTIAL_HARD : 0);
    return pcre2_jit_match(code, subject, window, place, options, workspace.data, workspace.context);
  };
  const auto require_steps = [&](bool enough) {
    require(enough, impl_->where, ": the pattern ", shortened(impl_->pattern), " takes too many steps in a text of ",
            text.size(), " bytes");
  };
  int result = impl_->jit ? PCRE2_ERROR_NOMATCH : PCRE2_ERROR_PARTIAL;
  while (result == PCRE2_ERROR_NOMATCH) {
    const size_t end_of_window = window_end(text, place, window_bytes[impl_->repeats]);
    result = run_compiled(impl_->code, end_of_window);
    if (result == PCRE2_ERROR_NOMATCH) {
      if (end_of_window == text.size()) return false;
      place = end_of_window;  // no match begins in the window
    } else if (result == PCRE2_ERROR_PARTIAL) {
      place = range[0];
      if (!impl_->here) break;
      require_steps(steps.take(wide_window_bytes / bytes_of_step));
      result = run_compiled(impl_->here, window_end(text, place, wide_window_bytes));
      if (result == PCRE2_ERROR_NOMATCH) place += utf8_length(text[place]);
    }
  }
  if (result == PCRE2_ERROR_PARTIAL) {
    StepCounter counter{steps, place};
    pcre2_set_callout(workspace.context, count_step, &counter);
    result = pcre2_match(impl_->counted, subject, text.size(), place, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, workspace.data,
                         workspace.context);
    pcre2_set_callout(workspace.context, nullptr, nullptr);
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  require_steps(result != PCRE2_ERROR_MATCHLIMIT);
  require(result >= 0, impl_->where, ": matching the pattern failed: ", message_of(result));
  begin = range[0];
  end = range[1];
  require(begin <= end && end <= text.size() && from <= begin, impl_->where, ": the pattern matches outside its place");
  return true;
}

}  // namespace ds
