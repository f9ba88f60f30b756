#include "text/pretokenize.h"

#include <optional>

#include "base/error.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/splits.h"
#include "text/unicode.h"
#include "text/unicode_versions.h"

namespace ds {
namespace {

const Json* present(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value && value->type != Json::Type::null ? value : nullptr;
}

// The pieces of Whitespace: \w+|[^\w\s]+
void scan_words(std::string_view text, TextRange range, std::vector<TextRange>& pieces) {
  enum { space, word, other } now = space, previous = space;
  for (size_t at = range.begin; at < range.end; previous = now) {
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    now = is_word16(c) ? word : is_space(c) ? space : other;
    if (now == space) continue;
    if (now == previous)
      pieces.back().end = at;
    else
      pieces.push_back({begin, at});
  }
}

}  // namespace

// First the text of each piece is rewritten (Metaspace, ByteLevel's prefix), then it is cut.
struct Pretokenizer::Step {
  enum class Prefix { none, always, first };
  std::string space;             // Metaspace: what replaces a space, and the prefix
  Prefix prefix = Prefix::none;  // prepended unless the piece begins with it
  std::string prefix_text;
  Scanner scanner = nullptr;  // cuts, instead of `split`
  std::optional<Split> split;
  std::string pattern;         // of an isolated Split: a scanner may take its place
  size_t length = 0;           // FixedLength: characters in a piece
  bool byte_alphabet = false;  // in the end, bytes are written in the byte-level alphabet

  bool adds_text() const { return !space.empty() || prefix != Prefix::none; }
  void rewrite(bool at_start, Pieces& pieces) const;
  void cut(MatchSteps& steps, Pieces& pieces) const;
};

void Pretokenizer::Step::rewrite(bool at_start, Pieces& pieces) const {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (TextRange& range : pieces.ranges) {
    const std::string_view piece = pieces.text.substr(range.begin, range.end - range.begin);
    const size_t begin = text.size();
    const bool wanted = prefix == Prefix::always || (prefix == Prefix::first && at_start && range.begin == 0);
    if (wanted && !piece.starts_with(prefix_text) && !(!space.empty() && piece.starts_with(' '))) text += prefix_text;
    if (space.empty()) {
      text += piece;
    } else {
      size_t at = 0;
      for (size_t hit; (hit = piece.find(' ', at)) != std::string_view::npos; at = hit + 1)
        text.append(piece, at, hit - at).append(space);
      text.append(piece, at);
    }
    range = {begin, text.size()};
  }
  pieces.owned = std::move(text);
  pieces.text = pieces.owned;
}

void Pretokenizer::Step::cut(MatchSteps& steps, Pieces& pieces) const {
  if (scanner || length) {
    std::vector<TextRange> out;
    for (const TextRange& range : pieces.ranges) {
      if (scanner) {
        scanner(pieces.text, range, out);
        continue;
      }
      size_t at = range.begin;
      while (at < range.end) {
        const size_t begin = at;
        for (size_t i = 0; i < length && at < range.end; ++i) at += utf8_length(pieces.text[at]);
        out.push_back({begin, at});
      }
    }
    pieces.ranges.swap(out);
  } else if (split) {
    apply_split(*split, pieces.text, steps, pieces.ranges);
  }
  if (!byte_alphabet) return;
  std::string text;
  for (TextRange& range : pieces.ranges) {
    const size_t begin = text.size();
    text += to_byte_level(pieces.text.substr(range.begin, range.end - range.begin));
    range = {begin, text.size()};
  }
  pieces.owned = std::move(text);
  pieces.text = pieces.owned;
}

Pretokenizer::Pretokenizer(const Json* json, bool keep_bytes, const std::string& where) {
  if (json && json->type != Json::Type::null) add(*json, where, 0);
  if (keep_bytes && !steps_.empty() && steps_.back()->byte_alphabet) {
    steps_.back()->byte_alphabet = false;
    byte_level_ = true;
  }
  use_scanners();
}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;

void Pretokenizer::use_scanners() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto is = [&](size_t at, size_t pattern) {
      return at < steps_.size() && same_pattern(steps_[at]->pattern, deepseek3_patterns[pattern]);
    };
    if (is(i, 0) && is(i + 1, 1) && is(i + 2, 2)) {
      steps_[i]->scanner = scan_deepseek3;
      steps_.erase(steps_.begin() + static_cast<ptrdiff_t>(i) + 1, steps_.begin() + static_cast<ptrdiff_t>(i) + 3);
    } else if (const Scanner scanner = scanner_of(steps_[i]->pattern)) {
      steps_[i]->scanner = scanner;
    }
  }
}

void Pretokenizer::add(const Json& json, const std::string& where, int depth) {
  require(depth < 16, where, ": pre-tokenizers nest too deeply");
  const Json* type = present(json, "type");
  require(type, where, ": a pre-tokenizer without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = present(json, "pretokenizers");
    require(list && list->type == Json::Type::array, where, ": a Sequence without pretokenizers");
    for (const Json& item : list->items) add(item, where, depth + 1);
    return;
  }
  const auto flag = [&](std::string_view key, bool otherwise) {
    const Json* value = present(json, key);
    return value ? value->as_bool(cat(where, ": ", name, ": ", key)) : otherwise;
  };
  const auto text = [&](const char* key, const char* otherwise) {
    const Json* value = present(json, key);
    require(value || otherwise, where, ": ", name, " needs ", key);
    return value ? value->as_string(cat(where, ": ", name, ": ", key)) : std::string(otherwise);
  };
  auto step = std::make_unique<Step>();
  const auto cut_at = [&](Finder finder, SplitBehavior behavior, bool invert = false) {
    step->split = Split{std::move(finder), behavior, invert};
  };
  if (name == "ByteLevel") {
    if (flag("add_prefix_space", true)) {
      step->prefix = Step::Prefix::always;
      step->prefix_text.assign(1, ' ');
    }
    if (flag("use_regex", true)) step->pattern = gpt2_pattern;
    step->byte_alphabet = true;
  } else if (name == "Split") {
    const Json* pattern = present(json, "pattern");
    require(pattern, where, ": Split needs pattern and behavior");
    const SplitBehavior behavior = parse_split_behavior(text("behavior", nullptr), where);
    const bool invert = flag("invert", false);
    const Json *literal = present(*pattern, "String"), *regex = present(*pattern, "Regex");
    require(literal || regex, where, ": a pattern is {\"String\": ...} or {\"Regex\": ...}");
    const std::string& source = (literal ? literal : regex)->as_string(where + ": pattern");
    require(!source.empty(), where, ": Split with an empty pattern");
    cut_at(literal ? Finder(source) : Finder(Pattern(source, where)), behavior, invert);
    if (regex && behavior == SplitBehavior::isolated && !invert) step->pattern = source;
  } else if (name == "Digits") {
    cut_at(Finder(is_numeric17),
           flag("individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous);
  } else if (name == "Punctuation") {
    cut_at(Finder(is_punctuation8), parse_split_behavior(text("behavior", "Isolated"), where));
  } else if (name == "WhitespaceSplit") {
    cut_at(Finder(is_space), SplitBehavior::removed);
  } else if (name == "BertPreTokenizer") {
    step->scanner = scan_bert;
  } else if (name == "Whitespace") {
    step->scanner = scan_words;
  } else if (name == "CharDelimiterSplit") {
    const std::string delimiter = text("delimiter", nullptr);
    require(!delimiter.empty(), where, ": CharDelimiterSplit at nothing");
    cut_at(Finder(delimiter), SplitBehavior::removed);
  } else if (name == "FixedLength") {
    const Json* length = present(json, "length");
    const int64_t characters = length ? length->as_int(where + ": FixedLength: length") : 5;
    require(characters > 0, where, ": FixedLength of ", characters, " characters");
    step->length = static_cast<size_t>(characters);
  } else if (name == "Metaspace") {
    step->space = text("replacement", "\u2581");
    require(!step->space.empty(), where, ": Metaspace with an empty replacement");
    const std::string when = text("prepend_scheme", flag("add_prefix_space", true) ? "always" : "never");
    require(when == "always" || when == "first" || when == "never", where, ": prepend_scheme ", when,
            " is not supported");
    step->prefix = when == "always" ? Step::Prefix::always : when == "first" ? Step::Prefix::first : Step::Prefix::none;
    step->prefix_text = step->space;
    if (flag("split", true)) cut_at(Finder(step->space), SplitBehavior::merged_with_next);
  } else {
    fail(where, ": the pre-tokenizer ", name, " is not supported");
  }
  steps_.push_back(std::move(step));
}

void Pretokenizer::split(std::string_view text, bool at_start, MatchSteps& steps, Pieces& out) const {
  out.text = text;
  out.ranges.clear();
  if (text.empty()) return;
  out.ranges.push_back({0, text.size()});
  for (const auto& step : steps_) {
    if (out.ranges.empty()) return;
    at_start = at_start && out.ranges[0].begin == 0;
    if (step->adds_text()) step->rewrite(at_start, out);
    step->cut(steps, out);
  }
}

std::string split_pretokenizer(const std::vector<std::string_view>& patterns) {
  JsonWriter json;
  json.open('{').field("type", "Sequence").open('[', "pretokenizers");
  for (const std::string_view pattern : patterns) {
    json.open('{').field("type", "Split").open('{', "pattern").field("Regex", pattern).close();
    json.field("behavior", "Isolated").field("invert", false).close();
  }
  json.open('{').field("type", "ByteLevel").field("add_prefix_space", false).field("trim_offsets", true);
  json.field("use_regex", false).close().close().close();
  return json.text;
}

std::string named_pretokenizer(std::string_view name) {
  if (name == "llama3") return split_pretokenizer({llama3_pattern});
  if (name == "qwen2") return split_pretokenizer({qwen2_pattern});
  if (name == "deepseek3") return split_pretokenizer({std::begin(deepseek3_patterns), std::end(deepseek3_patterns)});
  if (name != "gpt2") throw UsageError(cat("the pre-tokenizer is gpt2, llama3, qwen2 or deepseek3, not ", name));
  JsonWriter json;
  json.open('{').field("type", "ByteLevel").field("add_prefix_space", false).field("trim_offsets", true);
  json.field("use_regex", true).close();
  return json.text;
}

}  // namespace ds
