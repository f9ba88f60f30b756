#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "io/json.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pretokenize.h"
#include "text/token_decoder.h"
#include "text/unicode.h"

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

int32_t token_id(const Json& json, const std::string& where) {
  const int64_t id = json.as_int(where);
  require(id >= 0 && id < std::numeric_limits<int32_t>::max(), where, ": the id ", id, " is out of range");
  return static_cast<int32_t>(id);
}

Bpe read_bpe(const Json& model, bool byte_level, const std::string& where) {
  const Json *type = present(model, "type"), *vocab = present(model, "vocab"), *merges = present(model, "merges");
  const std::string kind = type ? type->as_string(where + ": type") : merges ? "BPE" : "unknown";
  require(kind == "BPE", where, ": a tokenizer of type ", kind, " is not supported (BPE is)");
  require(vocab && vocab->type == Json::Type::object, where, ": vocab is missing or no object");
  require(merges && merges->type == Json::Type::array, where, ": merges are missing or no array");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const Json* text = present(model, affix))
      require(text->as_string(cat(where, ": ", affix)).empty(), where, ": ", affix, " is not supported");
  if (const Json* dropout = present(model, "dropout"))
    require(dropout->as_double(where + ": dropout") == 0, where, ": dropout is not supported");

  StringIds vocabulary;
  vocabulary.reserve(vocab->members.size());
  for (const auto& [token, id] : vocab->members) vocabulary[token] = token_id(id, where + ": vocab");
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
  BpeOptions options;
  options.byte_level = byte_level;
  options.byte_fallback = flag(model, "byte_fallback", false, where);
  options.fuse_unk = flag(model, "fuse_unk", false, where);
  options.ignore_merges = flag(model, "ignore_merges", false, where);
  if (const Json* unk = present(model, "unk_token")) options.unk_token = unk->as_string(where + ": unk_token");
  return Bpe(std::move(vocabulary), pairs, options, where);
}

// What the post-processor adds around a text.
struct Template {
  std::vector<int32_t> before, after;
};

void read_post_processor(const Json& json, const std::string& where, Template& out, int depth = 0) {
  require(depth < 16, where, ": post-processors nest too deeply");
  const Json* type = present(json, "type");
  require(type, where, ": a post-processor without type");
  const std::string& name = type->as_string(where + ": type");
  if (name == "Sequence") {
    const Json* list = present(json, "processors");
    require(list && list->type == Json::Type::array, where, ": a Sequence without processors");
    for (const Json& item : list->items) read_post_processor(item, where, out, depth + 1);
  } else if (name == "TemplateProcessing") {
    const Json *single = present(json, "single"), *tokens = present(json, "special_tokens");
    require(single && single->type == Json::Type::array, where, ": TemplateProcessing without single");
    Template now;
    bool seen = false;
    for (const Json& piece : single->items) {
      if (present(piece, "Sequence")) {
        require(!seen, where, ": a template that repeats the text is not supported");
        seen = true;
        continue;
      }
      const Json* special = present(piece, "SpecialToken");
      const Json* id = special ? present(*special, "id") : nullptr;
      require(id, where, ": a template is made of Sequence and SpecialToken");
      const Json* entry = tokens ? present(*tokens, id->as_string(where)) : nullptr;
      const Json* ids = entry ? present(*entry, "ids") : nullptr;
      require(ids && ids->type == Json::Type::array, where, ": no ids of the special token ", id->text);
      for (const Json& value : ids->items) (seen ? now.after : now.before).push_back(token_id(value, where));
    }
    require(seen, where, ": a template without the text is not supported");
    out.before.insert(out.before.begin(), now.before.begin(), now.before.end());
    out.after.insert(out.after.end(), now.after.begin(), now.after.end());
  } else {
    // ByteLevel only trims offsets, which are not asked for here.
    require(name == "ByteLevel", where, ": the post-processor ", name, " is not supported");
  }
}

std::vector<AddedToken> read_added_tokens(const Json& root, const Bpe& bpe, const std::string& where) {
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
    if (const auto it = bpe.vocabulary().find(token.content); it != bpe.vocabulary().end()) token.id = it->second;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::pair<std::string, std::string> find_files(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return {path, ""};
  const std::filesystem::path folder(path);
  const std::string config = (folder / "tokenizer_config.json").string();
  return {(folder / "tokenizer.json").string(), std::filesystem::exists(config) ? config : ""};
}

}  // namespace

struct Tokenizer::Impl {
  Json root;  // only while reading
  Normalizer normalizer;
  Pretokenizer pretokenizer;
  Bpe bpe;
  TokenDecoder decoder;
  Template special;
  std::vector<AddedToken> added;
  AddedTokens raw, normalized;         // looked for before and after the normalizer
  std::vector<std::string> strings;    // by id, as the file writes them
  std::vector<uint8_t> kinds;          // by id: unused, of the vocabulary, added, special
  StringIds added_ids;
  std::optional<int32_t> bos, eos, pad;

  enum Kind : uint8_t { unused, model, plain_added, special_added };

  Impl(Json json, const std::string& file)
      : root(std::move(json)),
        normalizer(root.find("normalizer"), file + ": normalizer"),
        pretokenizer(root.find("pre_tokenizer"), file + ": pre_tokenizer"),
        bpe(read_bpe(model_of(root, file), pretokenizer.byte_level(), file + ": model")),
        decoder(root.find("decoder"), file + ": decoder"),
        added(read_added_tokens(root, bpe, file + ": added_tokens")),
        raw(select(false)),
        normalized(select(true)) {
    if (const Json* post = present(root, "post_processor")) read_post_processor(*post, file + ": post_processor", special);
    root = Json{};
    list_tokens(file);
  }

  static const Json& model_of(const Json& root, const std::string& file) {
    const Json* model = present(root, "model");
    require(model && model->type == Json::Type::object, file, ": no model: is it a tokenizer.json?");
    return *model;
  }

  // The added tokens looked for in normalised text are normalised themselves, and decode so.
  std::string found_as(const AddedToken& token) const {
    std::string scratch;
    return std::string(token.normalized ? normalizer.apply(token.content, scratch) : token.content);
  }

  std::vector<AddedToken> select(bool normalized_ones) const {
    std::vector<AddedToken> out;
    for (AddedToken token : added) {
      if (token.normalized != normalized_ones) continue;
      token.content = found_as(token);
      out.push_back(std::move(token));
    }
    return out;
  }

  void list_tokens(const std::string& file) {
    int32_t highest = -1;
    for (const auto& [token, id] : bpe.vocabulary()) highest = std::max(highest, id);
    for (const AddedToken& token : added) highest = std::max(highest, token.id);
    const size_t known = bpe.vocabulary().size() + added.size();
    require(static_cast<size_t>(highest + 1) <= known * 16 + 65536, file, ": the id ", highest, " is far above the ",
            known, " tokens of the file");
    strings.resize(static_cast<size_t>(highest + 1));
    kinds.assign(strings.size(), unused);
    const auto put = [&](const std::string& token, int32_t id, Kind kind) {
      strings[static_cast<size_t>(id)] = token;
      kinds[static_cast<size_t>(id)] = kind;
    };
    for (const auto& [token, id] : bpe.vocabulary()) {
      require(kinds[static_cast<size_t>(id)] == unused, file, ": two tokens have the id ", id);
      put(token, id, model);
    }
    for (const AddedToken& token : added) {
      put(found_as(token), token.id, token.special ? special_added : plain_added);
      added_ids[token.content] = token.id;
    }
    for (const auto* ids : {&special.before, &special.after})
      for (const int32_t id : *ids) require(id <= highest, file, ": the template's id ", id, " is no token");
  }

  void read_config(const std::string& file) {
    const Json config = parse_json_file(file);
    const auto named = [&](std::string_view key) -> std::optional<int32_t> {
      const Json* token = present(config, key);
      if (token && token->type == Json::Type::object) token = present(*token, "content");
      if (!token) return std::nullopt;
      return find(token->as_string(cat(file, ": ", key)));
    };
    bos = named("bos_token");
    eos = named("eos_token");
    pad = named("pad_token");
  }

  std::optional<int32_t> find(std::string_view token) const {
    if (const auto it = added_ids.find(token); it != added_ids.end()) return it->second;
    if (const auto it = bpe.vocabulary().find(token); it != bpe.vocabulary().end()) return it->second;
    return std::nullopt;
  }

  size_t checked(int32_t id) const {
    const auto at = static_cast<size_t>(id);
    require(id >= 0 && at < kinds.size() && kinds[at] != unused, "the token id ", id, " is not in the vocabulary");
    return at;
  }
};

Tokenizer::Tokenizer(const std::string& path) {
  const auto [file, config] = find_files(path);
  impl_ = std::make_unique<Impl>(parse_json_file(file), file);
  if (!config.empty()) impl_->read_config(config);
}
Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer Tokenizer::parse(std::string_view json, const std::string& name) {
  return Tokenizer(std::make_unique<Impl>(parse_json(json, name), name));
}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  require(is_valid_utf8(text), "a text to tokenize is not valid UTF-8");
  const Impl& impl = *impl_;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (add_special_tokens) ids = impl.special.before;
  Pieces pieces;
  std::string scratch;
  std::vector<AddedTokens::Part> outer, inner;
  impl.raw.split(text, outer);
  for (const AddedTokens::Part& part : outer) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const std::string_view segment = impl.normalizer.apply(text.substr(part.begin, part.end - part.begin), scratch);
    inner.clear();
    impl.normalized.split(segment, inner);
    for (const AddedTokens::Part& cut : inner) {
      if (cut.id >= 0) {
        ids.push_back(cut.id);
        continue;
      }
      impl.pretokenizer.split(segment.substr(cut.begin, cut.end - cut.begin), part.begin == 0 && cut.begin == 0, pieces);
      for (const auto& [begin, end] : pieces.ranges) impl.bpe.encode(pieces.text.substr(begin, end - begin), ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), impl.special.after.begin(), impl.special.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const size_t at = impl_->checked(id);
    if (!skip_special_tokens || impl_->kinds[at] != Impl::special_added) tokens.push_back(impl_->strings[at]);
  }
  return impl_->decoder.decode(std::move(tokens));
}

std::string Tokenizer::token_bytes(int32_t id) const {
  const size_t at = impl_->checked(id);
  return impl_->kinds[at] == Impl::model ? impl_->decoder.bytes(impl_->strings[at]) : impl_->strings[at];
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->kinds.size()); }
std::optional<int32_t> Tokenizer::id(std::string_view token) const { return impl_->find(token); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->pad; }

}  // namespace ds
