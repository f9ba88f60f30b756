#include "text/bpe_trainer.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/normalizer.h"
#include "text/pretokenize.h"
#include "text/unicode.h"
#include "text/pattern.h"

namespace ds {
namespace {

constexpr size_t part_bytes = size_t{1} << 20;    // texts counted as one piece of work
constexpr size_t round_bytes = size_t{16} << 20;  // texts gathered before the threads count them

std::string byte_level_decoder() {
  return R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})";
}

std::string template_json(const std::string& bos) {
  const std::string id = json_string(bos);
  const std::string special = cat("{\"SpecialToken\": {\"id\": ", id, ", \"type_id\": 0}}");
  return cat("{\"type\": \"TemplateProcessing\", \"single\": [", special,
             ", {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [", special,
             ", {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], ",
             "\"special_tokens\": {", id, ": {\"id\": ", id, ", \"ids\": [0], \"tokens\": [", id, "]}}}");
}

std::string write_tokenizer(const BpeTrainerOptions& options, const std::string& normalizer,
                            const std::string& pretokenizer, const std::vector<std::string>& tokens,
                            const std::vector<BpeMerge>& merges) {
  JsonWriter json(1);
  json.open('{').field("version", "1.0").key("truncation").null().key("padding").null();
  json.open('[', "added_tokens");
  for (size_t i = 0; i < options.special_tokens.size(); ++i) {
    json.open('{').field("id", static_cast<int64_t>(i)).field("content", options.special_tokens[i]);
    json.field("single_word", false).field("lstrip", false).field("rstrip", false).field("normalized", false);
    json.field("special", true).close();
  }
  json.close();
  json.key("normalizer").raw(normalizer).key("pre_tokenizer").raw(pretokenizer);
  json.key("post_processor").raw(options.add_bos ? template_json(options.special_tokens[0]) : "null");
  json.key("decoder").raw(byte_level_decoder());
  json.open('{', "model").field("type", "BPE").key("dropout").null().key("unk_token").null();
  json.key("continuing_subword_prefix").null().key("end_of_word_suffix").null();
  json.field("fuse_unk", false).field("byte_fallback", false).field("ignore_merges", false);
  json.open('{', "vocab");
  for (size_t id = 0; id < tokens.size(); ++id) json.field(tokens[id], static_cast<int64_t>(id));
  json.close().open('[', "merges");
  for (const BpeMerge& merge : merges)
    json.raw(cat('[', json_string(tokens[static_cast<size_t>(merge.left)]), ", ",
                 json_string(tokens[static_cast<size_t>(merge.right)]), ']'));
  json.close().close().close();
  return json.text + "\n";
}

std::string write_config(const BpeTrainerOptions& options) {
  JsonWriter json(1);
  json.open('{').field("tokenizer_class", "PreTrainedTokenizerFast");
  const char* names[] = {"bos_token", "eos_token", "pad_token"};
  for (size_t i = 0; i < std::min<size_t>(3, options.special_tokens.size()); ++i)
    json.field(names[i], options.special_tokens[i]);
  json.field("clean_up_tokenization_spaces", false).close();
  return json.text + "\n";
}

// A pair can be merged twice, where its token was made in two ways; readers of the file keep the later rank.
std::vector<BpeMerge> without_repeats(const std::vector<BpeMerge>& merges) {
  std::set<std::pair<int32_t, int32_t>> seen;
  std::vector<BpeMerge> out;
  for (size_t i = merges.size(); i-- > 0;)
    if (seen.insert({merges[i].left, merges[i].right}).second) out.push_back(merges[i]);
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

struct BpeTrainer::Impl {
  BpeTrainerOptions options;
  std::string normalizer_json, pretokenizer_json;
  Normalizer normalizer;
  Pretokenizer pretokenizer;
  std::vector<std::string> parts;                // gathered texts, each part of about part_bytes
  std::vector<std::vector<size_t>> ends;         // of the texts in each part
  size_t gathered = 0;
  WordCounts counts;
  TrainedTokenizer result;

  explicit Impl(const BpeTrainerOptions& o)
      : options(o),
        normalizer_json(o.pretokenizer == "qwen2" ? R"({"type": "NFC"})" : "null"),
        pretokenizer_json(named_pretokenizer(o.pretokenizer)),
        normalizer(parsed(normalizer_json)),
        pretokenizer(parsed_pretokenizer(pretokenizer_json)) {
    std::set<std::string> distinct;
    for (const std::string& token : o.special_tokens) {
      if (token.empty()) throw UsageError("a special token is empty");
      if (!is_valid_utf8(token)) throw UsageError("a special token is not valid UTF-8");
      if (!distinct.insert(token).second) throw UsageError(cat("the special token ", token, " is given twice"));
    }
    if (o.add_bos && o.special_tokens.empty()) throw UsageError("there is no special token to put before a text");
    const auto least = static_cast<int64_t>(first_tokens().size());
    if (o.vocab_size < least || o.vocab_size > std::numeric_limits<int32_t>::max())
      throw UsageError(cat("the vocabulary size must be at least ", least, " (256 bytes and the special tokens) and below 2^31, not ",
                           o.vocab_size));
  }
  static Normalizer parsed(const std::string& json) {
    const Json value = parse_json(json, "normalizer");
    return Normalizer(&value, "normalizer");
  }
  static Pretokenizer parsed_pretokenizer(const std::string& json) {
    const Json value = parse_json(json, "pre_tokenizer");
    return Pretokenizer(&value, true, "pre_tokenizer");
  }

  void count_part(size_t part, WordCounts& words) const {
    Pieces pieces;
    std::string scratch;
    size_t begin = 0;
    for (const size_t end : ends[part]) {
      const std::string_view text = std::string_view(parts[part]).substr(begin, end - begin);
      require(is_valid_utf8(text), "a text to learn from is not valid UTF-8");
      MatchSteps steps(text.size());
      pretokenizer.split(normalizer.apply(text, steps, scratch), true, steps, pieces);
      for (const auto& [b, e] : pieces.ranges) words.add(pieces.text.substr(b, e - b), 1);
      begin = end;
    }
  }

  // Parts are cut by bytes alone and joined in order, so what is forgotten does not depend on the threads.
  void count_gathered() {
    std::vector<WordCounts> words(parts.size());
    parallel_for(parts.size(), 1, [&](size_t begin, size_t end) {
      for (size_t part = begin; part < end; ++part) count_part(part, words[part]);
    });
    for (WordCounts& part : words) {
      part.for_each([&](std::string_view word, int64_t count) {
        counts.add(word, count);
        result.words += static_cast<uint64_t>(count);
      });
      if (counts.cost() > options.max_words_memory) {
        const WordCounts::Forgotten now = counts.forget_rarest(options.max_words_memory / 2);
        result.forgotten.words += now.words;
        result.forgotten.occurrences += now.occurrences;
      }
      part = WordCounts();
    }
    parts.clear();
    ends.clear();
    gathered = 0;
    throw_if_stopped();
  }

  // The special tokens and the letters of the bytes, in order of their code points.
  std::vector<std::string> first_tokens() const {
    std::vector<std::string> tokens = options.special_tokens;
    std::vector<char32_t> codes(byte_level_alphabet().begin(), byte_level_alphabet().end());
    std::sort(codes.begin(), codes.end());
    for (const char32_t code : codes) {
      const std::string letter = to_utf8(code);
      if (std::find(tokens.begin(), tokens.end(), letter) == tokens.end()) tokens.push_back(letter);
    }
    return tokens;
  }
  static std::string to_utf8(char32_t code) {
    std::string text;
    append_utf8(text, code);
    return text;
  }

  CountedWords symbols(const std::vector<std::string>& tokens) const {
    int32_t id_of_byte[256];
    for (size_t byte = 0; byte < 256; ++byte)
      id_of_byte[byte] = static_cast<int32_t>(
          std::find(tokens.begin(), tokens.end(), to_utf8(byte_level_alphabet()[byte])) - tokens.begin());
    CountedWords words;
    words.symbols.reserve(counts.bytes());
    words.begins.reserve(counts.size() + 1);
    words.counts.reserve(counts.size());
    words.begins.push_back(0);
    counts.for_each([&](std::string_view word, int64_t count) {
      for (const char c : word) words.symbols.push_back(id_of_byte[static_cast<uint8_t>(c)]);
      words.begins.push_back(words.symbols.size());
      words.counts.push_back(count);
    });
    return words;
  }
};

BpeTrainer::BpeTrainer(const BpeTrainerOptions& options) : impl_(new Impl(options)) {}
BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::string_view text) {
  Impl& impl = *impl_;
  if (impl.parts.empty() || impl.parts.back().size() >= part_bytes) {
    if (impl.gathered >= round_bytes) impl.count_gathered();
    impl.parts.emplace_back();
    impl.ends.emplace_back();
  }
  impl.parts.back() += text;
  impl.ends.back().push_back(impl.parts.back().size());
  impl.gathered += text.size();
  impl.result.texts += 1;
  impl.result.bytes += text.size();
}

void BpeTrainer::finish_counting() { impl_->count_gathered(); }

TrainedTokenizer BpeTrainer::train() {
  finish_counting();
  Impl& impl = *impl_;
  TrainedTokenizer& result = impl.result;
  result.distinct_words = impl.counts.size();
  if (result.forgotten.words)
    warn("the distinct words took more than ", impl.options.max_words_memory, " bytes: ", result.forgotten.words,
         " rare ones were forgotten, ", result.forgotten.occurrences, " of the ", result.words, " words of the texts");
  std::vector<std::string> tokens = impl.first_tokens();
  CountedWords words = impl.symbols(tokens);
  impl.counts = WordCounts();
  const std::vector<BpeMerge> merges = without_repeats(learn_merges(
      std::move(words), tokens, static_cast<size_t>(impl.options.vocab_size), impl.options.min_frequency));
  result.vocab_size = static_cast<int64_t>(tokens.size());
  result.merges = merges.size();
  if (result.vocab_size < impl.options.vocab_size)
    warn("the text has no more pairs", impl.options.min_frequency > 1 ? " of that frequency" : "", ": the vocabulary has ",
         result.vocab_size, " tokens, not ", impl.options.vocab_size);
  result.tokenizer_json = write_tokenizer(impl.options, impl.normalizer_json, impl.pretokenizer_json, tokens, merges);
  result.tokenizer_config_json = write_config(impl.options);
  return std::move(result);
}

}  // namespace ds
