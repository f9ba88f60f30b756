// Tokenizers of GGUF files, written here: SentencePiece's merges against the rule itself, byte-level BPE and WordPiece
// against the ids of the same tokenizers in tokenizer.json.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "io/json.h"
#include "text/tokenizer.h"

namespace ds {
namespace {

// A GGUF file without tensors, by the format's types: 5 i32, 6 f32, 7 bool, 8 string, 9 array.
class Writer {
 public:
  Writer& text(std::string_view key, std::string_view value) {
    begin(key, 8);
    string(value);
    return *this;
  }
  Writer& flag(std::string_view key, bool value) {
    begin(key, 7);
    body_ += static_cast<char>(value);
    return *this;
  }
  Writer& integer(std::string_view key, int32_t value) {
    begin(key, 5);
    number(value);
    return *this;
  }
  Writer& texts(std::string_view key, const std::vector<std::string>& values) {
    array(key, 8, values.size());
    for (const std::string& value : values) string(value);
    return *this;
  }
  Writer& integers(std::string_view key, const std::vector<int32_t>& values) {
    array(key, 5, values.size());
    for (const int32_t value : values) number(value);
    return *this;
  }
  Writer& reals(std::string_view key, const std::vector<float>& values) {
    array(key, 6, values.size());
    for (const float value : values) number(value);
    return *this;
  }
  std::string save(const std::string& name) const {
    const std::string path = (std::filesystem::path(testing::TempDir()) / name).string();
    std::string head = "GGUF";
    append(head, uint32_t{3});
    append(head, uint64_t{0});
    append(head, entries_);
    std::ofstream(path, std::ios::binary) << head << body_;
    return path;
  }

 private:
  template <class T>
  static void append(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class T>
  void number(T value) {
    append(body_, value);
  }
  void string(std::string_view value) {
    number(uint64_t{value.size()});
    body_ += value;
  }
  void begin(std::string_view key, uint32_t type) {
    ++entries_;
    string(key);
    number(type);
  }
  void array(std::string_view key, uint32_t type, size_t count) {
    begin(key, 9);
    number(type);
    number(uint64_t{count});
  }
  std::string body_;
  uint64_t entries_ = 0;
};

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if ((static_cast<uint8_t>(c) & 0xc0) != 0x80) out.emplace_back();
    out.back() += c;
  }
  return out;
}

// Joins the neighbours whose text is the token of the highest score, the leftmost of equals, until there are none.
std::vector<int32_t> joined(const std::string& text, const std::map<std::string, std::pair<int32_t, float>>& tokens,
                            const std::map<std::string, int32_t>& bytes) {
  std::vector<std::string> parts = characters(text);
  while (true) {
    size_t best = parts.size();
    float score = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = tokens.find(parts[i] + parts[i + 1]);
      if (it == tokens.end() || (best < parts.size() && it->second.second <= score)) continue;
      best = i;
      score = it->second.second;
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& part : parts) {
    if (const auto it = tokens.find(part); it != tokens.end())
      ids.push_back(it->second.first);
    else
      for (const char c : part) ids.push_back(bytes.at(std::string(1, c)));
  }
  return ids;
}

struct Pieces {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  std::map<std::string, std::pair<int32_t, float>> known;
  std::map<std::string, int32_t> bytes;

  Pieces() {
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      bytes[std::string(1, static_cast<char>(byte))] = static_cast<int32_t>(tokens.size());
      add(name, 6, 0);
    }
    const char* words[] = {"\u2581t",  "he",           "\u2581the",
                           "th",       "in",           "er",
                           "\u2581in", "\u2581\u2581", "\u2581\u2581\u2581\u2581",
                           "ther",     "\u00e9\u00e9", "ing",
                           "\u2581th", "he\u2581"};
    for (size_t i = 0; i < std::size(words); ++i) piece(words[i], -static_cast<float>(i / 2));  // scores in pairs: ties
    for (const char* c : {"\u2581", "t", "h", "e", "r", "i", "n", "g", "\u00e9"}) piece(c, -100);
  }
  void add(const std::string& token, int32_t type, float score) {
    tokens.push_back(token);
    types.push_back(type);
    scores.push_back(score);
  }
  void piece(const std::string& token, float score) {
    known[token] = {static_cast<int32_t>(tokens.size()), score};
    add(token, 1, score);
  }
  Writer writer() const {
    Writer w;
    w.text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", tokens)
        .integers("tokenizer.ggml.token_type", types);
    w.reals("tokenizer.ggml.scores", scores)
        .integer("tokenizer.ggml.bos_token_id", 1)
        .integer("tokenizer.ggml.eos_token_id", 2);
    return w;
  }
};

TEST(GgufTokenizer, JoinsByScore) {
  const Pieces pieces;
  const Tokenizer tokenizer(pieces.writer().save("spm.gguf"));
  const Tokenizer bare(pieces.writer()
                           .flag("tokenizer.ggml.add_space_prefix", false)
                           .flag("tokenizer.ggml.add_bos_token", false)
                           .flag("tokenizer.ggml.add_eos_token", true)
                           .save("spm_bare.gguf"));
  std::mt19937 random(3);
  const char* parts[] = {"t", "h", "e", "r", "i", "n", "g", " ", "\u00e9", "the", "in", "\n", "\u4e2d", "    "};
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (size_t n = random() % 40 + 1; n > 0; --n) text += parts[random() % std::size(parts)];
    std::string marked;
    for (const char c : text) c == ' ' ? marked += "\u2581" : marked += c;
    std::vector<int32_t> expected = joined("\u2581" + marked, pieces.known, pieces.bytes);
    EXPECT_EQ(tokenizer.encode(text, false), expected) << text;
    EXPECT_EQ(tokenizer.decode(expected), text);
    expected = joined(marked, pieces.known, pieces.bytes);
    expected.push_back(2);
    EXPECT_EQ(bare.encode(text), expected) << text;
  }
  EXPECT_EQ(tokenizer.encode("</s>"), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_EQ(tokenizer.pad_id(), std::nullopt);
}

const Json& kinds() {
  static const Json json = parse_json_file(DS_SOURCE_DIR "/tests/text/data/tokenizer_kinds.json");
  return json;
}

// The tokens of a vocabulary in order of ids.
std::vector<std::string> tokens_of(const Json& model) {
  std::vector<std::string> tokens(model.find("vocab")->members.size());
  for (const auto& [token, id] : model.find("vocab")->members) tokens.at(static_cast<size_t>(id.as_int("id"))) = token;
  return tokens;
}

TEST(GgufTokenizer, ByteLevelIsThatOfTheNamedPretokenizer) {
  const Json& base = *kinds().find("bytes");
  const std::vector<std::string> tokens = tokens_of(*base.find("model"));
  std::vector<std::string> merges;
  for (const Json& merge : base.find("model")->find("merges")->items)
    merges.push_back(merge.items[0].text + " " + merge.items[1].text);
  std::vector<int32_t> types(tokens.size(), 1);
  types[0] = types[1] = 3;
  const auto written = [&](const char* pre) {
    Writer w;
    w.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre).texts("tokenizer.ggml.tokens", tokens);
    return w.integers("tokenizer.ggml.token_type", types)
        .texts("tokenizer.ggml.merges", merges)
        .save(std::string(pre) + ".gguf");
  };
  for (const auto& [pre, name] :
       std::map<std::string, std::string>{{"gpt-4o", "o200k"}, {"deepseek-coder", "deepseek coder"}}) {
    const Tokenizer tokenizer(written(pre.c_str()));
    size_t compared = 0;
    for (const Json& variant : kinds().find("variants")->items) {
      if (variant.find("name")->text != name) continue;
      for (size_t i = 0; i < kinds().find("strings")->items.size(); ++i, ++compared) {
        std::vector<int32_t> ids;
        for (const Json& id : variant.find("cases")->items[i].find("ids")->items)
          ids.push_back(static_cast<int32_t>(id.as_int("id")));
        EXPECT_EQ(tokenizer.encode(kinds().find("strings")->items[i].text), ids) << pre << ": " << i;
      }
    }
    EXPECT_EQ(compared, kinds().find("strings")->items.size()) << pre;
  }
  try {
    Tokenizer{written("no-such-pre")};
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no-such-pre"), std::string::npos);
  }
}

TEST(GgufTokenizer, WordPieceMarksTheBeginningsOfWords) {
  const Json& base = *kinds().find("word_piece");
  std::vector<std::string> tokens = tokens_of(*base.find("model"));
  std::vector<int32_t> types(tokens.size(), 1);
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (id < 5)
      types[id] = 3;
    else
      tokens[id] = tokens[id].starts_with("##") ? tokens[id].substr(2) : "\u2581" + tokens[id];
  }
  Writer w;
  w.text("tokenizer.ggml.model", "bert")
      .texts("tokenizer.ggml.tokens", tokens)
      .integers("tokenizer.ggml.token_type", types);
  w.integer("tokenizer.ggml.bos_token_id", 2)
      .integer("tokenizer.ggml.seperator_token_id", 3)
      .integer("tokenizer.ggml.unknown_token_id", 1);
  const Tokenizer tokenizer(w.save("bert.gguf"));
  for (const Json& variant : kinds().find("variants")->items) {
    if (variant.find("name")->text != "WordPiece with BertProcessing") continue;
    for (const size_t i : {1u, 2u, 3u, 4u}) {
      std::vector<int32_t> ids;
      for (const Json& id : variant.find("cases")->items[i].find("ids")->items)
        ids.push_back(static_cast<int32_t>(id.as_int("id")));
      EXPECT_EQ(tokenizer.encode(kinds().find("strings")->items[i].text), ids) << i;
    }
  }
}

TEST(GgufTokenizer, RefusesWhatIsMissing) {
  EXPECT_THROW(Tokenizer(Writer().text("general.name", "x").save("none.gguf")), Error);
  EXPECT_THROW(
      Tokenizer(Writer().text("tokenizer.ggml.model", "rwkv").texts("tokenizer.ggml.tokens", {"a"}).save("rwkv.gguf")),
      Error);
  EXPECT_THROW(Tokenizer(Writer().text("tokenizer.ggml.model", "llama").save("empty.gguf")), Error);
  EXPECT_THROW(
      Tokenizer(
          Writer().text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"a", "a"}).save("twice.gguf")),
      Error);
  EXPECT_THROW(Tokenizer(Writer()
                             .text("tokenizer.ggml.model", "llama")
                             .texts("tokenizer.ggml.tokens", {"a", "b"})
                             .integers("tokenizer.ggml.token_type", {1})
                             .save("short.gguf")),
               Error);
  EXPECT_THROW(Tokenizer(Writer()
                             .text("tokenizer.ggml.model", "llama")
                             .texts("tokenizer.ggml.tokens", {"a"})
                             .integer("tokenizer.ggml.bos_token_id", 7)
                             .save("bos.gguf")),
               Error);
}

}  // namespace
}  // namespace ds
