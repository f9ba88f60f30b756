// The "decoder" of a tokenizer.json: the strings of tokens become text again.
#pragma once
#include <memory>
#include <string>
#include <vector>

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

  // `tokens` as the file writes them; invalid UTF-8 becomes U+FFFD.
  std::string decode(std::vector<std::string> tokens) const;
  // The bytes that one token stands for by itself (a leading space is kept).
  std::string bytes(const std::string& token) const;

 private:
  struct Step;
  void add(const Json& json, const std::string& where, int depth);
  std::vector<std::unique_ptr<Step>> steps_;
  bool present_ = false;
};

}  // namespace ds
