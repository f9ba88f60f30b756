#include "train/data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "train/testing.h"

namespace ds {

static Documents random_documents(size_t count, size_t longest, uint64_t seed) {
  Documents documents(1000);
  const Rng rng{seed, 0};
  uint64_t at = 0;
  for (size_t d = 0; d < count; ++d) {
    std::vector<int32_t> ids(rng.below(at++, longest + 1));
    for (auto& id : ids) id = static_cast<int32_t>(rng.below(at++, 1000));
    documents.ids.append(ids);
    documents.offsets.push_back(documents.ids.size());
  }
  return documents;
}

TEST(Packing, EveryTargetOnceAndNoRowTooLong) {
  for (const int64_t length : {1, 7, 64}) {
    const Documents documents = random_documents(300, 200, 5);
    const PackedRows packed = pack_rows(documents, length);
    std::map<size_t, int> predicted;  // index of a target -> how often
    uint64_t targets = 0;
    for (size_t r = 0; r < packed.count(); ++r) {
      int64_t used = 0;
      for (const Piece& piece : packed.row(r)) {
        used += piece.length;
        EXPECT_GE(piece.begin, documents.offsets[piece.document]);
        EXPECT_LT(piece.begin + static_cast<size_t>(piece.length), documents.offsets[piece.document + 1]);
        for (int32_t i = 0; i < piece.length; ++i) ++predicted[piece.begin + static_cast<size_t>(i) + 1];
      }
      EXPECT_LE(used, length);
      EXPECT_GT(used, 0);
      targets += static_cast<uint64_t>(used);
    }
    EXPECT_EQ(targets, packed.targets);
    for (size_t d = 0; d < documents.count(); ++d) {
      for (size_t i = documents.offsets[d] + 1; i < documents.offsets[d + 1]; ++i) EXPECT_EQ(predicted[i], 1) << i;
    }
    EXPECT_EQ(predicted.size(), packed.targets);
    // Best-fit decreasing leaves little: at most 11/9 of the optimum, and here there are short pieces to fill with.
    EXPECT_LT(static_cast<double>(packed.count() * static_cast<size_t>(length)), 1.05 * static_cast<double>(packed.targets) + 2.0 * static_cast<double>(length));
  }
}

TEST(Packing, FullDocumentsAreTheRowsInOrder) {
  Documents documents(100);
  for (int32_t d = 0; d < 20; ++d) {
    documents.ids.append(std::vector<int32_t>(9, d));
    documents.offsets.push_back(documents.ids.size());
  }
  const PackedRows packed = pack_rows(documents, 8);
  ASSERT_EQ(packed.count(), 20u);
  for (size_t r = 0; r < 20; ++r) {
    ASSERT_EQ(packed.row(r).size(), 1u);
    EXPECT_EQ(packed.row(r)[0].document, r);
  }
}

TEST(Packing, NothingToPredictIsAnError) {
  Documents documents(10);
  documents.ids.append(std::vector<int32_t>{1});
  documents.offsets.push_back(1);
  EXPECT_THROW(pack_rows(documents, 4), Error);
}

TEST(RowOrder, EachEpochIsAPermutationOfItsOwn) {
  RowOrder order(50, 3, true), again(50, 3, true), other(50, 4, true), plain(50, 3, false);
  std::vector<std::vector<size_t>> epochs(3);
  for (uint64_t i = 0; i < 150; ++i) epochs[i / 50].push_back(order.at(i));
  for (const auto& epoch : epochs) EXPECT_EQ(std::set<size_t>(epoch.begin(), epoch.end()).size(), 50u);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  for (uint64_t i = 150; i-- > 0;) EXPECT_EQ(again.at(i), epochs[i / 50][i % 50]);  // a position alone decides
  size_t same = 0;
  for (uint64_t i = 0; i < 50; ++i) same += other.at(i) == epochs[0][i];
  EXPECT_LT(same, 10u);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(plain.at(i), i % 50);
}

TEST(Batch, TargetsFollowInputsAndPiecesAreSequences) {
  Documents documents = random_documents(40, 30, 9);
  documents.weights.resize(documents.count());
  for (size_t d = 0; d < documents.count(); ++d) documents.weights[d] = static_cast<float>(d);
  const PackedRows packed = pack_rows(documents, 16);
  const std::vector<size_t> rows = {2, 0, 5};
  const TrainingBatch batch = make_batch(documents, packed, rows);
  size_t t = 0, sequence = 0;
  for (const size_t r : rows) {
    for (const Piece& piece : packed.row(r)) {
      EXPECT_EQ(batch.lengths[sequence], piece.length);
      for (int32_t i = 0; i < piece.length; ++i, ++t) {
        EXPECT_EQ(batch.batch.tokens[t], documents.ids[piece.begin + static_cast<size_t>(i)]);
        EXPECT_EQ(batch.targets[t], documents.ids[piece.begin + static_cast<size_t>(i) + 1]);
        EXPECT_EQ(batch.batch.sequences[t], static_cast<int32_t>(sequence));
        EXPECT_EQ(batch.batch.positions[t], i);
        EXPECT_EQ(batch.weights[t], static_cast<float>(piece.document));
      }
      ++sequence;
    }
  }
  EXPECT_EQ(t, batch.targets.size());
}

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
  ASSERT_EQ(documents.inputs.size(), 1u);

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
