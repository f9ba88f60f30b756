// The "pre_tokenizer" of a tokenizer.json: cuts a text into the pieces that the model works on one by one.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/scanners.h"

namespace ds {

struct Json;
struct MatchSteps;

// A text and the cuts in it. The pieces cover the text except for what a step removed.
struct Pieces {
  std::string_view text;          // the caller's text, or views `owned`
  std::string owned;              // where a step changed the text
  std::vector<TextRange> ranges;  // in text; none is empty
};

// Supported: null, BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, Punctuation, Sequence,
// Split, Whitespace, WhitespaceSplit. Others are an Error that names them. Immutable; all threads may use it at once.
class Pretokenizer {
 public:
  // `json` is null where the file has none; `where` begins messages. With keep_bytes a final ByteLevel leaves the bytes
  // as they are, for a model that takes bytes; otherwise it writes them in the byte-level alphabet.
  Pretokenizer(const Json* json, bool keep_bytes, const std::string& where);
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;

  // Cuts one segment (valid UTF-8). `at_start`: it begins the whole input, which Metaspace's "first" asks for.
  // Patterns take `steps`.
  void split(std::string_view text, bool at_start, MatchSteps& steps, Pieces& out) const;
  // Whether a piece's bytes stand for themselves (ByteLevel with keep_bytes), rather than its characters.
  bool byte_level() const { return byte_level_; }

 private:
  struct Step;
  void add(const Json& json, const std::string& where, int depth);
  void use_scanners();
  std::vector<std::unique_ptr<Step>> steps_;
  bool byte_level_ = false;
};

// The pre-tokenizers of the models that ds-train can follow, as JSON for a tokenizer.json: gpt2, llama3, qwen2,
// deepseek3. Another name is a UsageError.
std::string named_pretokenizer(std::string_view name);
// One that cuts at regular expressions, one after the other, each match isolated, and then is ByteLevel.
std::string split_pretokenizer(const std::vector<std::string_view>& patterns);

}  // namespace ds
