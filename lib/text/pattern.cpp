#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "text/pattern_translate.h"

namespace ds {
namespace {

constexpr uint32_t match_limit = 10'000'000;
constexpr uint64_t step_limit = 10'000'000;  // half a second
constexpr uint32_t heap_limit_kib = 64 << 10;
constexpr size_t jit_stack_bytes = size_t{4} << 20;
// Compiled code does not count its steps well, and PCRE2's limit is one for each place where a match may begin. So
// compiled code runs the patterns that cannot backtrack far, on a window if their steps grow with a power of its
// length; the interpreter, which stops at a number of steps in all, runs the others, and where a match reaches the
// window's end.
constexpr size_t window_bytes = 20000;
constexpr int compiled_repeats = 2;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
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
  bool jit = false;
  int repeats = 0;
  std::string where;
  ~Impl() {
    pcre2_code_free(code);
    pcre2_code_free(counted);
  }
};

namespace {

int count_step(pcre2_callout_block*, void* steps) {
  return ++*static_cast<uint64_t*>(steps) > step_limit ? PCRE2_ERROR_MATCHLIMIT : 0;
}

}  // namespace

Pattern::Pattern(std::string_view pattern, std::string_view where) : impl_(new Impl) {
  impl_->where = where;
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
  impl_->jit = translated.repeats <= compiled_repeats &&
               pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

bool Pattern::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  static thread_local Workspace workspace;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int result = PCRE2_ERROR_PARTIAL;
  for (bool again = impl_->jit; again;) {
    size_t window = text.size();
    if (impl_->repeats > 1 && window - from > window_bytes) {
      window = from + window_bytes;
      while ((static_cast<uint8_t>(text[window]) & 0xc0) == 0x80) --window;
    }
    const uint32_t options = PCRE2_NO_UTF_CHECK | (window < text.size() ? PCRE2_PARTIAL_HARD : 0);
    result = pcre2_jit_match(impl_->code, subject, window, from, options, workspace.data, workspace.context);
    again = result == PCRE2_ERROR_NOMATCH && window < text.size();  // then no match begins in the window
    if (again) from = window;
  }
  if (result == PCRE2_ERROR_PARTIAL) {
    uint64_t steps = 0;
    pcre2_set_callout(workspace.context, count_step, &steps);
    result = pcre2_match(impl_->counted, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, workspace.data,
                         workspace.context);
    pcre2_set_callout(workspace.context, nullptr, nullptr);
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  require(result >= 0, impl_->where, ": matching the pattern failed: ", message_of(result));
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(workspace.data);
  begin = range[0];
  end = range[1];
  require(begin <= end && end <= text.size() && from <= begin, impl_->where, ": the pattern matches outside its place");
  return true;
}

}  // namespace ds
