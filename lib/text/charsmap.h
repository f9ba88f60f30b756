// SentencePiece's precompiled normalization ("Precompiled" in a tokenizer.json): a double-array trie of what is
// replaced, and the replacements. https://github.com/google/sentencepiece, normalizer.cc
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

class Charsmap {
 public:
  // The bytes of a map: the trie's size in bytes (u32, little-endian), its units (u32), then the replacements, each
  // ended by a zero byte. Places are checked when they are used, so any bytes are safe. `where` begins messages.
  Charsmap(std::string_view bytes, const std::string& where);

  // The text with every grapheme cluster of at most 5 bytes replaced as a whole if the map has one of its beginnings,
  // else character by character, as Hugging Face tokenizers does.
  std::string apply(std::string_view text) const;

 private:
  std::optional<std::string_view> find(std::string_view text) const;
  std::vector<uint32_t> units_;
  std::string replacements_;
};

// The bytes of base64 (RFC 4648, padded); what is not base64 is an Error.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace ds
