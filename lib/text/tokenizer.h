// Strings to token ids and back, as tokenizer.json (Hugging Face tokenizers' file format) or a GGUF file says: BPE on bytes or
// characters, Unigram, WordPiece and WordLevel.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// Immutable after construction; encode and decode may run on all threads at once.
class Tokenizer {
 public:
  // A tokenizer.json, a model folder that holds one (then tokenizer_config.json names bos, eos and pad as well), or a .gguf
  // file.
  // A component that is not supported is an Error that names it; truncation and padding are not read, they are the
  // caller's choice.
  explicit Tokenizer(const std::string& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  // From the bytes of a tokenizer.json; `name` begins messages.
  static Tokenizer parse(std::string_view json, const std::string& name);

  // Ids of a text (valid UTF-8, else an Error); special tokens written in the text are recognised. With add_special_tokens the post-processor's
  // (BOS, say) are added.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  // The text of ids; invalid UTF-8 becomes U+FFFD. Unknown ids are an Error.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;
  // The text that ids add to a text that ends before them: as decode, but nothing is done that is only done to the
  // beginning of a text. The first space of an answer is kept, where decode drops it (Llama 2, Metaspace). Of byte tokens
  // in a row ("<0xE2>") that are not UTF-8 as a whole, decode makes one U+FFFD each, as Hugging Face tokenizers; here the
  // characters among them stay, so that an answer that is cut within its last character keeps the others.
  std::string decode_continuation(std::span<const int32_t> ids, bool skip_special_tokens = true) const;
  // The bytes of one token, which may be a part of a character.
  std::string token_bytes(int32_t id) const;

  int32_t vocab_size() const;                                    // highest id + 1
  bool has(int32_t id) const;                                    // whether the id is a token's
  std::optional<int32_t> id(std::string_view token) const;       // of a token as written in the file
  std::optional<int32_t> bos_id() const, eos_id() const, pad_id() const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// decode_continuation id by id: the texts in a row are that of all ids. Each text is of whole characters, and comes as
// soon as no later id can change it; constant time an id. One thread at a time; the tokenizer must live as long.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;

  std::string add(int32_t id);  // unknown ids are an Error
  std::string finish();         // what was still open; nothing is added after it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
