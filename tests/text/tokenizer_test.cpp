// Tokenizer against Hugging Face tokenizers: ids and texts recorded from that library, and the fixtures' cases.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <thread>

#include "base/error.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/unicode.h"

namespace ds {
namespace {

std::string to_text(const Json& json) {
  std::string out;
  const char* between = "";
  switch (json.type) {
    case Json::Type::null: return "null";
    case Json::Type::boolean: return json.boolean ? "true" : "false";
    case Json::Type::number: return json.text;
    case Json::Type::string: return json_string(json.text);
    case Json::Type::array:
      for (const Json& item : json.items) out += cat(between, to_text(item)), between = ",";
      return cat("[", out, "]");
    case Json::Type::object:
      for (const auto& [key, value] : json.members) out += cat(between, json_string(key), ":", to_text(value)), between = ",";
      return cat("{", out, "}");
  }
  return out;
}

// Members of `patch` replace those of `base`, one level deeper in "model".
Json patched(Json base, const Json& patch) {
  for (const auto& [key, value] : patch.members)
    for (auto& [name, old] : base.members)
      if (name == key) old = key == "model" ? patched(old, value) : value;
  return base;
}

std::vector<int32_t> ids_of(const Json& json) {
  std::vector<int32_t> ids;
  for (const Json& item : json.items) ids.push_back(static_cast<int32_t>(item.as_int("ids")));
  return ids;
}

const Json& cases() {
  static const Json json = parse_json_file(DS_SOURCE_DIR "/tests/text/data/tokenizer_cases.json");
  return json;
}

std::string variant_json(const std::string& wanted) {
  for (const Json& v : cases().find("variants")->items)
    if (v.find("name")->text == wanted) return to_text(patched(*cases().find(v.find("base")->text), *v.find("patch")));
  ADD_FAILURE() << "no variant " << wanted;
  return "{}";
}

std::string error_of(const std::string& json) {
  try {
    Tokenizer::parse(json, "t.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(Tokenizer, AgreesWithHuggingFaceOnEveryComponent) {
  size_t count = 0;
  for (const Json& variant : cases().find("variants")->items) {
    const std::string& name = variant.find("name")->text;
    const Tokenizer tokenizer = Tokenizer::parse(variant_json(name), name);
    for (const Json& c : variant.find("cases")->items) {
      const std::string& text = c.find("text")->text;
      const std::vector<int32_t> expected = ids_of(*c.find("ids"));
      EXPECT_EQ(tokenizer.encode(text), expected) << name << ": " << text;
      EXPECT_EQ(tokenizer.encode(text), expected) << name << ", from the cache: " << text;
      EXPECT_EQ(tokenizer.decode(expected, false), c.find("decoded")->text) << name << ": " << text;
      EXPECT_EQ(tokenizer.decode(expected, true), c.find("plain")->text) << name << ": " << text;
      ++count;
    }
  }
  EXPECT_GE(count, 200u);
}

// WordPiece, Unigram, WordLevel, affixes, and the components that byte-level files do without. Every variant has ids for the
// same strings, which are of all planes and of several versions of Unicode.
TEST(Tokenizer, AgreesWithHuggingFaceOnEveryKind) {
  const Json kinds = parse_json_file(DS_SOURCE_DIR "/tests/text/data/tokenizer_kinds.json");
  const Json& strings = *kinds.find("strings");
  size_t count = 0;
  for (const Json& variant : kinds.find("variants")->items) {
    const std::string& name = variant.find("name")->text;
    const Json whole = patched(*kinds.find(variant.find("base")->text), *variant.find("patch"));
    const Tokenizer tokenizer = Tokenizer::parse(to_text(whole), name);
    ASSERT_EQ(variant.find("cases")->items.size(), strings.items.size());
    for (size_t i = 0; i < strings.items.size(); ++i, ++count) {
      const Json& c = variant.find("cases")->items[i];
      const std::string& text = strings.items[i].text;
      const std::vector<int32_t> expected = ids_of(*c.find("ids"));
      EXPECT_EQ(tokenizer.encode(text), expected) << name << ": " << text;
      EXPECT_EQ(tokenizer.encode(text), expected) << name << ", from the cache: " << text;
      EXPECT_EQ(tokenizer.decode(expected, false), c.find("decoded")->text) << name << ": " << text;
      EXPECT_EQ(tokenizer.decode(expected, true), c.find("plain")->text) << name << ": " << text;
    }
  }
  EXPECT_GE(count, 500u);
}

TEST(Tokenizer, AgreesWithTheFixtures) {
  const char* given = std::getenv("DS_SHARED");
  const std::filesystem::path shared = given ? given : DS_SOURCE_DIR "/../shared";
  if (!std::filesystem::is_directory(shared / "fixtures")) GTEST_SKIP() << "no fixtures at " << shared;
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared / "fixtures")) {
    const Json expected = parse_json_file((entry.path() / "expected.json").string());
    const Tokenizer tokenizer(entry.path().string());
    EXPECT_EQ(tokenizer.bos_id(), 0) << entry.path();
    EXPECT_EQ(tokenizer.eos_id(), 1) << entry.path();
    EXPECT_EQ(tokenizer.pad_id(), 2) << entry.path();
    EXPECT_EQ(tokenizer.vocab_size(), 512) << entry.path();
    for (const Json& c : expected.find("cases")->items) {
      if (!c.find("text")) continue;
      EXPECT_EQ(tokenizer.encode(c.find("text")->text), ids_of(*c.find("ids"))) << entry.path();
      EXPECT_EQ(tokenizer.decode(ids_of(*c.find("ids"))), c.find("text")->text) << entry.path();
      ++count;
    }
  }
  EXPECT_GE(count, 24u);
}

TEST(Tokenizer, BytesOfTokensJoinToTheText) {
  const std::string text = "hello é 中文 🙂 the 12345\n";
  for (const char* name : {"gpt2", "llama3", "qwen2", "deepseek3", "llama 2"}) {
    const Tokenizer tokenizer = Tokenizer::parse(variant_json(name), name);
    std::string joined;
    for (const int32_t id : tokenizer.encode(text, false)) joined += tokenizer.token_bytes(id);
    EXPECT_EQ(joined, (std::string(name) == "llama 2" ? " " : "") + text) << name;
  }
}

TEST(Tokenizer, DecodesPartsOfCharactersAsReplacementCharacters) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("gpt2"), "t");
  const std::vector<int32_t> ids = tokenizer.encode("a🙂b");
  ASSERT_EQ(ids.size(), 6u);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>(ids.begin(), ids.begin() + 3)), "a\ufffd");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>(ids.begin() + 3, ids.end())), "\ufffd\ufffdb");
}

TEST(Tokenizer, LooksUpTokens) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("gpt2"), "t");
  EXPECT_EQ(tokenizer.id("<|eos|>"), 1);
  EXPECT_EQ(tokenizer.id("!"), 3);
  EXPECT_EQ(tokenizer.id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.token_bytes(0), "<|bos|>");
  EXPECT_THROW(tokenizer.token_bytes(-1), Error);
  EXPECT_THROW(tokenizer.token_bytes(tokenizer.vocab_size()), Error);
  EXPECT_THROW(tokenizer.decode(std::vector<int32_t>{tokenizer.vocab_size()}), Error);
  EXPECT_THROW(tokenizer.encode("\xff"), Error);
  EXPECT_THROW(tokenizer.encode("a\xed\xa0\x80"), Error);
}

// A long piece goes through the heap, its parts through the scan: joining what has no merge across the cut is the same.
TEST(Tokenizer, LongPiecesMergeLikeShortOnes) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("gpt2"), "t");
  std::vector<int32_t> expected;
  std::string text;
  for (int i = 0; i < 400; ++i) {
    const std::string part = i % 3 == 0 ? "hellothe" : i % 3 == 1 ? "xxxxxxxxx" : "einerou";
    const std::vector<int32_t> ids = tokenizer.encode(part + "q");
    expected.insert(expected.end(), ids.begin(), ids.end());
    text += part + "q";
  }
  EXPECT_EQ(tokenizer.encode(text), expected);
}

// Long pieces of SentencePiece's kind are cut where no merge joins; one by one the words give the same ids.
TEST(Tokenizer, CutPiecesMergeLikeWholeOnes) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("llama 2"), "t");
  std::vector<int32_t> expected;
  std::string text;
  for (int i = 0; i < 200; ++i) {
    const std::string word = i % 3 == 0 ? "hello" : i % 3 == 1 ? "the\u4e2dend" : "world's";
    const std::vector<int32_t> ids = tokenizer.encode(word, false);
    expected.insert(expected.end(), ids.begin(), ids.end());
    text += (i ? " " : "") + word;
  }
  EXPECT_EQ(tokenizer.encode(text, false), expected);
}

// A text without cuts costs about as much a byte as a shorter one: 16 times the length, at most 64 times the time.
TEST(Tokenizer, LongWordsTakeNoQuadraticTime) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("gpt2"), "t");
  const auto seconds = [&](size_t bytes) {
    const std::clock_t start = std::clock();  // processor time: another program's does not count
    tokenizer.encode(std::string(bytes, 'x'));
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  seconds(1 << 16);
  EXPECT_LT(seconds(1 << 20), 64 * seconds(1 << 16) + 0.1);
}

TEST(Tokenizer, ThreadsGetTheSameIds) {
  const Tokenizer one = Tokenizer::parse(variant_json("gpt2"), "t"), two = Tokenizer::parse(variant_json("llama 2"), "t");
  const std::string text = "hello the world's end, one two the tin 12345 and so on";
  const auto first = one.encode(text), second = two.encode(text);
  std::vector<std::thread> threads;
  std::vector<int> bad(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) bad[static_cast<size_t>(t)] += one.encode(text) != first || two.encode(text) != second;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(bad, std::vector<int>(4));
}

TEST(Tokenizer, NamesWhatIsNotSupported) {
  const std::string base = variant_json("gpt2");
  const auto refuses = [&](const std::string& from, const std::string& to, const std::string& named) {
    EXPECT_NE(error_of(replaced(base, from, to)).find(named), std::string::npos) << named << ": " << error_of(replaced(base, from, to));
  };
  refuses(R"("type":"BPE")", R"("type":"Morfessor")", "Morfessor");
  refuses(R"("normalizer":null)", R"("normalizer":{"type":"Romanize"})", "Romanize");
  refuses(R"("normalizer":null)", R"("normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"})", "charsmap");
  refuses(R"("normalizer":null)", R"("normalizer":{"type":"Precompiled","precompiled_charsmap":"A-=="})", "base64");
  refuses(R"("dropout":null)", R"("dropout":0.1)", "dropout");
  refuses(R"("post_processor":null)", R"("post_processor":{"type":"CtcProcessing"})", "CtcProcessing");
  refuses(R"("post_processor":null)", R"("post_processor":{"type":"BertProcessing","sep":["a",1]})", "cls");
  refuses(R"("post_processor":null)", R"("post_processor":{"type":"BertProcessing","sep":["a",1],"cls":["b",99999]})", "is no token");
  EXPECT_NE(error_of(replaced(base, R"(["h","e"])", R"(["h","\u4e2d"])")).find("not in the vocabulary"), std::string::npos);
  EXPECT_NE(error_of(replaced(base, R"("!":3)", R"("!":2000000000)")).find("far above"), std::string::npos);
  EXPECT_NE(error_of(replaced(base, R"("!":3)", R"("!":-3)")).find("out of range"), std::string::npos);
  EXPECT_NE(error_of("{}").find("no model"), std::string::npos);
  EXPECT_NE(error_of("[]").find("no model"), std::string::npos);
  EXPECT_THROW(Tokenizer("/nonexistent/tokenizer.json"), Error);
}

TEST(ByteLevel, IsABijectionOnBytes) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(from_byte_level(to_byte_level(all)), all);
  EXPECT_EQ(to_byte_level(" \nA\xff"), "ĠĊAÿ");
  EXPECT_EQ(from_byte_level("a b"), std::nullopt);
}

TEST(Tokenizer, ANormalizerDoesNotGrowTextsWithoutBound) {
  std::string steps;
  for (int i = 0; i < 60; ++i) steps += cat(i ? "," : "", R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})");
  const auto with = [](const std::string& list) {
    return cat(R"({"normalizer":{"type":"Sequence","normalizers":[)", list, R"(]},"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}})");
  };
  const Tokenizer tokenizer = Tokenizer::parse(with(steps), "t");
  EXPECT_TRUE(tokenizer.has(0));
  EXPECT_FALSE(tokenizer.has(1));
  EXPECT_THROW(tokenizer.encode("a"), Error);
  const std::string huge(100, 'a');
  EXPECT_THROW(Tokenizer::parse(with(cat(R"({"type":"Prepend","prepend":")", huge, "\"}")), "t"), Error);
}

TEST(Tokenizer, ADecoderDoesNotGrowTextsWithoutBound) {
  const auto with = [](const std::string& decoders) {
    return cat(R"({"decoder":{"type":"Sequence","decoders":[)", decoders,
               R"(]},"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}})");
  };
  const auto repeated = [](const std::string& step, int times) {
    std::string steps;
    for (int i = 0; i < times; ++i) steps += (i ? "," : "") + step;
    return steps;
  };
  for (const char* pattern : {R"({"String":"a"})", R"({"Regex":"a"})"})
    for (const char* before : {"", R"({"type":"Fuse"},)"}) {
      const std::string step = cat(R"({"type":"Replace","pattern":)", pattern, R"(,"content":"aa"})");
      const Tokenizer hostile = Tokenizer::parse(with(before + repeated(step, 60)), "t");
      const std::vector<int32_t> ids(3);
      EXPECT_THROW(hostile.decode(ids), Error);
      EXPECT_THROW(hostile.token_bytes(0), Error);
      StreamDecoder stream(hostile);
      const auto add_all = [&] {
        for (const int32_t id : ids) stream.add(id);
        stream.finish();
      };
      EXPECT_THROW(add_all(), Error);
      const Tokenizer mild = Tokenizer::parse(with(before + repeated(step, 4)), "t");
      EXPECT_EQ(mild.decode(ids), std::string(48, 'a'));
    }
  const std::string huge(100, 'a');
  EXPECT_NE(error_of(with(cat(R"({"type":"Replace","pattern":{"String":"a"},"content":")", huge, "\"}"))).find("at most 64"),
            std::string::npos);
}

// What the stream gives for ids, each text of whole characters.
std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  StreamDecoder stream(tokenizer, skip_special);
  std::string out;
  const auto take = [&](const std::string& text) {
    EXPECT_TRUE(is_valid_utf8(text));
    out += text;
  };
  for (const int32_t id : ids) take(stream.add(id));
  take(stream.finish());
  return out;
}

// Of every kind of decoder: id by id and in one go the same, and where nothing of the context reaches over the border the
// text is what the ids add to that of the context.
TEST(Tokenizer, ContinuesATextIdById) {
  size_t count = 0, added = 0;
  const auto check = [&](const Json& whole, const Json& texts, const std::string& name) {
    const Tokenizer tokenizer = Tokenizer::parse(to_text(whole), name);
    const std::string decoder = to_text(*whole.find("decoder"));
    const bool ends = decoder.find("BPEDecoder") != std::string::npos || decoder.find("\"stop\":1") != std::string::npos ||
                      decoder.find("Regex") != std::string::npos;  // what the end of the context is depends on what follows
    const std::vector<int32_t> context = tokenizer.encode("the hello a", false);
    for (const Json& text : texts.items) {
      const std::vector<int32_t> ids = tokenizer.encode(text.text, false);
      for (const size_t from : {size_t{0}, ids.size() / 3, ids.size() / 2}) {
        const std::vector<int32_t> rest(ids.begin() + static_cast<ptrdiff_t>(from), ids.end());
        for (const bool skip : {true, false}) {
          const std::string expected = tokenizer.decode_continuation(rest, skip);
          EXPECT_EQ(streamed(tokenizer, rest, skip), expected) << name << ": " << text.text;
          ++count;
          if (ends || expected.find("\ufffd") != std::string::npos) continue;  // of a character that began in the context
          std::vector<int32_t> both = context;
          both.insert(both.end(), rest.begin(), rest.end());
          EXPECT_EQ(tokenizer.decode(both, skip), tokenizer.decode(context, skip) + expected) << name << ": " << text.text;
          ++added;
        }
      }
    }
  };
  const Json kinds = parse_json_file(DS_SOURCE_DIR "/tests/text/data/tokenizer_kinds.json");
  for (const Json& v : kinds.find("variants")->items)
    check(patched(*kinds.find(v.find("base")->text), *v.find("patch")), *kinds.find("strings"), v.find("name")->text);
  for (const Json& v : cases().find("variants")->items)
    check(patched(*cases().find(v.find("base")->text), *v.find("patch")), *kinds.find("strings"), v.find("name")->text);
  EXPECT_GE(count, 5000u);
  EXPECT_GE(added, 3000u);
}

// Bytes in any order, so that characters begin, break off and are invalid anywhere.
TEST(Tokenizer, ContinuesWithAnyBytes) {
  std::mt19937 random(11);
  const std::string decoders[] = {
      R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})",
      R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace"},{"type":"BPEDecoder","suffix":"z"}]})",
      R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Replace","pattern":{"String":"abab"},"content":"-"},{"type":"Strip","content":"b","start":1,"stop":2}]})",
      R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Metaspace","replacement":"ab"},{"type":"Replace","pattern":{"Regex":"b+"},"content":"c"},{"type":"WordPiece","prefix":"a","cleanup":true}]})",
      R"({"type":"ByteLevel"})"};
  const char* bytes[] = {"61", "62", "C3", "A9", "E2", "82", "AC", "F0", "9F", "99", "82", "FF", "C0", "ED", "A0"};
  std::string vocabulary;
  int32_t count = 0;
  const auto put = [&](const std::string& token) { vocabulary += cat(count ? "," : "", json_string(token), ":", count), ++count; };
  for (const char* b : bytes)
    if (vocabulary.find(b) == std::string::npos) put(cat("<0x", b, ">"));
  for (const char* b : {"a", "ab", "\u2581b", "\u00e9", "z", "bz", "\u2581", "."}) put(b);
  for (const int byte : {0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0xff, 0xed, 0xa0})
    if (const std::string token = to_byte_level(std::string(1, static_cast<char>(byte))); token != "\u00e9") put(token);
  for (const std::string& decoder : decoders) {
    const Tokenizer tokenizer = Tokenizer::parse(
        cat(R"({"decoder":)", decoder, R"(,"model":{"type":"WordLevel","vocab":{)", vocabulary, R"(},"unk_token":"a"}})"), "t");
    for (int i = 0; i < 2000; ++i) {
      std::vector<int32_t> ids(random() % 12);
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(count));
      EXPECT_EQ(streamed(tokenizer, ids, true), tokenizer.decode_continuation(ids)) << decoder;
    }
  }
}

// What byte tokens stand for, by definition: characters, and one U+FFFD for each byte that is in none. `open`: the length of a
// beginning of a character at the end, which is not in the text.
std::string characters_of(std::string_view bytes, size_t& open) {
  std::string out;
  open = 0;
  for (size_t at = 0; at < bytes.size();) {
    size_t length = 1;
    while (length <= 4 && at + length <= bytes.size() && !is_valid_utf8(bytes.substr(at, length))) ++length;
    if (length <= 4 && at + length <= bytes.size()) {
      out += bytes.substr(at, length), at += length;
      continue;
    }
    const std::string rest(bytes.substr(at));
    for (size_t more = 1; more <= 3 && rest.size() + more <= 4 && open == 0; ++more)
      for (const char* second : {"\x80", "\x90", "\xa0"})  // some of them may follow any lead, and any may follow later
        if (std::string whole = rest + std::string(more, '\x80'); true) {
          if (rest.size() == 1) whole[1] = second[0];
          if (is_valid_utf8(whole)) open = rest.size();
        }
    if (open) return out;
    out += "\ufffd", ++at;
  }
  return out;
}

// A character comes with its last byte, whatever follows; tokenizers' decode agrees where all bytes are characters.
TEST(Tokenizer, StreamsCharactersOfByteTokens) {
  std::string vocabulary = "\"a\":256";
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    vocabulary += cat(",\"", name, "\":", b);
  }
  const Tokenizer tokenizer = Tokenizer::parse(
      cat(R"({"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]},"model":{"type":"WordLevel","vocab":{)",
          vocabulary, R"(},"unk_token":"a"}})"), "t");
  std::mt19937 random(7);
  const std::string pieces[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "\xef\xbf\xbd", "z", "\xff", "\xc0", "\xed\xa0\x80", "\xf4\x90",
                                "\xe2\x82", "\xf0\x9f", "\x80", "\xc3", "\xe0\x80"};
  size_t valid = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string bytes;
    for (size_t n = random() % 8; n > 0; --n) bytes += pieces[random() % (i % 2 ? std::size(pieces) : 5)];
    const std::vector<int32_t> ids(reinterpret_cast<const uint8_t*>(bytes.data()), reinterpret_cast<const uint8_t*>(bytes.data()) + bytes.size());
    StreamDecoder stream(tokenizer);
    std::string out;
    size_t open = 0;
    for (size_t n = 0; n < ids.size(); ++n) {
      out += stream.add(ids[n]);
      ASSERT_EQ(out, characters_of(std::string_view(bytes).substr(0, n + 1), open)) << json_string(bytes);
    }
    out += stream.finish();
    std::string whole = characters_of(bytes, open);
    for (; open > 0; --open) whole += "\ufffd";
    EXPECT_EQ(out, whole) << json_string(bytes);
    EXPECT_EQ(out, tokenizer.decode_continuation(ids));
    if (!is_valid_utf8(bytes)) continue;
    EXPECT_EQ(out, tokenizer.decode(ids));
    ++valid;
  }
  EXPECT_GE(valid, 1500u);
  // Cut within a character: tokenizers' decode loses the others of the run.
  const std::vector<int32_t> cut = {0xc3, 0xa9, 0xe2, 0x82};
  EXPECT_EQ(tokenizer.decode_continuation(cut), "\u00e9\ufffd\ufffd");
  EXPECT_EQ(tokenizer.decode(cut), "\ufffd\ufffd\ufffd\ufffd");
}

TEST(Tokenizer, AnAnswerKeepsItsFirstSpace) {
  const Tokenizer tokenizer = Tokenizer::parse(variant_json("llama 2"), "t");
  const std::vector<int32_t> ids = tokenizer.encode("hello the", false);
  EXPECT_EQ(tokenizer.decode(ids), "hello the");
  EXPECT_EQ(tokenizer.decode_continuation(ids), " hello the");
  EXPECT_EQ(tokenizer.decode_continuation(std::vector<int32_t>{}), "");
  const Tokenizer bytes = Tokenizer::parse(variant_json("gpt2"), "t");
  StreamDecoder stream(bytes);
  std::string out;
  for (const int32_t id : bytes.encode("a\U0001f642")) out += stream.add(id) + "|";
  EXPECT_EQ(out, "a||||\U0001f642|");
  EXPECT_THROW(stream.add(bytes.vocab_size()), Error);
}

}  // namespace
}  // namespace ds
