// The "added_tokens" of a tokenizer.json: texts that are found before anything else is done.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = true;    // looked for in the normalised text
  bool special = false;
};

// Finds the longest token at the leftmost place. Immutable; all threads may use it at once.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);
  bool empty() const { return tokens_.empty(); }

  // A stretch of text between tokens (id -1), or a token with what it stripped.
  struct Part {
    size_t begin, end;
    int32_t id;
  };
  // Cuts valid UTF-8; parts without bytes are left out.
  void split(std::string_view text, std::vector<Part>& parts) const;

 private:
  struct Node {
    int32_t token = -1;                             // index in tokens_ of the token that ends here
    std::vector<std::pair<char, uint32_t>> edges;
  };
  size_t next_candidate(std::string_view text, size_t at) const;
  const AddedToken* longest_at(std::string_view text, size_t at, size_t& end) const;
  std::vector<AddedToken> tokens_;
  std::vector<Node> trie_;
  bool first_[256] = {};                            // bytes that begin a token
  bool one_first_ = true;                           // all tokens begin with the same byte
};

}  // namespace ds
