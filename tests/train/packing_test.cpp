#include "train/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"

namespace ds {

static Documents random_documents(size_t count, size_t longest, uint64_t seed) {
  Documents documents(1000);
  documents.files = {"d.jsonl"};
  const Rng rng{seed, 0};
  uint64_t at = 0;
  for (size_t d = 0; d < count; ++d) {
    std::vector<int32_t> ids(rng.below(at++, longest + 1));
    for (auto& id : ids) id = static_cast<int32_t>(rng.below(at++, 1000));
    documents.ids.append(ids);
    documents.offsets.push_back(documents.ids.size());
    documents.places.push_back({0, d + 1});
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

TEST(RowOrder, EachStreamIsAPermutationOfItsOwn) {
  const std::vector<double> equal(50, 0.3);
  std::set<std::vector<uint32_t>> orders;
  for (uint64_t stream = 0; stream < 3; ++stream) {
    const auto order = row_order(equal, Rng{3, stream}, true);
    EXPECT_EQ(order.size(), 50u);
    EXPECT_EQ(std::set<uint32_t>(order.begin(), order.end()).size(), 50u);
    EXPECT_EQ(order, row_order(equal, Rng{3, stream}, true));
    orders.insert(order);
  }
  orders.insert(row_order(equal, Rng{4, 0}, true));
  EXPECT_EQ(orders.size(), 4u);
  const auto plain = row_order(equal, Rng{3, 0}, false);
  for (uint32_t i = 0; i < 50; ++i) EXPECT_EQ(plain[i], i);
}

// Over many epochs each row comes as often as its weight says, within four standard errors; and never two more or fewer than that.
TEST(RowOrder, WeightsDecideHowOftenARowComes) {
  const std::vector<double> weights = {1, 0.25, 0, 4, 1.5, 0.05};
  const double mean = 6.8 / 6;
  std::vector<double> times(6);
  constexpr int kEpochs = 4000;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::vector<int> here(6);
    for (const uint32_t r : row_order(weights, Rng{1, epoch}, true)) ++here[r];
    for (size_t r = 0; r < 6; ++r) {
      times[r] += here[r];
      EXPECT_LT(std::abs(here[r] - weights[r] / mean), 1);
    }
  }
  for (size_t r = 0; r < 6; ++r) EXPECT_NEAR(times[r] / kEpochs, weights[r] / mean, 4 * 0.5 / std::sqrt(kEpochs)) << r;
  EXPECT_THROW(row_order(std::vector<double>{0, 0}, Rng{1, 1}, true), Error);
}

TEST(AnnealedWeight, IsAPower) {
  for (const double w : {0.1, 1.0, 7.0})
    for (const double power : {0.0, 0.3, 1.0, 2.0}) EXPECT_NEAR(annealed_weight(w, power), std::pow(w, power), 1e-12 * std::pow(w, power));
  EXPECT_EQ(annealed_weight(0, 0.5), 0);
}

TEST(Batch, TargetsFollowInputsAndPiecesAreSequences) {
  Documents documents = random_documents(40, 30, 9);
  documents.weights.resize(documents.count());
  for (size_t d = 0; d < documents.count(); ++d) documents.weights[d] = static_cast<float>(d);
  const PackedRows packed = pack_rows(documents, 16);
  const std::vector<size_t> rows = {2, 0, 5};
  const TrainingBatch batch = make_batches(documents, packed, rows, 3).at(0);
  size_t t = 0, sequence = 0;
  for (const size_t r : rows) {
    for (const Piece& piece : packed.row(r)) {
      EXPECT_EQ(batch.lengths[sequence], piece.length);
      EXPECT_EQ(batch.records[sequence], cat("d.jsonl:", piece.document + 1));
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

}  // namespace ds
