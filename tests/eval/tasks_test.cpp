#include "eval/tasks.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace ds {

static std::vector<int32_t> iota(int32_t n) {
  std::vector<int32_t> t;
  for (int32_t i = 0; i < n; ++i) t.push_back(i);
  return t;
}

// The example that lm-evaluation-harness gives: ten tokens, windows of four.
TEST(RollingWindows, AreTheHarnesss) {
  const auto windows = rolling_windows(iota(10), -100, 4);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].tokens, (std::vector<int32_t>{-100, 0, 1, 2, 3}));
  EXPECT_EQ(windows[0].first, 1);
  EXPECT_EQ(windows[1].tokens, (std::vector<int32_t>{3, 4, 5, 6, 7}));
  EXPECT_EQ(windows[1].first, 1);
  EXPECT_EQ(windows[2].tokens, (std::vector<int32_t>{5, 6, 7, 8, 9}));  // input 5..8, predicts 8 and 9
  EXPECT_EQ(windows[2].first, 3);
}

TEST(RollingWindows, ScoreEveryTokenOnce) {
  for (int32_t n = 0; n < 40; ++n)
    for (int64_t max_length = 1; max_length < 9; ++max_length) {
      int32_t next = 0;
      for (const auto& w : rolling_windows(iota(n), -1, max_length)) {
        EXPECT_LE(static_cast<int64_t>(w.tokens.size()), max_length + 1);
        EXPECT_GE(w.first, 1);
        for (size_t i = static_cast<size_t>(w.first); i < w.tokens.size(); ++i) EXPECT_EQ(w.tokens[i], next++);
      }
      EXPECT_EQ(next, n);
    }
}

static std::vector<Document> documents(int count, int words) {
  std::vector<Document> out;
  for (int d = 0; d < count; ++d) {
    Document document{cat("d", d), ""};
    for (int w = 0; w < words; ++w) document.text += cat("w", d, "x", w, w % 7 == 6 ? "\n" : " ");
    out.push_back(document);
  }
  return out;
}

TEST(Cloze, GoldContinuesTheContextAndOthersComeFromOtherDocuments) {
  const auto docs = documents(12, 90);
  const auto items = make_cloze(docs, 10, 5);
  ASSERT_EQ(items.size(), 10u);
  std::set<size_t> golds;
  for (const ClozeItem& item : items) {
    ASSERT_EQ(item.choices.size(), 4u);
    golds.insert(item.gold);
    const auto own = std::find_if(docs.begin(), docs.end(), [&](const Document& d) { return d.id == item.id; });
    ASSERT_NE(own, docs.end());
    const size_t at = own->text.find(item.context);
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(own->text.substr(at + item.context.size() + 1, item.choices[item.gold].size() - 1), item.choices[item.gold].substr(1));
    for (size_t c = 0; c < 4; ++c)
      if (c != item.gold) {
        EXPECT_EQ(own->text.find(item.choices[c].substr(1)), std::string::npos);
      }
  }
  EXPECT_GT(golds.size(), 1u);
}

TEST(Cloze, IsDrawnByTheSeedAlone) {
  const auto docs = documents(8, 70);
  const auto a = make_cloze(docs, 8, 1), b = make_cloze(docs, 8, 1), c = make_cloze(docs, 8, 2);
  ASSERT_EQ(a.size(), b.size());
  bool differs = false;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].context, b[i].context);
    EXPECT_EQ(a[i].choices, b[i].choices);
    differs |= a[i].context != c[i].context;
  }
  EXPECT_TRUE(differs);
}

TEST(Cloze, NeedsFourLongTexts) { EXPECT_TRUE(make_cloze(documents(3, 70), 8, 1).empty()); }

}  // namespace ds
