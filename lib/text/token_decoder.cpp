#include "text/token_decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/splits.h"
#include "text/unicode.h"

namespace ds {

struct TokenDecoder::Step {
  enum class Kind { byte_level, byte_fallback, fuse, replace, strip, metaspace, word_piece, bpe } kind;
  std::string from,
      to;  // replace; of metaspace the replacement, strip the character, word_piece the prefix, bpe the suffix
  std::optional<Finder> finder;  // replace with a Regex, instead of `from`
  bool cleanup = false;          // word_piece: no spaces before punctuation
  int64_t start = 0, stop = 0;   // strip: at most so many at each end
  bool prefix = false;           // metaspace: the first token's are dropped

  void apply(std::vector<std::string>& tokens) const;
  void replace(std::string& token) const;
  void join_word(std::string& token, bool first) const;
};

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string::npos; at = hit + from.size())
    out.append(text, at, hit - at).append(to);
  if (at) text = out.append(text, at);
}

// The byte of "<0xHH>", or -1.
int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string byte_level_bytes(const std::string& token) {
  auto bytes = from_byte_level(token);
  return bytes ? std::move(*bytes) : token;
}

// Runs of byte tokens become their text, or one U+FFFD a byte where that is not UTF-8.
std::vector<std::string> join_byte_tokens(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string run;
  const auto flush = [&] {
    if (run.empty()) return;
    if (is_valid_utf8(run))
      out.push_back(run);
    else
      out.insert(out.end(), run.size(), "\xef\xbf\xbd");
    run.clear();
  };
  for (std::string& token : tokens) {
    if (const int byte = fallback_byte(token); byte >= 0) {
      run += static_cast<char>(byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  return out;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) append_utf8(out, decode_utf8(bytes, at));
  return out;
}

std::string concatenate(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

void strip(std::string& token, const std::string& character, int64_t start, int64_t stop) {
  for (; start > 0 && token.starts_with(character); --start) token.erase(0, character.size());
  for (; stop > 0 && token.ends_with(character); --stop) token.resize(token.size() - character.size());
}

}  // namespace

void TokenDecoder::Step::replace(std::string& token) const {
  if (!finder) return replace_all(token, from, to);
  std::string scratch, out;
  const std::string_view text = finder->prepare(token, scratch);
  size_t done = 0;
  for_each_match(*finder, text, [&](size_t begin, size_t end) {
    out.append(token, done, begin - done).append(to);
    done = end;
  });
  token = out.append(token, done);
}

void TokenDecoder::Step::join_word(std::string& token, bool first) const {
  if (!first) {
    if (token.starts_with(from))
      token.erase(0, from.size());
    else
      token.insert(0, 1, ' ');
  }
  if (!cleanup) return;
  static constexpr std::pair<std::string_view, std::string_view> tidied[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [loose, tight] : tidied) replace_all(token, loose, tight);
}

void TokenDecoder::Step::apply(std::vector<std::string>& tokens) const {
  switch (kind) {
    case Kind::byte_level: {
      std::string bytes;
      for (const std::string& token : tokens) bytes += byte_level_bytes(token);
      tokens.assign(1, is_valid_utf8(bytes) ? std::move(bytes) : replace_invalid_utf8(bytes));
      break;
    }
    case Kind::byte_fallback:
      tokens = join_byte_tokens(tokens);
      break;
    case Kind::fuse:
      tokens.assign(1, concatenate(tokens));
      break;
    case Kind::replace:
      for (std::string& token : tokens) replace(token);
      break;
    case Kind::strip:
      for (std::string& token : tokens) strip(token, from, start, stop);
      break;
    case Kind::word_piece:
      for (size_t i = 0; i < tokens.size(); ++i) join_word(tokens[i], i == 0);
      break;
    case Kind::bpe:
      for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], from, i + 1 == tokens.size() ? "" : " ");
      break;
    case Kind::metaspace:
      for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], from, i == 0 && prefix ? "" : " ");
      break;
  }
}

TokenDecoder::TokenDecoder(const Json* json, const std::string& where) {
  if (!json || json->type == Json::Type::null) return;
  present_ = true;
  add(*json, where, 0);
}
TokenDecoder::~TokenDecoder() = default;
TokenDecoder::TokenDecoder(TokenDecoder&&) noexcept = default;

void TokenDecoder::add(const Json& json, const std::string& where, int depth) {
  require(depth < 16, where, ": decoders nest too deeply");
  const auto field = [&](std::string_view key) -> const Json* {
    const Json* value = json.find(key);
    return value && value->type != Json::Type::null ? value : nullptr;
  };
  const Json* type = field("type");
  require(type, where, ": a decoder without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = field("decoders");
    require(list && list->type == Json::Type::array, where, ": a Sequence without decoders");
    for (const Json& item : list->items) add(item, where, depth + 1);
    return;
  }
  auto step = std::make_unique<Step>();
  if (name == "ByteLevel") {
    step->kind = Step::Kind::byte_level;
  } else if (name == "ByteFallback") {
    step->kind = Step::Kind::byte_fallback;
  } else if (name == "Fuse") {
    step->kind = Step::Kind::fuse;
  } else if (name == "Replace") {
    const Json *pattern = field("pattern"), *content = field("content");
    const Json *text = pattern ? pattern->find("String") : nullptr, *regex = pattern ? pattern->find("Regex") : nullptr;
    require((text || regex) && content, where, ": Replace needs content and a pattern");
    step->kind = Step::Kind::replace;
    step->from = (text ? text : regex)->as_string(where + ": pattern");
    if (!text) step->finder.emplace(Pattern(step->from, where));
    step->to = content->as_string(where + ": content");
  } else if (name == "WordPiece") {
    const Json *prefix = field("prefix"), *cleanup = field("cleanup");
    step->kind = Step::Kind::word_piece;
    step->from = prefix ? prefix->as_string(where + ": prefix") : "##";
    step->cleanup = !cleanup || cleanup->as_bool(where + ": cleanup");
  } else if (name == "BPEDecoder") {
    const Json* suffix = field("suffix");
    step->kind = Step::Kind::bpe;
    step->from = suffix ? suffix->as_string(where + ": suffix") : "</w>";
  } else if (name == "Strip") {
    const Json *content = field("content"), *start = field("start"), *stop = field("stop");
    require(content && start && stop, where, ": Strip needs content, start and stop");
    step->kind = Step::Kind::strip;
    step->from = content->as_string(where + ": content");
    step->start = start->as_int(where + ": start");
    step->stop = stop->as_int(where + ": stop");
  } else if (name == "Metaspace") {
    const Json *replacement = field("replacement"), *scheme = field("prepend_scheme"),
               *legacy = field("add_prefix_space");
    step->kind = Step::Kind::metaspace;
    step->from = replacement ? replacement->as_string(where + ": replacement") : "\u2581";
    step->prefix = scheme ? scheme->as_string(where + ": prepend_scheme") != "never"
                          : !legacy || legacy->as_bool(where + ": add_prefix_space");
  } else {
    fail(where, ": the decoder ", name, " is not supported");
  }
  const bool needs_text = step->kind == Step::Kind::replace || step->kind == Step::Kind::strip ||
                          step->kind == Step::Kind::metaspace || step->kind == Step::Kind::bpe;
  require(!needs_text || !step->from.empty(), where, ": ", name, " of an empty text");
  steps_.push_back(std::move(step));
}

std::string TokenDecoder::decode(std::vector<std::string> tokens) const {
  if (!present_) {
    std::string out;
    for (size_t i = 0; i < tokens.size(); ++i) (out += i ? " " : "") += tokens[i];
    return out;
  }
  for (const auto& step : steps_) step->apply(tokens);
  return concatenate(tokens);
}

std::string TokenDecoder::bytes(const std::string& token) const {
  std::string out = token;
  for (const auto& step : steps_) {
    if (step->kind == Step::Kind::byte_level) return byte_level_bytes(out);
    if (step->kind == Step::Kind::replace) step->replace(out);
    if (step->kind == Step::Kind::word_piece) step->join_word(out, false);
    if (step->kind == Step::Kind::bpe) replace_all(out, step->from, " ");
    if (step->kind == Step::Kind::metaspace) replace_all(out, step->from, " ");
    if (step->kind == Step::Kind::byte_fallback)
      if (const int byte = fallback_byte(out); byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  return out;
}

}  // namespace ds
