#include "io/safetensors.h"

#include <cstring>

#include "base/rng.h"
#include "scratch.h"

namespace ds {

static std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + data;
}

static std::string refused(const std::string& bytes) {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  return error_of([&] { parse_safetensors(bytes, "f", tensors, metadata); });
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  Scratch scratch;
  const std::string path = scratch / "m.safetensors";
  const std::string a(2 * 3 * 4, 'a'), b(5 * 2, 'b'), s(8, 's');
  write_safetensors(path,
                    {{"z", DType::f32, {2, 3}, [&] { return std::string_view(a); }},
                     {"empty", DType::i32, {0, 7}, [] { return std::string_view(); }},
                     {"b\"\n", DType::bf16, {5}, [&] { return std::string_view(b); }},
                     {"scalar", DType::i64, {}, [&] { return std::string_view(s); }}},
                    {{"ds.history", "[1]"}});
  const std::string bytes = get(path);
  uint64_t header;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ((header + 8) % 64, 0u);
  EXPECT_EQ(bytes.size(), 8 + header + a.size() + b.size() + s.size());
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"ds.history", "[1]"}, {"format", "pt"}}));
  EXPECT_EQ(file.find("z")->data, a);
  EXPECT_EQ(file.find("z")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.find("b\"\n")->data, b);
  EXPECT_EQ(file.find("b\"\n")->dtype, DType::bf16);
  EXPECT_EQ(file.find("scalar")->data, s);
  EXPECT_TRUE(file.find("empty")->data.empty());
  EXPECT_EQ(file.find("nothing"), nullptr);
}

TEST(Safetensors, WrongSizeOfDataIsRefusedAndLeavesNoFile) {
  Scratch scratch;
  const auto write = [&] {
    write_safetensors(scratch / "m", {{"a", DType::f32, {2}, [] { return std::string_view("1234567"); }}}, {});
  };
  EXPECT_CONTAINS(error_of(write), "needs 8 bytes");
  EXPECT_EQ(scratch.files(), 0u);
}

TEST(Safetensors, MalformedFilesAreErrors) {
  const std::string eight(8, 'x');
  EXPECT_EQ(refused(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )", eight)), "");
  EXPECT_EQ(refused(file_of("{}", "")), "");
  EXPECT_CONTAINS(refused(""), "not a safetensors file");
  EXPECT_CONTAINS(refused("1234567"), "not a safetensors file");
  EXPECT_CONTAINS(refused(std::string(8, '\xff')), "header of 18446744073709551615");
  EXPECT_CONTAINS(refused(std::string("\x40\0\0\0\0\0\0\0{}", 10)), "truncated");
  EXPECT_CONTAINS(refused(file_of(" {}", "")), "does not begin");
  EXPECT_CONTAINS(refused(file_of("{\"\xff\":1}", "")), "UTF-8");
  EXPECT_CONTAINS(refused(file_of("{} x", "")), "header");
  EXPECT_CONTAINS(refused(file_of("{", "")), "header");
  struct Case {
    const char* header;
    const char* message;
  };
  const Case cases[] = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "needs 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", "outside"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "outside"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "outside"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "two numbers"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}})", "integer"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "negative"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "a"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", "a"},
      {R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", "integer"},
      {R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", "unknown dtype \"F33\""},
      {R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "dtype"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "shape"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "unknown or repeated"},
      {R"({"a":[]})", "dtype"},
      {R"({"__metadata__":{"a":1}})", "not a string"},
      {R"({"__metadata__":[]})", "not an object"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "twice"},
      {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "twice"},
      {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", "overlap"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", "hole"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", "hole"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "4 bytes after the last tensor"},
  };
  for (const Case& c : cases) {
    const std::string message = refused(file_of(c.header, eight));
    EXPECT_TRUE(message.starts_with("f: ")) << c.header << " -> " << message;
    EXPECT_CONTAINS(message, c.message) << c.header;
  }
}

TEST(Safetensors, OffsetsMayStandInAnyOrderInTheHeader) {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  const std::string bytes = file_of(
      R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"a":{"data_offsets":[0,4],"shape":[2,2],"dtype":"I8"}})", "12345678");
  parse_safetensors(bytes, "f", tensors, metadata);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].data, "1234");
  EXPECT_EQ(tensors[1].data, "5678");
}

// Every byte of the header is checked: a file with one byte of it changed is refused, or says something else.
TEST(Safetensors, TruncatedAnywhereIsAnError) {
  const std::string bytes = file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "1234");
  EXPECT_EQ(refused(bytes), "");
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_NE(refused(bytes.substr(0, size)), "") << size;
  EXPECT_NE(refused(bytes + "5"), "");
}

TEST(Safetensors, FolderFindsTensorsInShards) {
  Scratch scratch;
  const auto write = [&](const std::string& file, const std::string& name) {
    write_safetensors(scratch / file, {{name, DType::u8, {1}, [&] { return std::string_view(name); }}}, {{"k", name}});
  };
  EXPECT_CONTAINS(error_of([&] { SafetensorsFolder folder(scratch / ""); }), "no model.safetensors");
  write("one", "b");
  write("two", "a");
  const std::string index = scratch / "model.safetensors.index.json";
  put(index, R"({"weight_map":{"b":"one","a":"two"}})");
  const SafetensorsFolder folder(scratch.folder.string());
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(folder.find("a")->data, "a");
  EXPECT_EQ(folder.find("c"), nullptr);
  EXPECT_EQ(folder.metadata().at("k"), "b");
  const auto open = [&] { SafetensorsFolder broken(scratch.folder.string()); };
  put(index, R"({"weight_map":{"b":"one","a":"one"}})");
  EXPECT_CONTAINS(error_of(open), "\"a\" is missing");
  put(index, R"({"weight_map":{"b":"../one"}})");
  EXPECT_CONTAINS(error_of(open), "not the name of a file");
  put(index, R"({"weight_map":{"b":".."}})");
  EXPECT_CONTAINS(error_of(open), "not the name of a file");
  put(index, R"({"weight_map":{}})");
  EXPECT_CONTAINS(error_of(open), "no weight_map");
  put(index, R"({"weight_map":{"b":"gone"}})");
  EXPECT_CONTAINS(error_of(open), "gone");
  write("two", "b");
  put(index, R"({"weight_map":{"b":"one","b":"two"}})");
  EXPECT_CONTAINS(error_of(open), "two shards");
}

TEST(Safetensors, ModelsOfOtherLibrariesAreRead) {
  const std::string path = shared_folder() + "/fixtures/llama/model.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no shared fixtures beside the checkout";
  const SafetensorsFile file(path);
  EXPECT_NE(file.find("model.embed_tokens.weight"), nullptr);
}

}  // namespace ds
