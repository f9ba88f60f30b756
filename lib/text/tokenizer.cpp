#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"
#include "io/input.h"
#include "io/json.h"
#include "text/pattern.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace ds {
namespace {

std::pair<std::string, std::string> find_files(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return {path, ""};
  const std::filesystem::path folder(path);
  const std::string config = (folder / "tokenizer_config.json").string();
  return {(folder / "tokenizer.json").string(), std::filesystem::exists(config) ? config : ""};
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerParts parts;
  AddedTokens raw, normalized;       // looked for before and after the normalizer
  std::vector<std::string> strings;  // by id, as the file writes them
  std::vector<uint8_t> kinds;        // by id: unused, of the vocabulary, added, special
  StringIds added_ids;

  enum Kind : uint8_t { unused, model, plain_added, special_added };

  Impl(TokenizerParts p, const std::string& file) : parts(std::move(p)), raw(select(false)), normalized(select(true)) {
    list_tokens(file);
  }

  // The added tokens looked for in normalised text are normalised themselves, and decode so.
  std::string found_as(const AddedToken& token) const {
    std::string scratch;
    MatchSteps steps(token.content.size());
    return std::string(token.normalized ? parts.normalizer.apply(token.content, steps, scratch) : token.content);
  }

  std::vector<AddedToken> select(bool normalized_ones) const {
    std::vector<AddedToken> out;
    for (AddedToken token : parts.added) {
      if (token.normalized != normalized_ones) continue;
      token.content = found_as(token);
      out.push_back(std::move(token));
    }
    return out;
  }

  void list_tokens(const std::string& file) {
    const StringIds& vocabulary = vocabulary_of(parts.model);
    int32_t highest = -1;
    for (const auto& [token, id] : vocabulary) highest = std::max(highest, id);
    for (const AddedToken& token : parts.added) highest = std::max(highest, token.id);
    strings.resize(static_cast<size_t>(highest + 1));
    kinds.assign(strings.size(), unused);
    const auto put = [&](const std::string& token, int32_t id, Kind kind) {
      strings[static_cast<size_t>(id)] = token;
      kinds[static_cast<size_t>(id)] = kind;
    };
    for (const auto& [token, id] : vocabulary) {
      require(kinds[static_cast<size_t>(id)] == unused, file, ": two tokens have the id ", id);
      put(token, id, model);
    }
    for (const AddedToken& token : parts.added) {
      put(found_as(token), token.id, plain_added);
      added_ids[token.content] = token.id;
    }
    // Decoding skips the texts of special tokens: not the token whose normalised text is another.
    for (const AddedToken& token : parts.added)
      if (token.special && found_as(token) == token.content) kinds[static_cast<size_t>(token.id)] = special_added;
    for (const auto* ids : {&parts.special.before, &parts.special.after})
      for (const int32_t id : *ids) require(id <= highest, file, ": the post_processor's id ", id, " is no token");
  }

  void read_config(const std::string& file) {
    const Json config = parse_json_file(file, kMaxConfigBytes);
    const auto named = [&](std::string_view key) -> std::optional<int32_t> {
      const Json* token = config.find(key);
      if (token && token->type == Json::Type::object) token = token->find("content");
      if (!token || token->type == Json::Type::null) return std::nullopt;
      return find(token->as_string(cat(file, ": ", key)));
    };
    parts.bos = named("bos_token");
    parts.eos = named("eos_token");
    parts.pad = named("pad_token");
  }

  std::optional<int32_t> find(std::string_view token) const {
    if (const auto it = added_ids.find(token); it != added_ids.end()) return it->second;
    const int32_t id = id_or_none(vocabulary_of(parts.model), token);
    return id >= 0 ? std::optional(id) : std::nullopt;
  }

  bool has(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < kinds.size() && kinds[static_cast<size_t>(id)] != unused; }
  size_t checked(int32_t id) const {
    const auto at = static_cast<size_t>(id);
    require(has(id), "the token id ", id, " is not in the vocabulary");
    return at;
  }

  std::vector<std::string> texts(std::span<const int32_t> ids, bool skip_special_tokens) const {
    std::vector<std::string> out;
    out.reserve(ids.size());
    for (const int32_t id : ids) {
      const size_t at = checked(id);
      if (!skip_special_tokens || kinds[at] != special_added) out.push_back(strings[at]);
    }
    return out;
  }

  // Ids of a stretch without added tokens, normalized already.
  void encode_stretch(std::string_view text, bool at_start, MatchSteps& steps, Pieces& pieces,
                      std::vector<int32_t>& ids) const {
    parts.pretokenizer.split(text, at_start, steps, pieces);
    std::visit([&](const auto& m) { m.encode(pieces.text, pieces.ranges, ids); }, parts.model);
  }
};

Tokenizer::Tokenizer(const std::string& path) {
  if (std::filesystem::is_regular_file(path) && is_gguf(path)) {
    impl_ = std::make_unique<Impl>(read_gguf_tokenizer(path), path);
    return;
  }
  const auto [file, config] = find_files(path);
  impl_ = std::make_unique<Impl>(read_tokenizer_json(file == path ? parse_json_file(file) : parse_json_file(file, kMaxTokenizerBytes), file), file);
  if (!config.empty()) impl_->read_config(config);
}
Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer Tokenizer::parse(std::string_view json, const std::string& name) {
  return Tokenizer(std::make_unique<Impl>(read_tokenizer_json(parse_json(json, name), name), name));
}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  require(is_valid_utf8(text), "a text to tokenize is not valid UTF-8");
  const Impl& impl = *impl_;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (add_special_tokens) ids = impl.parts.special.before;
  Pieces pieces;
  MatchSteps steps(text.size());
  std::string scratch;
  std::vector<AddedTokens::Part> outer, inner;
  impl.raw.split(text, outer);
  for (const AddedTokens::Part& part : outer) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    bool beheaded = false;
    const std::string_view segment =
        impl.parts.normalizer.apply(text.substr(part.begin, part.end - part.begin), steps, scratch, &beheaded);
    inner.clear();
    impl.normalized.split(segment, inner);
    for (const AddedTokens::Part& cut : inner) {
      if (cut.id >= 0)
        ids.push_back(cut.id);
      else
        impl.encode_stretch(segment.substr(cut.begin, cut.end - cut.begin),
                            part.begin == 0 && cut.begin == 0 && !beheaded, steps, pieces, ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), impl.parts.special.after.begin(), impl.parts.special.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return impl_->parts.decoder.decode(impl_->texts(ids, skip_special_tokens));
}

std::string Tokenizer::decode_continuation(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return impl_->parts.decoder.decode(impl_->texts(ids, skip_special_tokens), true);
}

struct StreamDecoder::Impl {
  const Tokenizer::Impl& tokenizer;
  bool skip_special_tokens;
  TokenDecoder::Stream stream;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : impl_(new Impl{*tokenizer.impl_, skip_special_tokens, TokenDecoder::Stream(tokenizer.impl_->parts.decoder)}) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::add(int32_t id) {
  const size_t at = impl_->tokenizer.checked(id);
  if (impl_->skip_special_tokens && impl_->tokenizer.kinds[at] == Tokenizer::Impl::special_added) return "";
  return impl_->stream.add(impl_->tokenizer.strings[at]);
}

std::string StreamDecoder::finish() { return impl_->stream.finish(); }

std::string Tokenizer::token_bytes(int32_t id) const {
  const size_t at = impl_->checked(id);
  return impl_->kinds[at] == Impl::model ? impl_->parts.decoder.bytes(impl_->strings[at]) : impl_->strings[at];
}

bool Tokenizer::has(int32_t id) const { return impl_->has(id); }
int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->kinds.size()); }
std::optional<int32_t> Tokenizer::id(std::string_view token) const { return impl_->find(token); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->parts.bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->parts.eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->parts.pad; }

}  // namespace ds
