// What a tokenizer is made of, whichever file it came from.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pretokenize.h"
#include "text/token_decoder.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace ds {

struct Json;

using TokenizerModel = std::variant<Bpe, Unigram, WordPiece>;
const StringIds& vocabulary_of(const TokenizerModel& model);

struct TokenizerParts {
  Normalizer normalizer;
  Pretokenizer pretokenizer;
  TokenizerModel model;
  TokenDecoder decoder;
  PostProcessor special;
  std::vector<AddedToken> added;
  std::optional<int32_t> bos, eos, pad;
};

// A tokenizer.json (the parsed `root` of it) with models BPE, Unigram, WordPiece and WordLevel. `file` begins messages.
TokenizerParts read_tokenizer_json(const Json& root, const std::string& file);

// The tokenizer of a GGUF file: tokenizer.ggml.model "llama" (SentencePiece BPE), "gpt2" (byte-level BPE) or "bert"
// (WordPiece).
TokenizerParts read_gguf_tokenizer(const std::string& path);

// The pre_tokenizer (as JSON) that tokenizer.ggml.pre names; an unknown name is an Error. `ignore_merges`: a piece that
// is a token is that token.
std::string gguf_pretokenizer(std::string_view name, bool& ignore_merges, const std::string& where);

}  // namespace ds
