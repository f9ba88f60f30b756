// The pre-tokenizers that GGUF files name (tokenizer.ggml.pre). The patterns are those of the models' tokenizer.json files.
#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tokenizer_parts.h"

namespace ds {
namespace {

constexpr std::string_view single_number = R"(\p{N})", numbers = R"(\p{N}+)", three_digits = "[0-9][0-9][0-9]", line_end = "[\r\n]";
constexpr std::string_view ideographs = "[一-龥ࠀ-一가-퟿]+";
// DeepSeek LLM lists the cased letters of Unicode one by one.
constexpr std::string_view deepseek_letters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view deepseek_punctuation = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr std::string_view falcon_punctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr std::string_view tekken_pattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view gpt4o_pattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen35_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view seed_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view bailing_pattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view bloom_pattern = " ?[^(\\s|.,!?…。，、।۔،)]+";

struct Row {
  std::vector<std::string_view> names, patterns;
  bool ignore_merges = false;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "jina-v1-en", "jina-v2-code", "roberta-bpe"}, {gpt2_pattern}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, {llama3_pattern}, true},
      {{"dbrx", "smaug-bpe"}, {llama3_pattern}},
      {{"chatglm-bpe"}, {llama3_pattern}},
      {{"glm4", "glm5"}, {llama3_pattern}, true},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open", "megrez", "grok-2"}, {qwen2_pattern}},
      {{"qwen35"}, {qwen35_pattern}},
      {{"deepseek-llm"}, {line_end, deepseek_letters, deepseek_punctuation, R"(\s+$)", ideographs, numbers}},
      {{"deepseek-coder"}, {line_end, R"(\s?\p{L}+)", R"(\s?\p{P}+)", ideographs, single_number}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"}, {deepseek3_patterns[0], deepseek3_patterns[1], deepseek3_patterns[2]}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"}, {single_number, gpt2_pattern}},
      {{"falcon"}, {falcon_punctuation, gpt2_pattern, three_digits}},
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2_pattern, numbers, three_digits}},
      {{"tekken"}, {tekken_pattern}, true},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"}, {gpt4o_pattern}},
      {{"poro-chat", "bloom", "gpt3-finnish"}, {bloom_pattern}},
      {{"viking"}, {bloom_pattern, single_number}},
      {{"seed-coder"}, {seed_pattern}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {bailing_pattern}},
  };
  return table;
}

}  // namespace

std::string gguf_pretokenizer(std::string_view name, bool& ignore_merges, const std::string& where) {
  for (const Row& row : rows()) {
    if (std::find(row.names.begin(), row.names.end(), name) == row.names.end()) continue;
    ignore_merges = row.ignore_merges;
    return split_pretokenizer(row.patterns);
  }
  fail(where, ": the pre-tokenizer ", name.empty() ? "(none)" : name, " is not supported");
}

}  // namespace ds
