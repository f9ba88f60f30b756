#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "io/json.h"
#include "text/pattern.h"

namespace ds {

struct Normalizer::Step {
  enum class Kind { compose, prepend, replace } kind;
  int options = 0;                 // compose: utf8proc's
  bool composed = false;           // compose: NFC and NFKC
  std::string content;             // prepend, replace
  std::optional<Pattern> pattern;  // replace
  std::string literal;             // replace: a plain string, where not a pattern
};

namespace {

// Text below U+0300 is in NFC; ASCII is in all four forms.
bool surely_normal(std::string_view text, bool nfc) {
  const uint8_t limit = nfc ? 0xcc : 0x80;  // 0xcc leads U+0300
  for (const char c : text)
    if (static_cast<uint8_t>(c) >= limit) return false;
  return true;
}

std::string compose(std::string_view text, int options) {
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                                   static_cast<utf8proc_option_t>(options));
  require(length >= 0, "Unicode normalisation failed: ", utf8proc_errmsg(length));
  std::string out(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
  std::free(result);
  return out;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string_view::npos; at = hit + from.size())
    out.append(text, at, hit - at).append(to);
  return out.append(text, at);
}

std::string replace_all(std::string_view text, const Pattern& from, std::string_view to) {
  std::string out;
  size_t at = 0, search = 0, begin, end;
  while (search <= text.size() && from.find(text, search, begin, end)) {
    out.append(text, at, begin - at).append(to);
    at = search = end;
    if (begin == end) {  // an empty match: step over one character
      if (end == text.size()) break;
      ++search;
      while (search < text.size() && (static_cast<uint8_t>(text[search]) & 0xc0) == 0x80) ++search;
    }
  }
  return out.append(text, at);
}

}  // namespace

Normalizer::Normalizer(const Json* json, const std::string& where) {
  if (json && json->type != Json::Type::null) add(*json, where, 0);
}
Normalizer::~Normalizer() = default;
Normalizer::Normalizer(Normalizer&&) noexcept = default;

void Normalizer::add(const Json& json, const std::string& where, int depth) {
  require(depth < 16, where, ": normalizers nest too deeply");
  const Json* type = json.find("type");
  require(type, where, ": a normalizer without type");
  const std::string& name = type->as_string(where + ": type");
  auto step = std::make_unique<Step>();
  if (name == "Sequence") {
    const Json* list = json.find("normalizers");
    require(list && list->type == Json::Type::array, where, ": a Sequence without normalizers");
    for (const Json& item : list->items) add(item, where, depth + 1);
    return;
  }
  if (name == "NFC" || name == "NFD" || name == "NFKC" || name == "NFKD") {
    step->kind = Step::Kind::compose;
    step->composed = name.back() == 'C';
    step->options = UTF8PROC_STABLE | (step->composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
    if (name[2] == 'K') step->options |= UTF8PROC_COMPAT;
  } else if (name == "Prepend") {
    const Json* prepend = json.find("prepend");
    require(prepend, where, ": Prepend without prepend");
    step->kind = Step::Kind::prepend;
    step->content = prepend->as_string(where + ": prepend");
  } else if (name == "Replace") {
    const Json *pattern = json.find("pattern"), *content = json.find("content");
    require(pattern && content, where, ": Replace needs pattern and content");
    step->kind = Step::Kind::replace;
    step->content = content->as_string(where + ": content");
    if (const Json* text = pattern->find("String")) {
      step->literal = text->as_string(where + ": pattern");
      require(!step->literal.empty(), where, ": Replace with an empty pattern");
    } else {
      const Json* regex = pattern->find("Regex");
      require(regex, where, ": a pattern is {\"String\": ...} or {\"Regex\": ...}");
      step->pattern.emplace(regex->as_string(where + ": pattern"), where);
    }
  } else {
    fail(where, ": the normalizer ", name, " is not supported");
  }
  steps_.push_back(std::move(step));
}

std::string_view Normalizer::apply(std::string_view text, std::string& scratch) const {
  std::string_view current = text;
  for (const auto& step : steps_) {
    if (current.empty()) break;
    std::string next;
    switch (step->kind) {
      case Step::Kind::compose:
        if (surely_normal(current, step->composed && !(step->options & UTF8PROC_COMPAT))) continue;
        next = compose(current, step->options);
        break;
      case Step::Kind::prepend:
        next = cat(step->content, current);
        break;
      case Step::Kind::replace:
        next = step->pattern ? replace_all(current, *step->pattern, step->content)
                             : replace_all(current, step->literal, step->content);
        break;
    }
    scratch = std::move(next);
    current = scratch;
  }
  return current;
}

}  // namespace ds
