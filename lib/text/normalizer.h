// The "normalizer" of a tokenizer.json: what happens to a text before it is cut.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

struct Json;
struct MatchSteps;

// Supported: null, BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace (String or
// Regex), Sequence, Strip, StripAccents. Others are an Error that names them. Immutable; all threads may use it at once.
class Normalizer {
 public:
  // `json` is null where the file has none; `where` begins messages.
  Normalizer(const Json* json, const std::string& where);
  ~Normalizer();
  Normalizer(Normalizer&&) noexcept;

  bool empty() const { return steps_.empty(); }
  // `text` is valid UTF-8. The result is `text` itself or views `scratch`. `beheaded`, if given, tells whether the character
  // that the text began with is gone. Patterns take `steps`.
  std::string_view apply(std::string_view text, MatchSteps& steps, std::string& scratch, bool* beheaded = nullptr) const;

 private:
  struct Step;
  void add(const Json& json, const std::string& where, int depth);
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace ds
