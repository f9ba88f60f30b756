// The normalizer of BERT's tokenizers (Devlin et al., 2019) as Hugging Face tokenizers has it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

struct BertNormalizerOptions {
  bool clean_text = true;            // controls vanish, white space becomes a space
  bool handle_chinese_chars = true;  // spaces around ideographs
  bool strip_accents = true;         // Form D without its nonspacing marks
  bool lowercase = true;
};

// Immutable after construction; all threads may use it at once.
class BertNormalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options);
  // The normalised text of valid UTF-8 in `scratch`. Sets `beheaded` if the character that the text began with is gone.
  std::string_view apply(std::string_view text, std::string& scratch, bool& beheaded) const;

 private:
  // What becomes of a character, whatever stands beside it: it stays, is written in pool_, or takes the steps together
  // with its neighbours.
  struct Entry {
    enum Kind : uint8_t { same, pooled, steps } kind = steps;
    uint8_t size = 0;
    uint32_t begin = 0;
  };
  Entry entry_of(char32_t c);
  void append_steps(std::string_view text, std::string& out, bool& beheaded) const;
  size_t run_end(std::string_view text, size_t begin) const;

  BertNormalizerOptions options_;
  std::vector<Entry> entries_;  // of characters below U+10000
  uint8_t ascii_[128];          // what an ASCII character becomes, `gone` for nothing
  std::string pool_;
};

}  // namespace ds
