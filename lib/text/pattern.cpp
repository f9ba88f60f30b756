#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace ds {
namespace {

constexpr uint32_t match_limit = 10'000'000;
constexpr size_t jit_stack_bytes = size_t{4} << 20;
// White_Space of Unicode; PCRE2's \s holds U+180E as well.
constexpr std::string_view white_space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string translate(std::string_view pattern, std::string_view where) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      require(next != 'h' && next != 'H', where, ": \\", next, " in a pattern is not supported: ", pattern);
      require(!(in_class && next == 'S'), where, ": \\S in a character class is not supported: ", pattern);
      if (next == 's')
        out += in_class ? std::string(white_space) : cat('[', white_space, ']');
      else if (next == 'S')
        out += cat("[^", white_space, ']');
      else
        (out += c) += next;
    } else if (in_class) {
      require(c != '[' || (i + 1 < pattern.size() && pattern[i + 1] == ':'), where,
              ": a class inside a class is not supported: ", pattern);
      require(c != '&' || i + 1 == pattern.size() || pattern[i + 1] != '&', where,
              ": && in a class is not supported: ", pattern);
      if (c == '[') {  // [:alpha:]
        const size_t end = pattern.find(":]", i + 2);
        require(end != std::string_view::npos, where, ": unfinished [: in a pattern: ", pattern);
        out.append(pattern, i, end + 2 - i);
        i = end + 1;
        continue;
      }
      in_class = c != ']';
      out += c;
    } else {
      out += c;
      if (c == '[') {
        in_class = true;
        if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
        if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += pattern[++i];
      }
    }
  }
  return out;
}

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
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string where;
  ~Impl() { pcre2_code_free(code); }
};

Pattern::Pattern(std::string_view pattern, std::string_view where) : impl_(new Impl) {
  impl_->where = where;
  require(pattern.size() < 65536, where, ": a pattern of ", pattern.size(), " bytes is too long");
  const std::string translated = translate(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  require(impl_->code, where, ": the pattern does not compile: ", message_of(error), ": ", pattern);
  impl_->jit = pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE) == 0;
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

bool Pattern::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  static thread_local Workspace workspace;
  const auto match = impl_->jit ? pcre2_jit_match : pcre2_match;
  const int result = match(impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                           PCRE2_NO_UTF_CHECK, workspace.data, workspace.context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  require(result >= 0, impl_->where, ": matching the pattern failed: ", message_of(result));
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(workspace.data);
  begin = range[0];
  end = range[1];
  require(begin <= end && end <= text.size() && from <= begin, impl_->where, ": the pattern matches outside its place");
  return true;
}

std::string quote_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x80 && !std::isalnum(static_cast<uint8_t>(c))) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace ds
