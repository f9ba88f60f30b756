#include "io/gguf.h"

#include <cstring>

#include "base/rng.h"
#include "scratch.h"

namespace ds {

// A GGUF made by hand: the parts that a test wants to spoil are its own.
struct Writer {
  std::string bytes = "GGUF";
  template <class T>
  Writer& number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& string(const std::string& text) {
    number<uint64_t>(text.size());
    bytes += text;
    return *this;
  }
  Writer& header(uint64_t tensors, uint64_t keys, uint32_t version = 3) { return number(version).number(tensors).number(keys); }
  Writer& integer(const std::string& key, uint32_t value) { return string(key).number<uint32_t>(4).number(value); }
  Writer& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    string(name).number(static_cast<uint32_t>(dims.size()));
    for (const uint64_t n : dims) number(n);
    return number(type).number(offset);
  }
  std::string with_data(const std::string& data) const {
    std::string all = bytes;
    all.resize((all.size() + 31) / 32 * 32, '\0');
    return all + data;
  }
};

struct Parsed {
  std::vector<GgufTensor> tensors;
  std::map<std::string, GgufValue, std::less<>> metadata;
};
static std::string refused(const std::string& bytes) {
  Parsed p;
  return error_of([&] { parse_gguf(bytes, "f", p.tensors, p.metadata); });
}

// tests/io/data/blocks.gguf: written by gguf-py 0.19.0 (GGUFWriter) with random blocks of every type, [2, 256] each, and
// beside each tensor what gguf-py's own dequantize makes of it, as "expected.TYPE".
static const std::string kBlocks = DS_SOURCE_DIR "/tests/io/data/blocks.gguf";

TEST(Gguf, BlocksAreReadAsTheFormatsOwnLibraryReadsThem) {
  const GgufFile file(kBlocks);
  size_t types = 0;
  for (const GgufTensor& t : file.tensors()) {
    if (t.name.starts_with("expected.")) continue;
    ++types;
    EXPECT_EQ(gguf_type_name(t.type), t.name);
    EXPECT_EQ(t.shape, (std::vector<int64_t>{2, 256}));
    const GgufTensor& expected = *file.find("expected." + t.name);
    std::vector<float> got(512), want(512);
    dequantize_gguf(t, 0, 512, got.data());
    std::memcpy(want.data(), expected.data.data(), 2048);
    EXPECT_EQ(std::memcmp(got.data(), want.data(), 2048), 0) << t.name;
    const int64_t block = gguf_block_values(t.type);
    dequantize_gguf(t, 512 - block, block, got.data());
    EXPECT_EQ(std::memcmp(got.data(), want.data() + 512 - block, static_cast<size_t>(block) * 4), 0) << t.name;
    EXPECT_CONTAINS(error_of([&] { dequantize_gguf(t, 512, block, got.data()); }), "whole blocks");
    EXPECT_CONTAINS(error_of([&] { dequantize_gguf(t, -block, block, got.data()); }), "whole blocks");
  }
  EXPECT_EQ(types, 13u);
}

TEST(Gguf, ValuesOfEveryType) {
  const GgufFile file(kBlocks);
  EXPECT_TRUE(is_gguf(kBlocks));
  EXPECT_FALSE(is_gguf(DS_SOURCE_DIR "/README.md"));
  EXPECT_EQ(file.string_or("general.architecture", ""), "llama");
  EXPECT_EQ(file.integer_or("t.u8", 0), 200);
  EXPECT_EQ(file.integer_or("t.i8", 0), -5);
  EXPECT_EQ(file.integer_or("t.u16", 0), 60000);
  EXPECT_EQ(file.integer_or("t.i16", 0), -300);
  EXPECT_EQ(file.integer_or("t.u32", 0), 4000000000);
  EXPECT_EQ(file.integer_or("t.i32", 0), -70000);
  EXPECT_EQ(file.integer_or("t.u64", 0), int64_t{1} << 60);
  EXPECT_EQ(file.integer_or("t.i64", 0), -(int64_t{1} << 60));
  EXPECT_EQ(file.real_or("t.f32", 0), 0.1f);
  EXPECT_EQ(file.real_or("t.f64", 0), 0.1);
  EXPECT_EQ(file.real_or("t.u8", 0), 200.0);
  EXPECT_TRUE(file.flag_or("t.bool", false));
  EXPECT_EQ(file.string_or("t.str", ""), "süß");
  EXPECT_EQ(file.get("t.strings")->strings, (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(file.get("t.ints")->integers, (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(file.get("t.floats")->reals, (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(file.get("t.bools")->integers, (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(file.integer_or("absent", 7), 7);
  EXPECT_EQ(file.get("absent"), nullptr);
  EXPECT_CONTAINS(error_of([&] { (void)file.integer_or("t.str", 0); }), "t.str is not an integer");
  EXPECT_CONTAINS(error_of([&] { (void)file.real_or("t.str", 0); }), "t.str is not a number");
  EXPECT_CONTAINS(error_of([&] { (void)file.flag_or("t.u8", true); }), "t.u8 is not a boolean");
  EXPECT_CONTAINS(error_of([&] { (void)file.string_or("t.u8", ""); }), "t.u8 is not a string");
}

TEST(Gguf, TensorsInAnyOrderWithHoles) {
  const std::string bytes = Writer().header(2, 1).integer("general.alignment", 64).tensor("b", {2, 3}, 0, 64).tensor("a", {4}, 0, 0).bytes;
  std::string all = bytes;
  all.resize((all.size() + 63) / 64 * 64, '\0');
  all += std::string(64, 'a') + std::string(24, 'b');
  Parsed p;
  parse_gguf(all, "f", p.tensors, p.metadata);
  ASSERT_EQ(p.tensors.size(), 2u);
  EXPECT_EQ(p.tensors[0].name, "a");
  EXPECT_EQ(p.tensors[0].data, std::string(16, 'a'));
  EXPECT_EQ(p.tensors[1].shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(p.tensors[1].data, std::string(24, 'b'));
}

TEST(Gguf, MalformedFilesAreErrors) {
  const std::string data(64, 'x');
  const auto one = [&](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    return refused(Writer().header(1, 0).tensor("a", dims, type, offset).with_data(data));
  };
  EXPECT_EQ(one({16}, 0, 0), "");
  EXPECT_EQ(one({8}, 0, 32), "");
  EXPECT_EQ(refused(Writer().header(0, 0, 2).bytes), "");
  EXPECT_CONTAINS(refused(""), "not a GGUF file");
  EXPECT_CONTAINS(refused("GGUG"), "not a GGUF file");
  EXPECT_CONTAINS(refused("GGUF"), "truncated");
  EXPECT_CONTAINS(refused(Writer().header(0, 0, 1).bytes), "version 1");
  EXPECT_CONTAINS(refused(Writer().header(0, 0, 3u << 24).bytes), "big-endian");
  EXPECT_CONTAINS(refused(Writer().header(UINT64_MAX, 0).bytes), "tensors are more");
  EXPECT_CONTAINS(refused(Writer().header(0, UINT64_MAX).bytes), "keys of metadata are more");
  EXPECT_CONTAINS(refused(Writer().header(0, 60000).bytes), "truncated");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).number(UINT64_MAX).bytes), "truncated");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("").number(4u).number(1u).bytes), "0 bytes");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("k").number(13u).bytes), "unknown type 13");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("k").number(7u).number<uint8_t>(2).bytes), "boolean of 2");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("k").number(10u).number(UINT64_MAX).bytes), "2^63");
  EXPECT_CONTAINS(refused(Writer().header(0, 2).integer("k", 1).integer("k", 1).bytes), "twice");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("k").number(9u).number(9u).number<uint64_t>(0).bytes), "array of arrays");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).string("k").number(9u).number(4u).number(UINT64_MAX / 4).bytes), "truncated");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).integer("general.alignment", 24).bytes), "power of two");
  EXPECT_CONTAINS(refused(Writer().header(0, 1).integer("general.alignment", 0).bytes), "power of two");
  EXPECT_CONTAINS(one({}, 0, 0), "0 dimensions");
  EXPECT_CONTAINS(one({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  EXPECT_CONTAINS(one({0}, 0, 0), "dimension of 0");
  EXPECT_CONTAINS(one({UINT64_MAX}, 0, 0), "dimension of");
  EXPECT_NE(one({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0), "");
  EXPECT_NE(one({uint64_t{1} << 62}, 0, 0), "");
  EXPECT_CONTAINS(one({16}, 2, 0), "blocks of Q4_0 have 32");
  EXPECT_CONTAINS(one({256}, 23, 0), "IQ4_XS (type 23)");
  EXPECT_CONTAINS(one({256}, 99, 0), "unknown type 99");
  EXPECT_CONTAINS(one({16}, 0, 8), "alignment");
  EXPECT_CONTAINS(one({16}, 0, 32), "outside");
  EXPECT_CONTAINS(one({16}, 0, UINT64_MAX - 31), "outside");
  const auto two = [&](const std::string& name, uint64_t offset) {
    return refused(Writer().header(2, 0).tensor("a", {9}, 0, 0).tensor(name, {1}, 0, offset).with_data(data));
  };
  EXPECT_CONTAINS(two("a", 32), "twice");
  EXPECT_CONTAINS(two("b", 32), "overlaps");
}

TEST(Gguf, TruncatedAnywhereIsAnError) {
  const std::string bytes = get(kBlocks);
  EXPECT_EQ(refused(bytes), "");
  for (size_t size = 0; size < bytes.size(); size += size < 4000 ? 1 : 997) EXPECT_NE(refused(bytes.substr(0, size)), "") << size;
}

}  // namespace ds
