#include "text/pretokenize.h"

#include <optional>

#include "base/error.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/pattern.h"

namespace ds {
namespace {

constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view deepseek3_patterns[] = {
    R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

Behavior parse_behavior(const std::string& name, const std::string& where) {
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  fail(where, ": the Split behavior ", name, " is not supported");
}

using Range = Pieces::Range;

// A part of a piece: what the pattern matched, or what lies between matches.
struct Part {
  size_t begin, end;
  bool match;
};

// The parts of text[range], as if the range were the whole text. Empty matches are parts too: they separate.
void find_parts(const Pattern& pattern, std::string_view text, Range range, bool invert, std::vector<Part>& parts) {
  parts.clear();
  const std::string_view piece = text.substr(range.begin, range.end - range.begin);
  size_t done = 0, from = 0, begin, end;
  size_t last_end = std::string_view::npos;
  while (from <= piece.size() && pattern.find(piece, from, begin, end)) {
    if (begin == end && begin == last_end) {  // no empty match right after a match
      if (from >= piece.size()) break;
      from += utf8_length(piece[from]);
      continue;
    }
    if (done < begin) parts.push_back({range.begin + done, range.begin + begin, invert});
    parts.push_back({range.begin + begin, range.begin + end, !invert});
    done = last_end = end;
    from = end;
    if (begin == end) {
      if (end >= piece.size()) break;
      from += utf8_length(piece[end]);
    }
  }
  if (done < piece.size()) parts.push_back({range.begin + done, range.end, invert});
}

void append_merged(const std::vector<Part>& parts, Behavior behavior, std::vector<Range>& out) {
  const size_t first = out.size();
  bool previous = false;
  switch (behavior) {
    case Behavior::isolated:
      for (const Part& p : parts) out.push_back({p.begin, p.end});
      break;
    case Behavior::removed:
      for (const Part& p : parts)
        if (!p.match) out.push_back({p.begin, p.end});
      break;
    case Behavior::merged_with_previous:
      for (const Part& p : parts) {
        if (p.match && !previous && out.size() > first)
          out.back().end = p.end;
        else
          out.push_back({p.begin, p.end});
        previous = p.match;
      }
      break;
    case Behavior::merged_with_next:
      for (size_t i = parts.size(); i-- > 0; previous = parts[i].match) {
        if (parts[i].match && !previous && out.size() > first)
          out.back().begin = parts[i].begin;
        else
          out.push_back({parts[i].begin, parts[i].end});
      }
      for (size_t i = first, j = out.size(); i + 1 < j; ++i) std::swap(out[i], out[--j]);
      break;
    case Behavior::contiguous:
      for (const Part& p : parts) {
        if (p.match == previous && out.size() > first)
          out.back().end = p.end;
        else
          out.push_back({p.begin, p.end});
        previous = p.match;
      }
      break;
  }
}

const Json* present(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value && value->type != Json::Type::null ? value : nullptr;
}

}  // namespace

// Cuts every piece at a pattern; before that, Metaspace and ByteLevel's prefix rewrite the text of each piece.
struct Pretokenizer::Step {
  enum class Prefix { none, always, first };
  std::optional<Pattern> pattern;
  Behavior behavior = Behavior::isolated;
  bool invert = false;
  std::string space;               // Metaspace: what replaces a space, and the prefix
  Prefix prefix = Prefix::none;    // prepended unless the piece begins with it
  std::string prefix_text;

  bool rewrites() const { return !space.empty() || prefix != Prefix::none; }
  void rewrite(bool at_start, Pieces& pieces) const;
};

void Pretokenizer::Step::rewrite(bool at_start, Pieces& pieces) const {
  std::string text;
  for (Range& range : pieces.ranges) {
    const std::string_view piece = pieces.text.substr(range.begin, range.end - range.begin);
    const size_t begin = text.size();
    const bool wanted = prefix == Prefix::always || (prefix == Prefix::first && at_start && range.begin == 0);
    if (wanted && !piece.starts_with(prefix_text) && !(!space.empty() && piece.starts_with(' '))) text += prefix_text;
    if (space.empty()) {
      text += piece;
    } else {
      for (const char c : piece) c == ' ' ? text += space : text += c;
    }
    range = {begin, text.size()};
  }
  pieces.owned = std::move(text);
  pieces.text = pieces.owned;
}

Pretokenizer::Pretokenizer(const Json* json, const std::string& where) {
  if (json && json->type != Json::Type::null) add(*json, where, 0);
}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;

void Pretokenizer::add(const Json& json, const std::string& where, int depth) {
  require(depth < 16, where, ": pre-tokenizers nest too deeply");
  const Json* type = json.find("type");
  require(type, where, ": a pre-tokenizer without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = json.find("pretokenizers");
    require(list && list->type == Json::Type::array, where, ": a Sequence without pretokenizers");
    for (const Json& item : list->items) add(item, where, depth + 1);
    return;
  }
  require(!byte_level_, where, ": ", name, " after ByteLevel is not supported");
  auto step = std::make_unique<Step>();
  if (name == "ByteLevel") {
    byte_level_ = true;
    const Json *prefix = present(json, "add_prefix_space"), *regex = present(json, "use_regex");
    if (!prefix || prefix->as_bool(where + ": add_prefix_space")) {
      step->prefix = Step::Prefix::always;
      step->prefix_text.assign(1, ' ');
    }
    if (!regex || regex->as_bool(where + ": use_regex")) step->pattern.emplace(gpt2_pattern, where);
  } else if (name == "Split") {
    const Json *pattern = json.find("pattern"), *behavior = json.find("behavior"), *invert = present(json, "invert");
    require(pattern && behavior, where, ": Split needs pattern and behavior");
    step->behavior = parse_behavior(behavior->as_string(where + ": behavior"), where);
    step->invert = invert && invert->as_bool(where + ": invert");
    const Json *text = pattern->find("String"), *regex = pattern->find("Regex");
    require(text || regex, where, ": a pattern is {\"String\": ...} or {\"Regex\": ...}");
    const std::string& source = (text ? text : regex)->as_string(where + ": pattern");
    require(!source.empty(), where, ": Split with an empty pattern");
    step->pattern.emplace(text ? quote_pattern(source) : source, where);
  } else if (name == "Digits") {
    const Json* individual = present(json, "individual_digits");
    const bool each = individual && individual->as_bool(where + ": individual_digits");
    step->behavior = each ? Behavior::isolated : Behavior::contiguous;
    step->pattern.emplace("\\p{N}", where);
  } else if (name == "Metaspace") {
    const Json *scheme = present(json, "prepend_scheme"), *legacy = present(json, "add_prefix_space");
    const Json *replacement = present(json, "replacement"), *split = present(json, "split");
    step->space = replacement ? replacement->as_string(where + ": replacement") : "\u2581";
    require(!step->space.empty(), where, ": Metaspace with an empty replacement");
    const bool unprefixed = !scheme && legacy && !legacy->as_bool(where + ": add_prefix_space");
    const std::string when = scheme ? scheme->as_string(where + ": prepend_scheme") : std::string(unprefixed ? "never" : "always");
    require(when == "always" || when == "first" || when == "never", where, ": prepend_scheme ", when,
            " is not supported");
    step->prefix = when == "always" ? Step::Prefix::always : when == "first" ? Step::Prefix::first : Step::Prefix::none;
    step->prefix_text = step->space;
    step->behavior = Behavior::merged_with_next;
    if (!split || split->as_bool(where + ": split")) step->pattern.emplace(quote_pattern(step->space), where);
  } else {
    fail(where, ": the pre-tokenizer ", name, " is not supported");
  }
  steps_.push_back(std::move(step));
}

void Pretokenizer::split(std::string_view text, bool at_start, Pieces& out) const {
  out.text = text;
  out.ranges.clear();
  if (text.empty()) return;
  out.ranges.push_back({0, text.size()});
  std::vector<Range> next;
  std::vector<Part> parts;
  for (const auto& step : steps_) {
    if (step->rewrites()) step->rewrite(at_start, out);
    if (!step->pattern) continue;
    next.clear();
    for (const Range& range : out.ranges) {
      find_parts(*step->pattern, out.text, range, step->invert, parts);
      append_merged(parts, step->behavior, next);
    }
    std::erase_if(next, [](const Range& range) { return range.begin == range.end; });
    out.ranges.swap(next);
  }
}

std::string named_pretokenizer(std::string_view name) {
  std::vector<std::string_view> patterns;
  if (name == "llama3") patterns = {llama3_pattern};
  else if (name == "qwen2") patterns = {qwen2_pattern};
  else if (name == "deepseek3") patterns.assign(std::begin(deepseek3_patterns), std::end(deepseek3_patterns));
  else if (name != "gpt2")
    throw UsageError(cat("the pre-tokenizer is gpt2, llama3, qwen2 or deepseek3, not ", name));
  JsonWriter json;
  const auto byte_level = [&](bool regex) {
    json.open('{').field("type", "ByteLevel").field("add_prefix_space", false).field("trim_offsets", true);
    json.field("use_regex", regex).close();
  };
  if (patterns.empty()) {
    byte_level(true);
    return json.text;
  }
  json.open('{').field("type", "Sequence").open('[', "pretokenizers");
  for (const std::string_view pattern : patterns) {
    json.open('{').field("type", "Split").open('{', "pattern").field("Regex", pattern).close();
    json.field("behavior", "Isolated").field("invert", false).close();
  }
  byte_level(false);
  json.close().close();
  return json.text;
}

}  // namespace ds
