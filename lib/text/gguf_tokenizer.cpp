// The tokenizers of GGUF files.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "io/gguf.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr std::string_view space_mark = "\u2581";
enum TokenType : int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

// The lists of the file that have an entry for every token.
struct Entries {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
  std::vector<double> scores;

  bool joins(size_t id) const { return types[id] == normal || types[id] == user_defined || types[id] == unused; }
};

const GgufValue& required(const GgufFile& file, std::string_view key, GgufValue::Type type, std::string_view what) {
  const GgufValue* value = file.get(key);
  require(value && value->type == type, file.path(), ": ", key, " is ", value ? "no list of " : "missing, a list of ",
          what);
  return *value;
}

Entries read_entries(const GgufFile& file) {
  Entries entries;
  for (const std::string_view token :
       required(file, "tokenizer.ggml.tokens", GgufValue::Type::strings, "strings").strings) {
    require(is_valid_utf8(token), file.path(), ": token ", entries.tokens.size(), " is not UTF-8");
    entries.tokens.emplace_back(token);
  }
  const size_t count = entries.tokens.size();
  require(count > 0, file.path(), ": no tokens");
  entries.types.assign(count, normal);
  if (file.get("tokenizer.ggml.token_type"))
    entries.types = required(file, "tokenizer.ggml.token_type", GgufValue::Type::integers, "integers").integers;
  entries.scores.assign(count, 0);
  if (file.get("tokenizer.ggml.scores"))
    entries.scores = required(file, "tokenizer.ggml.scores", GgufValue::Type::reals, "numbers").reals;
  require(entries.types.size() == count && entries.scores.size() == count, file.path(), ": ", count, " tokens, ",
          entries.types.size(), " types and ", entries.scores.size(), " scores");
  return entries;
}

StringIds ids_of(const std::vector<std::string>& tokens, const std::string& where) {
  StringIds ids;
  ids.reserve(tokens.size());
  for (const std::string& token : tokens)
    require(ids.emplace(token, static_cast<int32_t>(ids.size())).second, where, ": two tokens are ", token);
  return ids;
}

// What is found in a text before anything else.
std::vector<AddedToken> added_tokens(const Entries& entries) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < entries.tokens.size(); ++id) {
    const int64_t type = entries.types[id];
    if (type != unknown && type != control && type != user_defined) continue;
    AddedToken token;
    token.content = entries.tokens[id];
    token.id = static_cast<int32_t>(id);
    token.special = type != user_defined;
    token.normalized = false;
    added.push_back(std::move(token));
  }
  return added;
}

std::optional<int32_t> named_id(const GgufFile& file, std::string_view key, size_t count) {
  if (!file.get(key)) return std::nullopt;
  const int64_t id = file.integer_or(key, 0);
  require(id >= 0 && id < static_cast<int64_t>(count), file.path(), ": ", key, " is ", id, " of ", count, " tokens");
  return static_cast<int32_t>(id);
}

Json json_of(std::string_view text) { return parse_json(text, "tokenizer"); }

// SentencePiece's BPE joins the pair whose token has the highest score: every way to make a token of two is a merge,
// ranked by the token's score.
Bpe scored_bpe(const Entries& entries, const std::string& where) {
  StringIds ids = ids_of(entries.tokens, where);
  std::map<double, int32_t, std::greater<>> rank_of;
  for (const double score : entries.scores) rank_of[score] = 0;
  int32_t next = 0;
  for (auto& [score, rank] : rank_of) rank = next++;
  const auto part = [&](std::string_view text) {
    const int32_t id = id_or_none(ids, text);
    return id >= 0 && entries.joins(static_cast<size_t>(id)) ? id : -1;
  };
  std::vector<TokenMerge> merges;
  std::vector<int32_t> ranks;
  for (size_t id = 0; id < entries.tokens.size(); ++id) {
    if (!entries.joins(id)) continue;
    const std::string_view token = entries.tokens[id];
    require(token.size() <= 4096, where, ": a token of ", token.size(), " bytes is too long");
    for (size_t at = 0; at < token.size();) {
      at += utf8_length(token[at]);
      if (at >= token.size()) break;
      const int32_t left = part(token.substr(0, at)), right = left >= 0 ? part(token.substr(at)) : -1;
      if (right < 0) continue;
      merges.push_back({left, right, static_cast<int32_t>(id)});
      ranks.push_back(rank_of[entries.scores[id]]);
    }
  }
  BpeOptions options;
  options.byte_fallback = true;
  for (size_t id = 0; id < entries.tokens.size(); ++id)
    if (entries.types[id] == unknown) options.unk_token = entries.tokens[id];
  return Bpe(std::move(ids), merges, ranks, options, where);
}

TokenizerParts read_sentence_piece(const GgufFile& file, const Entries& entries) {
  const bool prefix = file.flag_or("tokenizer.ggml.add_space_prefix", true);
  const std::string replace = R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})";
  const std::string back =
      R"({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"})";
  const Json normalizer = json_of(
      prefix ? cat(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, )", replace, "]}")
             : replace);
  const Json decoder = json_of(cat(R"({"type": "Sequence", "decoders": [)", back,
                                   prefix ? R"(, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})" : "]}"));
  return {Normalizer(&normalizer, file.path()),
          Pretokenizer(nullptr, false, file.path()),
          scored_bpe(entries, file.path()),
          TokenDecoder(&decoder, file.path()),
          {},
          added_tokens(entries),
          {},
          {},
          {}};
}

TokenizerParts read_byte_level(const GgufFile& file, const Entries& entries) {
  BpeOptions options;
  options.byte_level = true;
  const std::string where = file.path() + ": tokenizer.ggml.pre";
  const Json split = json_of(gguf_pretokenizer(file.string_or("tokenizer.ggml.pre", ""), options.ignore_merges, where));
  const Json decoder = json_of(R"({"type": "ByteLevel"})");
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string_view merge :
       required(file, "tokenizer.ggml.merges", GgufValue::Type::strings, "strings").strings) {
    const size_t space = merge.find(' ', 1);
    require(space != std::string_view::npos, file.path(), ": tokenizer.ggml.merges: merge ", pairs.size(),
            " is no pair");
    pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  StringIds ids = ids_of(entries.tokens, file.path());
  const std::vector<TokenMerge> merges = resolve_merges(ids, pairs, options, file.path());
  return {Normalizer(nullptr, file.path()),
          Pretokenizer(&split, true, file.path()),
          Bpe(std::move(ids), merges, {}, options, file.path()),
          TokenDecoder(&decoder, file.path()),
          {},
          added_tokens(entries),
          {},
          {},
          {}};
}

// Words begin with the mark in these files, and what continues a word is bare: BERT's own way is the reverse.
TokenizerParts read_word_piece(const GgufFile& file, const Entries& entries) {
  std::vector<std::string> tokens = entries.tokens;
  for (size_t id = 0; id < tokens.size(); ++id)
    if (entries.types[id] == normal)
      tokens[id] = tokens[id].starts_with(space_mark) ? tokens[id].substr(space_mark.size()) : "##" + tokens[id];
  WordPieceOptions options;
  if (const auto id = named_id(file, "tokenizer.ggml.unknown_token_id", tokens.size()))
    options.unk_token = tokens[static_cast<size_t>(*id)];
  const Json normalizer = json_of(R"({"type": "BertNormalizer"})"), split = json_of(R"({"type": "BertPreTokenizer"})");
  const Json decoder = json_of(R"({"type": "WordPiece"})");
  return {Normalizer(&normalizer, file.path()),
          Pretokenizer(&split, false, file.path()),
          WordPiece(ids_of(tokens, file.path()), std::move(options)),
          TokenDecoder(&decoder, file.path()),
          {},
          added_tokens(entries),
          {},
          {},
          {}};
}

}  // namespace

TokenizerParts read_gguf_tokenizer(const std::string& path) {
  const GgufFile file(path);
  const std::string model(file.string_or("tokenizer.ggml.model", ""));
  require(!model.empty(), path, ": no tokenizer (tokenizer.ggml.model is missing)");
  const bool pieces = model == "llama", words = model == "bert";
  require(pieces || words || model == "gpt2", path, ": a tokenizer of type ", model,
          " is not supported (llama, gpt2 and bert are)");
  const Entries entries = read_entries(file);
  TokenizerParts parts = pieces  ? read_sentence_piece(file, entries)
                         : words ? read_word_piece(file, entries)
                                 : read_byte_level(file, entries);
  const size_t count = entries.tokens.size();
  parts.bos = named_id(file, "tokenizer.ggml.bos_token_id", count);
  if (words && !parts.bos) parts.bos = named_id(file, "tokenizer.ggml.cls_token_id", count);
  parts.eos = named_id(file, "tokenizer.ggml.eos_token_id", count);
  parts.pad = named_id(file, "tokenizer.ggml.padding_token_id", count);
  const std::string_view pre = file.string_or("tokenizer.ggml.pre", "");
  const bool begins = pieces || words || pre == "llama-bpe" || pre == "tekken";
  const auto separator = named_id(file, "tokenizer.ggml.seperator_token_id", count);
  if (file.flag_or("tokenizer.ggml.add_bos_token", begins)) {
    require(parts.bos.has_value(), path, ": no tokenizer.ggml.bos_token_id to begin a text with");
    parts.special.before.push_back(*parts.bos);
  }
  if (file.flag_or("tokenizer.ggml.add_eos_token", false)) {
    require(parts.eos.has_value(), path, ": no tokenizer.ggml.eos_token_id to end a text with");
    parts.special.after.push_back(*parts.eos);
  } else if (words && file.flag_or("tokenizer.ggml.add_sep_token", true) && separator) {
    parts.special.after.push_back(*separator);
  }
  return parts;
}

}  // namespace ds
