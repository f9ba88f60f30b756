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
  bool joined = false;           // a step before this one made one text of all tokens

  void apply(std::vector<std::string>& tokens, bool continues, const GrowthLimit& growth, MatchSteps& steps) const;
  void replace(std::string& token, const GrowthLimit& growth, MatchSteps& steps) const;
  void join_word(std::string& token, bool first) const;
  void strip(std::string& token, bool at_start) const;
  // What one text of all tokens has instead of `from`, of the kinds that replace.
  std::string_view joined_to() const {
    if (kind == Kind::replace) return to;
    return kind == Kind::metaspace && !prefix ? " " : "";
  }
};

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to, const GrowthLimit* growth = nullptr) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string::npos; at = hit + from.size()) {
    out.append(text, at, hit - at).append(to);
    if (growth) growth->check(out.size());
  }
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

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Cuts off the first character of bytes; a byte that begins none is one U+FFFD. Empty where there is none, or its last bytes
// may still follow.
std::string take_character(std::string& bytes) {
  if (bytes.empty()) return "";
  size_t at = 0;
  if (decode_utf8(bytes, at) == replacement_character && !bytes.starts_with(kReplacement)) {
    // A valid beginning stays valid whatever is added: it is what decode_utf8 takes as one part, to the end.
    const auto lead = static_cast<uint8_t>(bytes[0]);
    if (at == bytes.size() && lead >= 0xc2 && lead <= 0xf4 && at < utf8_length(bytes[0])) return "";
    bytes.erase(0, 1);
    return std::string(kReplacement);
  }
  std::string out = bytes.substr(0, at);
  bytes.erase(0, at);
  return out;
}

// Runs of byte tokens become their text. Where a run is not UTF-8, all of its bytes become one U+FFFD each, as in Hugging
// Face tokenizers; `by_character`: only those that are in no character, for a stream has told of the characters before them.
std::vector<std::string> join_byte_tokens(std::vector<std::string>& tokens, bool by_character) {
  std::vector<std::string> out;
  std::string run;
  const auto flush = [&] {
    if (by_character)
      for (std::string next; !(next = take_character(run)).empty();) out.push_back(std::move(next));
    else if (is_valid_utf8(run) && !run.empty())
      out.push_back(std::exchange(run, {}));
    out.insert(out.end(), run.size(), std::string(kReplacement));
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

}  // namespace

void TokenDecoder::Step::replace(std::string& token, const GrowthLimit& growth, MatchSteps& steps) const {
  if (!finder) {
    replace_all(token, from, to, &growth);
    return;
  }
  std::string scratch, out;
  const std::string_view text = finder->prepare(token, scratch);
  size_t done = 0;
  for_each_match(*finder, text, steps, [&](size_t begin, size_t end) {
    out.append(token, done, begin - done).append(to);
    growth.check(out.size());
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

void TokenDecoder::Step::strip(std::string& token, bool at_start) const {
  size_t begin = 0, end = token.size();
  const std::string_view text = token;
  for (int64_t left = at_start ? start : 0; left > 0 && text.substr(begin).starts_with(from); --left) begin += from.size();
  for (int64_t left = stop; left > 0 && text.substr(begin, end - begin).ends_with(from); --left) end -= from.size();
  token.resize(end);
  token.erase(0, begin);
}

void TokenDecoder::Step::apply(std::vector<std::string>& tokens, bool continues, const GrowthLimit& growth,
                               MatchSteps& steps) const {
  const bool begins = !continues || joined;  // the first token begins a text, or is one, of which the beginning is gone
  switch (kind) {
    case Kind::byte_level: {
      std::string bytes;
      for (const std::string& token : tokens) bytes += byte_level_bytes(token);
      tokens.assign(1, is_valid_utf8(bytes) ? std::move(bytes) : replace_invalid_utf8(bytes));
      break;
    }
    case Kind::byte_fallback:
      if (!(continues && joined)) tokens = join_byte_tokens(tokens, continues);
      break;
    case Kind::fuse:
      tokens.assign(1, concatenate(tokens));
      break;
    case Kind::replace: {
      size_t bytes = 0;
      for (std::string& token : tokens) {
        replace(token, growth, steps);
        growth.check(bytes += token.size());
      }
      break;
    }
    case Kind::strip:
      for (std::string& token : tokens) strip(token, !(continues && joined));
      break;
    case Kind::word_piece:
      for (size_t i = 0; i < tokens.size(); ++i) join_word(tokens[i], begins && i == 0);
      break;
    case Kind::bpe:
      for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], from, i + 1 == tokens.size() ? "" : " ");
      break;
    case Kind::metaspace:
      for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], from, begins && i == 0 && prefix ? "" : " ");
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
    require(step->to.size() <= GrowthLimit::growth, where, ": Replace by a text of ", step->to.size(),
            " bytes; at most ", GrowthLimit::growth, " are supported");
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
  step->joined = !steps_.empty() && (steps_.back()->joined || steps_.back()->kind == Step::Kind::fuse ||
                                     steps_.back()->kind == Step::Kind::byte_level);
  steps_.push_back(std::move(step));
}

std::string TokenDecoder::decode(std::vector<std::string> tokens, bool continues) const {
  if (!present_) {
    std::string out;
    for (size_t i = 0; i < tokens.size(); ++i) (out += i || continues ? " " : "") += tokens[i];
    return out;
  }
  size_t bytes = 0;
  for (const std::string& token : tokens) bytes += token.size();
  const GrowthLimit growth(bytes, "decoder");
  MatchSteps steps(bytes);
  for (const auto& step : steps_) step->apply(tokens, continues, growth, steps);
  return concatenate(tokens);
}

std::string TokenDecoder::bytes(const std::string& token) const {
  std::string out = token;
  const GrowthLimit growth(token.size(), "decoder");
  MatchSteps steps(token.size());
  for (const auto& step : steps_) {
    if (step->kind == Step::Kind::byte_level) return byte_level_bytes(out);
    if (step->kind == Step::Kind::replace) step->replace(out, growth, steps);
    if (step->kind == Step::Kind::word_piece) step->join_word(out, false);
    if (step->kind == Step::Kind::bpe) replace_all(out, step->from, " ");
    if (step->kind == Step::Kind::metaspace) replace_all(out, step->from, " ");
    if (step->kind == Step::Kind::byte_fallback)
      if (const int byte = fallback_byte(out); byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  return out;
}

namespace {

bool continues_character(char c) { return (static_cast<uint8_t>(c) & 0xc0) == 0x80; }

// Cuts off and returns what comes before a character whose last bytes are still missing.
std::string take_characters(std::string& bytes) {
  size_t lead = bytes.size();
  while (lead > 0 && bytes.size() - lead < 3 && continues_character(bytes[lead - 1])) --lead;
  size_t end = bytes.size();
  if (lead > 0) {
    // A valid beginning stays valid whatever is added: it is what decode_utf8 takes as one part, to the end.
    size_t at = --lead;
    if (static_cast<uint8_t>(bytes[lead]) >= 0xc2 && bytes.size() - lead < utf8_length(bytes[lead])) {
      decode_utf8(bytes, at);
      if (at == bytes.size()) end = lead;
    }
  }
  std::string out = bytes.substr(0, end);
  bytes.erase(0, end);
  return out;
}

// Cuts off and returns what no later text can make a part of `wanted`, with `to` for each one in it.
std::string take_replaced(std::string& text, std::string_view wanted, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(wanted, at)) != std::string::npos; at = hit + wanted.size())
    out.append(text, at, hit - at).append(to);
  size_t kept = std::min(wanted.size() - 1, text.size() - at);
  while (kept > 0 && !text.ends_with(wanted.substr(0, kept))) --kept;
  out.append(text, at, text.size() - kept - at);
  text.erase(0, text.size() - kept);
  return out;
}

}  // namespace

TokenDecoder::Stream::Stream(const TokenDecoder& decoder)
    : decoder_(decoder), held_(decoder.steps_.size()), waits_(decoder.steps_.size()), steps_(0) {}

std::string TokenDecoder::Stream::add(std::string token) {
  received_ += token.size();
  steps_.left += MatchSteps::of_byte * token.size();
  if (decoder_.present_)
    push(0, std::move(token));
  else
    make(token.insert(0, 1, ' '));
  return std::exchange(out_, {});
}

std::string TokenDecoder::Stream::finish() {
  for (size_t step = 0; step < decoder_.steps_.size(); ++step) flush(step);
  return std::exchange(out_, {});
}

void TokenDecoder::Stream::make(std::string_view text) {
  GrowthLimit(received_, "decoder").check(made_ += text.size());
  out_ += text;
}

void TokenDecoder::Stream::push(size_t at, std::string token) {
  if (at == decoder_.steps_.size()) return make(token);
  const Step& step = *decoder_.steps_[at];
  std::string& held = held_[at];
  using Kind = Step::Kind;
  const bool replaces =
      (step.kind == Kind::replace && !step.finder) || step.kind == Kind::metaspace || step.kind == Kind::bpe;
  if (step.joined) {
    if (step.kind == Kind::fuse || step.kind == Kind::byte_fallback || (step.kind == Kind::strip && step.stop <= 0) ||
        (step.kind == Kind::word_piece && !step.cleanup))
      return push(at + 1, std::move(token));
    held += token;  // other kinds need the whole text
    GrowthLimit(received_, "decoder").check(held.size());
    if (replaces) push(at + 1, take_replaced(held, step.from, step.joined_to()));
    return;
  }
  switch (step.kind) {
    case Kind::byte_level:
      held += byte_level_bytes(token);
      return push(at + 1, replace_invalid_utf8(take_characters(held)));
    case Kind::byte_fallback:
      if (const int byte = fallback_byte(token); byte >= 0) {
        held += static_cast<char>(byte);
        for (std::string next; !(next = take_character(held)).empty();) push(at + 1, std::move(next));
        return;
      }
      flush(at);
      break;
    case Kind::bpe:
      token.swap(held);
      if (!waits_[at]) {
        waits_[at] = true;
        return;
      }
      replace_all(token, step.from, " ");
      break;
    case Kind::replace:
      step.replace(token, GrowthLimit(received_, "decoder"), steps_);
      break;
    case Kind::strip:
      step.strip(token, true);
      break;
    case Kind::word_piece:
      step.join_word(token, false);
      break;
    case Kind::metaspace:
      replace_all(token, step.from, " ");
      break;
    case Kind::fuse:
      break;
  }
  push(at + 1, std::move(token));
}

void TokenDecoder::Stream::flush(size_t at) {
  const Step& step = *decoder_.steps_[at];
  std::vector<std::string> rest;
  std::string held = std::exchange(held_[at], {});
  if (step.kind == Step::Kind::byte_fallback && !step.joined) {
    rest.assign(held.size(), std::string(kReplacement));
  } else if (step.kind == Step::Kind::byte_level && !step.joined) {
    rest.push_back(replace_invalid_utf8(held));
  } else if (step.joined || waits_[at]) {
    rest.push_back(std::move(held));
    step.apply(rest, true, GrowthLimit(received_, "decoder"), steps_);
  }
  for (std::string& token : rest) push(at + 1, std::move(token));
}

}  // namespace ds
