#include "eval/tasks.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace ds {

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
