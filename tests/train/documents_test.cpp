#include "train/documents.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/parallel.h"
#include "train/testing.h"

namespace ds {

TEST(TokenStore, KeepsIdsOfBothWidths) {
  for (const int64_t vocabulary : {65536, 65537}) {
    TokenStore store(vocabulary);
    const std::vector<int32_t> ids = {0, 1, 32768, 65535};
    store.append(ids);
    ASSERT_EQ(store.size(), 4u);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(store[i], ids[i]);
  }
}

TEST(LoadDocuments, TokensWeightsAndErrorsWithTheirLine) {
  const testing_train::Folder folder;
  const auto load = [&](const std::string& lines, const std::string& weight_field = "") {
    folder.write("d.jsonl", lines);
    return load_documents({{folder.path("d.jsonl")}, "text", weight_field}, nullptr, 100);
  };
  const Documents documents = load("{\"tokens\": [1, 2, 3], \"a\": {\"w\": 0.5}}\n{\"tokens\": [99], \"a\": {\"w\": 2}}\n", "a.w");
  ASSERT_EQ(documents.count(), 2u);
  EXPECT_EQ(documents.offsets, (std::vector<size_t>{0, 3, 4}));
  EXPECT_EQ(documents.ids[3], 99);
  EXPECT_EQ(documents.weights, (std::vector<float>{0.5f, 2}));
  EXPECT_EQ(documents.where(1), folder.path("d.jsonl") + ":2");

  const auto message = [&](const std::string& lines, const std::string& field = "") -> std::string {
    try {
      load(lines, field);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message("{\"tokens\": [1]}\n{\"tokens\": [100]}\n").find("d.jsonl:2: token id 100"), std::string::npos);
  EXPECT_NE(message("{\"tokens\": [-1]}\n").find("d.jsonl:1: token id -1"), std::string::npos);
  EXPECT_NE(message("{\"tokens\": [1.5]}\n").find("d.jsonl:1"), std::string::npos);
  EXPECT_NE(message("{\"text\": \"a\"}\n").find("d.jsonl:1: a text needs a tokenizer"), std::string::npos);
  EXPECT_NE(message("{\"tokens\": [1]}\n", "a.w").find("d.jsonl:1: no field \"a\""), std::string::npos);
  EXPECT_NE(message("{\"tokens\": [1], \"a\": {\"w\": -1}}\n", "a.w").find("d.jsonl:1"), std::string::npos);
  EXPECT_NE(message("{\"tokens\": [1]}\n{\"tokens\"\n").find("d.jsonl:2"), std::string::npos);
}

TEST(LoadDocuments, OrderDoesNotDependOnThreads) {
  const testing_train::Folder folder;
  std::string lines;
  for (int i = 0; i < 60000; ++i) lines += cat("{\"tokens\": [", i % 97, ", ", i % 89, "]}\n");
  folder.write("d.jsonl", lines);
  const size_t before = threads();
  std::vector<std::vector<int32_t>> all;
  for (const size_t count : {1, 3}) {
    set_threads(count);
    const Documents documents = load_documents({{folder.path("d.jsonl")}, "text", ""}, nullptr, 100);
    std::vector<int32_t> ids(documents.ids.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = documents.ids[i];
    all.push_back(ids);
  }
  set_threads(before);
  ASSERT_EQ(all[0].size(), 120000u);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0][2 * 1234], 1234 % 97);
}

}  // namespace ds
