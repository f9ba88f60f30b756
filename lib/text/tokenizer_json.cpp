// tokenizer.json, the file format of Hugging Face tokenizers.
#include <iterator>
#include <limits>

#include "base/error.h"
#include "io/json.h"
#include "text/tokenizer_parts.h"

namespace ds {
namespace {

const Json* present(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  return value && value->type != Json::Type::null ? value : nullptr;
}

bool flag(const Json& json, std::string_view key, bool otherwise, const std::string& where) {
  const Json* value = present(json, key);
  return value ? value->as_bool(cat(where, ": ", key)) : otherwise;
}

std::string text_or(const Json& json, std::string_view key, std::string otherwise, const std::string& where) {
  const Json* value = present(json, key);
  return value ? value->as_string(cat(where, ": ", key)) : otherwise;
}

int32_t token_id(const Json& json, const std::string& where) {
  const int64_t id = json.as_int(where);
  require(id >= 0 && id < std::numeric_limits<int32_t>::max(), where, ": the id ", id, " is out of range");
  return static_cast<int32_t>(id);
}

// Tables are as long as the highest id: one far above the number of tokens would only take memory.
void check_highest(int64_t id, size_t tokens, const std::string& where) {
  require(id < static_cast<int64_t>(tokens) * 16 + 65536, where, ": the id ", id, " is far above the ", tokens,
          " tokens of the file");
}

StringIds read_vocabulary(const Json& model, const std::string& where) {
  const Json* vocab = present(model, "vocab");
  require(vocab && vocab->type == Json::Type::object, where, ": vocab is missing or no object");
  StringIds vocabulary;
  vocabulary.reserve(vocab->members.size());
  for (const auto& [token, json] : vocab->members) {
    const int32_t id = token_id(json, where + ": vocab");
    check_highest(id, vocab->members.size(), where);
    vocabulary[token] = id;
  }
  return vocabulary;
}

std::vector<std::pair<std::string, std::string>> read_merges(const Json& model, const std::string& where) {
  const Json* merges = present(model, "merges");
  require(merges && merges->type == Json::Type::array, where, ": merges are missing or no array");
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(merges->items.size());
  for (const Json& merge : merges->items) {
    if (merge.type == Json::Type::array) {
      require(merge.items.size() == 2, where, ": merge ", pairs.size(), " is no pair");
      pairs.emplace_back(merge.items[0].as_string(where + ": merges"), merge.items[1].as_string(where + ": merges"));
    } else {
      const std::string& text = merge.as_string(where + ": merges");
      const size_t space = text.find(' ');
      require(space != std::string::npos && text.find(' ', space + 1) == std::string::npos, where, ": merge ",
              pairs.size(), " is no pair: ", text);
      pairs.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
  }
  return pairs;
}

Bpe read_bpe(const Json& model, bool byte_level, const std::string& where) {
  if (const Json* dropout = present(model, "dropout"))
    require(dropout->as_double(where + ": dropout") == 0, where, ": dropout is not supported");
  BpeOptions options;
  options.byte_level = byte_level;
  options.byte_fallback = flag(model, "byte_fallback", false, where);
  options.fuse_unk = flag(model, "fuse_unk", false, where);
  options.ignore_merges = flag(model, "ignore_merges", false, where);
  options.unk_token = text_or(model, "unk_token", "", where);
  options.prefix = text_or(model, "continuing_subword_prefix", "", where);
  options.suffix = text_or(model, "end_of_word_suffix", "", where);
  StringIds vocabulary = read_vocabulary(model, where);
  const std::vector<TokenMerge> merges = resolve_merges(vocabulary, read_merges(model, where), options, where);
  return Bpe(std::move(vocabulary), merges, {}, options, where);
}

// A score as the reader of Hugging Face tokenizers rounds it, which may be one bit from the nearest: equal sums of
// scores decide between cuts. The digits make an integer, which is divided by a power of ten.
double score_of(const Json& json, const std::string& where) {
  const double nearest = json.as_double(where);
  uint64_t digits = 0;
  int decimals = 0;
  bool point = false;
  for (const char c : json.text) {
    if (c == '-') continue;
    if (c == '.') {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') return nearest;  // an exponent: scores have none
    const auto digit = static_cast<uint64_t>(c - '0');
    if (digits > (std::numeric_limits<uint64_t>::max() - digit) / 10) {
      if (!point) return nearest;
      break;
    }
    digits = digits * 10 + digit;
    decimals += point;
  }
  static constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (decimals >= static_cast<int>(std::size(powers))) return nearest;
  const double value = static_cast<double>(digits) / powers[decimals];
  return json.text.starts_with('-') ? -value : value;
}

Unigram read_unigram(const Json& model, const std::string& where) {
  const Json *vocab = present(model, "vocab"), *unk = present(model, "unk_id");
  require(vocab && vocab->type == Json::Type::array, where, ": vocab is missing or no array");
  std::vector<std::pair<std::string, double>> tokens;
  tokens.reserve(vocab->items.size());
  for (const Json& item : vocab->items) {
    require(item.type == Json::Type::array && item.items.size() == 2, where, ": vocab: entry ", tokens.size(),
            " is no pair of token and score");
    tokens.emplace_back(item.items[0].as_string(where + ": vocab"), score_of(item.items[1], where + ": vocab"));
  }
  return Unigram(tokens, unk ? token_id(*unk, where + ": unk_id") : -1, flag(model, "byte_fallback", false, where),
                 where);
}

WordPiece read_word_piece(const Json& model, bool whole_words, const std::string& where) {
  WordPieceOptions options;
  options.whole_words = whole_words;
  options.unk_token = text_or(model, "unk_token", whole_words ? "<unk>" : "[UNK]", where);
  options.prefix = text_or(model, "continuing_subword_prefix", "##", where);
  if (const Json* most = present(model, "max_input_chars_per_word")) {
    const int64_t characters = most->as_int(where + ": max_input_chars_per_word");
    require(characters >= 0, where, ": max_input_chars_per_word is ", characters);
    options.max_characters = static_cast<size_t>(characters);
  }
  return WordPiece(read_vocabulary(model, where), std::move(options));
}

// Old files do not name the kind: then it is the first that has these members.
std::string kind_of(const Json& model, const std::string& where) {
  if (const Json* type = present(model, "type")) return type->as_string(where + ": type");
  const Json* vocab = present(model, "vocab");
  return present(model, "merges")                      ? "BPE"
         : present(model, "continuing_subword_prefix") ? "WordPiece"
         : vocab && vocab->type == Json::Type::array   ? "Unigram"
                                                       : "WordLevel";
}

TokenizerModel read_model(const Json& model, const std::string& kind, bool byte_level, const std::string& where) {
  if (kind == "BPE") return read_bpe(model, byte_level, where);
  if (kind == "Unigram") return read_unigram(model, where);
  if (kind == "WordPiece" || kind == "WordLevel") return read_word_piece(model, kind == "WordLevel", where);
  fail(where, ": a tokenizer of type ", kind, " is not supported (BPE, Unigram, WordPiece and WordLevel are)");
}

std::vector<AddedToken> read_added_tokens(const Json& root, const StringIds& vocabulary, const std::string& where) {
  std::vector<AddedToken> tokens;
  const Json* list = present(root, "added_tokens");
  if (!list) return tokens;
  require(list->type == Json::Type::array, where, " is no array");
  for (const Json& item : list->items) {
    const Json *content = present(item, "content"), *id = present(item, "id");
    require(content && id, where, ": a token needs id and content");
    AddedToken token;
    token.content = content->as_string(where + ": content");
    token.id = token_id(*id, where + ": id");
    token.special = flag(item, "special", false, where);
    token.single_word = flag(item, "single_word", false, where);
    token.lstrip = flag(item, "lstrip", false, where);
    token.rstrip = flag(item, "rstrip", false, where);
    token.normalized = flag(item, "normalized", !token.special, where);
    if (const auto it = vocabulary.find(token.content); it != vocabulary.end()) token.id = it->second;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

const StringIds& vocabulary_of(const TokenizerModel& model) {
  return std::visit([](const auto& m) -> const StringIds& { return m.vocabulary(); }, model);
}

TokenizerParts read_tokenizer_json(const Json& root, const std::string& file) {
  const Json* model = present(root, "model");
  require(model && model->type == Json::Type::object, file, ": no model: is it a tokenizer.json?");
  const std::string in_model = file + ": model", kind = kind_of(*model, in_model);
  const bool takes_bytes = kind == "BPE" && !flag(*model, "byte_fallback", false, in_model) &&
                           text_or(*model, "continuing_subword_prefix", "", in_model).empty() &&
                           text_or(*model, "end_of_word_suffix", "", in_model).empty();
  Pretokenizer pretokenizer(root.find("pre_tokenizer"), takes_bytes, file + ": pre_tokenizer");
  TokenizerModel read = read_model(*model, kind, pretokenizer.byte_level(), in_model);
  std::vector<AddedToken> added = read_added_tokens(root, vocabulary_of(read), file + ": added_tokens");
  for (const AddedToken& token : added) check_highest(token.id, vocabulary_of(read).size() + added.size(), file);
  return {Normalizer(root.find("normalizer"), file + ": normalizer"),
          std::move(pretokenizer),
          std::move(read),
          TokenDecoder(root.find("decoder"), file + ": decoder"),
          read_post_processor(root.find("post_processor"), file + ": post_processor"),
          std::move(added),
          {},
          {},
          {}};
}

}  // namespace ds
