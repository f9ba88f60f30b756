#include "text/normalizer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "io/json.h"
#include "text/bert_normalizer.h"
#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/normal_forms.h"
#include "text/splits.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {

struct Normalizer::Step {
  enum class Kind {
    form,
    prepend,
    replace,
    lowercase,
    strip,
    strip_accents,
    nmt,
    bert,
    charsmap,
    byte_level
  } kind;
  NormalForm form = NormalForm::nfc;
  std::string content;             // prepend, replace
  std::string literal;             // replace: of this text,
  std::optional<Finder> finder;    // or of what this finds
  bool left = true, right = true;  // strip
  std::optional<Charsmap> charsmap;
  std::optional<BertNormalizer> bert;

  // The text after the step: `text` itself, or views `scratch`.
  std::string_view apply(std::string_view text, const GrowthLimit& growth, MatchSteps& steps, std::string& scratch,
                         bool& beheaded) const;
};

namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

// Calls each(out, c) for every character, which appends what becomes of it.
template <class Each>
std::string_view map_characters(std::string_view text, std::string& scratch, bool& beheaded, Each&& each) {
  scratch.clear();
  scratch.reserve(text.size() + text.size() / 8);
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    each(scratch, decode_utf8(text, at));
    beheaded = beheaded || (first && scratch.empty());
  }
  return scratch;
}

void nmt(std::string& out, char32_t c) {
  if ((c >= 0x1 && c <= 0x8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f) return;
  const bool space = c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
  append_utf8(out, space ? U' ' : c);
}

std::string_view strip(std::string_view text, bool left, bool right, bool& beheaded) {
  while (left && !text.empty()) {
    size_t at = 0;
    if (!is_space(decode_utf8(text, at))) break;
    text.remove_prefix(at);
    beheaded = true;
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
    size_t at = begin;
    if (!is_space(decode_utf8(text, at))) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string_view replace_all(std::string_view text, const Finder& finder, std::string_view content,
                             const GrowthLimit& growth, MatchSteps& steps, std::string& scratch, bool& beheaded) {
  std::string mapped;
  const std::string_view prepared = finder.prepare(text, mapped);
  scratch.clear();
  scratch.reserve(text.size() + text.size() / 4);
  size_t done = 0;
  for_each_match(finder, prepared, steps, [&](size_t begin, size_t end) {
    beheaded = beheaded || (begin == 0 && end > 0 && content.empty());
    scratch.append(text, done, begin - done).append(content);
    growth.check(scratch.size());
    done = end;
  });
  scratch.append(text, done);
  return scratch;
}

std::string_view replace_text(std::string_view text, std::string_view literal, std::string_view content,
                              const GrowthLimit& growth, std::string& scratch, bool& beheaded) {
  size_t hit = text.find(literal), done = 0;
  if (hit == std::string_view::npos) return text;
  beheaded = beheaded || (hit == 0 && content.empty());
  scratch.clear();
  scratch.reserve(text.size() + text.size() / 4);
  for (; hit != std::string_view::npos; hit = text.find(literal, done)) {
    scratch.append(text, done, hit - done).append(content);
    growth.check(scratch.size());
    done = hit + literal.size();
  }
  scratch.append(text, done);
  return scratch;
}

// The same for one byte, eight at a time: the space of a SentencePiece tokenizer comes every few bytes.
std::string_view replace_byte(std::string_view text, char literal, std::string_view content, const GrowthLimit& growth,
                              std::string& scratch, bool& beheaded) {
  const auto count = static_cast<size_t>(std::count(text.begin(), text.end(), literal));
  if (count == 0) return text;
  beheaded = beheaded || (text[0] == literal && content.empty());
  constexpr uint64_t ones = 0x0101010101010101u;
  const uint64_t wanted = ones * static_cast<uint8_t>(literal);
  const size_t size = text.size() - count + count * content.size();
  growth.check(size);
  scratch.resize(size + sizeof(uint64_t));  // eight bytes are always written
  char* out = scratch.data();
  for (size_t at = 0; at < text.size();) {
    size_t before = 0;  // bytes before the next such byte
    if (text.size() - at >= sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, text.data() + at, sizeof word);
      std::memcpy(out, &word, sizeof word);
      word ^= wanted;
      const uint64_t hit = (word - ones) & ~word & ones << 7;  // the lowest bit set is right
      before = hit ? static_cast<size_t>(std::countr_zero(hit)) / 8 : sizeof word;
    } else {
      for (; at + before < text.size() && text[at + before] != literal; ++before) out[before] = text[at + before];
    }
    out += before;
    at += before;
    if (before == sizeof(uint64_t) || at == text.size()) continue;
    out = std::copy(content.begin(), content.end(), out);
    ++at;
  }
  scratch.resize(size);
  return scratch;
}

}  // namespace

std::string_view Normalizer::Step::apply(std::string_view text, const GrowthLimit& growth, MatchSteps& steps,
                                         std::string& scratch, bool& beheaded) const {
  switch (kind) {
    case Kind::form:
      return normalize(text, form, scratch);
    case Kind::prepend:
      return scratch = cat(content, text);
    case Kind::replace:
      return finder                ? replace_all(text, *finder, content, growth, steps, scratch, beheaded)
             : literal.size() == 1 ? replace_byte(text, literal[0], content, growth, scratch, beheaded)
                                   : replace_text(text, literal, content, growth, scratch, beheaded);
    case Kind::lowercase:
      return map_characters(text, scratch, beheaded, [](std::string& out, char32_t c) {
        if (c < 0x80)
          out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        else
          append_lower17(out, c);
      });
    case Kind::strip:
      return strip(text, left, right, beheaded);
    case Kind::strip_accents:
      if (is_ascii(text)) return text;
      return map_characters(text, scratch, beheaded, [](std::string& out, char32_t c) {
        if (!is_combining9(c)) append_utf8(out, c);
      });
    case Kind::nmt:
      return map_characters(text, scratch, beheaded, nmt);
    case Kind::bert:
      return bert->apply(text, scratch, beheaded);
    case Kind::charsmap:
      return scratch = charsmap->apply(text);
    case Kind::byte_level:
      return scratch = to_byte_level(text);
  }
  return text;
}

Normalizer::Normalizer(const Json* json, const std::string& where) {
  if (json && json->type != Json::Type::null) add(*json, where, 0);
}
Normalizer::~Normalizer() = default;
Normalizer::Normalizer(Normalizer&&) noexcept = default;

void Normalizer::add(const Json& json, const std::string& where, int depth) {
  require(depth < 16, where, ": normalizers nest too deeply");
  const auto member = [&](std::string_view key) {
    const Json* value = json.find(key);
    return value && value->type != Json::Type::null ? value : nullptr;
  };
  const Json* type = member("type");
  require(type, where, ": a normalizer without type");
  const std::string& name = type->as_string(where + ": type");
  const auto text = [&](const char* key) {
    const Json* value = member(key);
    require(value, where, ": ", name, " needs ", key);
    return value->as_string(cat(where, ": ", name, ": ", key));
  };
  const auto flag = [&](const char* key, bool otherwise) {
    const Json* value = member(key);
    return value ? value->as_bool(cat(where, ": ", name, ": ", key)) : otherwise;
  };
  const auto push = [&](Step::Kind kind) -> Step& {
    steps_.push_back(std::make_unique<Step>());
    steps_.back()->kind = kind;
    return *steps_.back();
  };
  if (name == "Sequence") {
    const Json* list = member("normalizers");
    require(list && list->type == Json::Type::array, where, ": a Sequence without normalizers");
    for (const Json& item : list->items) add(item, where, depth + 1);
  } else if (name == "NFC" || name == "NFD" || name == "NFKC" || name == "NFKD") {
    push(Step::Kind::form).form = name == "NFC"    ? NormalForm::nfc
                                  : name == "NFD"  ? NormalForm::nfd
                                  : name == "NFKC" ? NormalForm::nfkc
                                                   : NormalForm::nfkd;
  } else if (name == "Prepend") {
    std::string prefix = text("prepend");
    require(prefix.size() <= GrowthLimit::growth, where, ": Prepend of a text of ", prefix.size(), " bytes; at most ",
            GrowthLimit::growth, " are supported");
    if (!prefix.empty()) push(Step::Kind::prepend).content = std::move(prefix);
  } else if (name == "Replace") {
    const Json* pattern = member("pattern");
    require(pattern, where, ": Replace needs pattern and content");
    const Json *literal = pattern->find("String"), *regex = pattern->find("Regex");
    require(literal || regex, where, ": a pattern is {\"String\": ...} or {\"Regex\": ...}");
    const std::string& source = (literal ? literal : regex)->as_string(where + ": pattern");
    require(!source.empty(), where, ": Replace with an empty pattern");
    Step& step = push(Step::Kind::replace);
    step.content = text("content");
    require(step.content.size() <= GrowthLimit::growth, where, ": Replace by a text of ", step.content.size(), " bytes; at most ",
            GrowthLimit::growth, " are supported");
    if (literal)
      step.literal = source;
    else
      step.finder.emplace(Pattern(source, where));
  } else if (name == "Lowercase") {
    push(Step::Kind::lowercase);
  } else if (name == "Strip") {
    Step& step = push(Step::Kind::strip);
    step.left = flag("strip_left", true);
    step.right = flag("strip_right", true);
  } else if (name == "StripAccents") {
    push(Step::Kind::strip_accents);
  } else if (name == "Nmt") {
    push(Step::Kind::nmt);
  } else if (name == "ByteLevel") {
    push(Step::Kind::byte_level);
  } else if (name == "BertNormalizer") {
    BertNormalizerOptions options;
    options.clean_text = flag("clean_text", true);
    options.handle_chinese_chars = flag("handle_chinese_chars", true);
    options.lowercase = flag("lowercase", true);
    options.strip_accents = flag("strip_accents", options.lowercase);
    push(Step::Kind::bert).bert.emplace(options);
  } else if (name == "Precompiled") {
    push(Step::Kind::charsmap).charsmap.emplace(decode_base64(text("precompiled_charsmap"), where), where);
  } else {
    fail(where, ": the normalizer ", name, " is not supported");
  }
}

std::string_view Normalizer::apply(std::string_view text, MatchSteps& steps, std::string& scratch,
                                   bool* beheaded) const {
  const GrowthLimit growth(text.size(), "normalizer");
  bool gone = false, in_scratch = false, changed = false;
  std::string other;  // a step reads the one and writes the other
  for (const auto& step : steps_) {
    if (text.empty()) break;
    std::string& target = in_scratch ? other : scratch;
    const std::string_view result = step->apply(text, growth, steps, target, gone);
    if (result.data() == target.data()) {
      in_scratch = !in_scratch;
      changed = true;
    }
    text = result;
    growth.check(text.size());
  }
  if (changed && !in_scratch) text = scratch.assign(text);
  if (beheaded) *beheaded = gone;
  return text;
}

}  // namespace ds
