// Learns a byte-level BPE tokenizer from text: the merges that Hugging Face tokenizers' BpeTrainer learns from the same
// text with the byte-level alphabet (ties go to the pair of smallest ids), with 64-bit counts.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_counts.h"

namespace ds {

struct BpeTrainerOptions {
  int64_t vocab_size = 8192;            // special tokens, 256 bytes and merges; at least the first two together. A special
                                        // token that is the letter of a byte is that byte too, as in HF
  std::string pretokenizer = "gpt2";    // gpt2, llama3, qwen2 (with NFC) or deepseek3
  std::vector<std::string> special_tokens = {"<|bos|>", "<|eos|>", "<|pad|>"};  // ids from 0; the first three are named so
  int64_t min_frequency = 0;            // pairs seen less often are not merged
  bool add_bos = false;                 // the file's post-processor puts the first special token before each text
  // Memory for the distinct pieces, counted and then merged (WordCounts::cost). Whenever they take more, the rarest are
  // forgotten until half of it is free; one that comes again is counted from zero. Otherwise the merges are exact.
  size_t max_words_memory = size_t{4} << 30;
};

struct TrainedTokenizer {
  std::string tokenizer_json, tokenizer_config_json;
  int64_t vocab_size = 0;               // less than asked where the text has no more pairs
  uint64_t texts = 0, bytes = 0, words = 0, distinct_words = 0, merges = 0;
  WordCounts::Forgotten forgotten;      // for want of memory: times that a word was forgotten, and its occurrences
};

// Texts in, a tokenizer out. Counting runs on all threads; the result does not depend on their number.
class BpeTrainer {
 public:
  explicit BpeTrainer(const BpeTrainerOptions& options);
  ~BpeTrainer();
  void add(std::string_view text);      // one text; valid UTF-8, else an Error
  void finish_counting();               // what add() has left waiting
  TrainedTokenizer train();             // call once, after the last text; warns of what the options ask for in vain

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The merges themselves: words as sequences of symbol ids with counts -> merged pairs in order. Exposed for tests.
struct BpeMerge {
  int32_t left, right, id;
  bool operator==(const BpeMerge&) const = default;
};
struct CountedWords {
  std::vector<int32_t> symbols;         // of all words, one after the other
  std::vector<size_t> begins;           // of each word in symbols, and the end
  std::vector<int64_t> counts;          // of each word
};
// `tokens` are the texts of the ids 0, 1, ...; merges append to it until it holds vocab_size. A pair whose joined text
// is a token already takes that token's id.
std::vector<BpeMerge> learn_merges(CountedWords words, std::vector<std::string>& tokens, size_t vocab_size,
                                   int64_t min_frequency);

}  // namespace ds
