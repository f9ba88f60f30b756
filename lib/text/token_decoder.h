// The "decoder" of a tokenizer.json: the strings of tokens become text again.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"

namespace ds {

struct Json;

// Supported: null (tokens joined by spaces), BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip,
// WordPiece. Others are an Error that names them. Immutable; all threads may use it at once.
class TokenDecoder {
 public:
  // `json` is null where the file has none; `where` begins messages.
  TokenDecoder(const Json* json, const std::string& where);
  ~TokenDecoder();
  TokenDecoder(TokenDecoder&&) noexcept;

  // `tokens` as the file writes them; invalid UTF-8 becomes U+FFFD. `continues`: other tokens stand before them, so that
  // nothing is done that is only done to the beginning of a text, and ByteFallback keeps the characters of a run of byte
  // tokens that is not UTF-8 as a whole. An Error where replacements make a text grow beyond GrowthLimit (text/splits.h).
  std::string decode(std::vector<std::string> tokens, bool continues = false) const;
  // The same as decode(tokens, true), token by token.
  class Stream;
  // The bytes that one token stands for by itself (a leading space is kept).
  std::string bytes(const std::string& token) const;

 private:
  struct Step;
  void add(const Json& json, const std::string& where, int depth);
  std::vector<std::unique_ptr<Step>> steps_;
  bool present_ = false;
};

// Gives text as soon as no later token can change it, in whole characters. The decoder must live as long.
class TokenDecoder::Stream {
 public:
  explicit Stream(const TokenDecoder& decoder);
  // The text that is sure now, which may be empty.
  std::string add(std::string token);
  // The rest of the text; after it the stream is over.
  std::string finish();

 private:
  void push(size_t step, std::string token);
  void flush(size_t step);
  void make(std::string_view text);

  const TokenDecoder& decoder_;
  // What a step waits with: the beginning of a character or of a text that it replaces, the last token, or all of its text.
  std::vector<std::string> held_;
  std::vector<bool> waits_;  // BPEDecoder: held_ is a token
  size_t received_ = 0, made_ = 0;
  MatchSteps steps_;
  std::string out_;
};

}  // namespace ds
