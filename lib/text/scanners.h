// The patterns that most byte-level tokenizers share, matched by hand: the same pieces as the regular expression gives,
// several times as fast.
#pragma once
#include <cstddef>
#include <string_view>
#include <vector>

namespace ds {

// A part of a text, [begin, end) in bytes.
struct TextRange {
  size_t begin, end;
};

// Appends the pieces of text[range] (valid UTF-8), as if the range were a text by itself; none is empty, they cover it.
using Scanner = void (*)(std::string_view text, TextRange range, std::vector<TextRange>& pieces);

constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// DeepSeek-V3 splits three times, each time the pieces of the time before.
constexpr std::string_view deepseek3_patterns[] = {
    R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Whether two patterns differ at most in line ends written as themselves or as \r and \n.
bool same_pattern(std::string_view one, std::string_view two);
// The scanner of an isolated Split at one of the first three, null for other patterns.
Scanner scanner_of(std::string_view pattern);
// The scanner of the three Splits in a row.
void scan_deepseek3(std::string_view text, TextRange range, std::vector<TextRange>& pieces);
// BERT's words and punctuation characters; these pieces do not cover the white space.
void scan_bert(std::string_view text, TextRange range, std::vector<TextRange>& pieces);

}  // namespace ds
