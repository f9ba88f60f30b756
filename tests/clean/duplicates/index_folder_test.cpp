#include "clean/duplicates/index_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

class IndexFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("index_folder_test_" + std::to_string(getpid()))).string();
    options_.exact = true;
    options_.near = NearOptions{0.8, {ShingleKind::Unit::character, 3}, 0};
  }
  void TearDown() override { fs::remove_all(folder_); }

  static bool add(DedupIndex& index, const std::string& text, const std::string& id) {
    return index.find_and_add(index.keys(text, {}), text, id).has_value();
  }
  static std::string of(DedupIndex& index, const std::string& text) {
    const auto found = index.find(index.keys(text, {}));
    return found ? found->of : "";
  }

  std::string folder_;
  DedupOptions options_;
  const std::string one_ = "the first text of them all", two_ = "another one which differs", three_ = "number three";
};

TEST_F(IndexFolderTest, KeepsWhatWasCommittedAndNothingElse) {
  {
    IndexFolder folder(folder_, options_, true);
    EXPECT_FALSE(add(folder.index(), one_, "1"));
    folder.commit("a.jsonl");
    EXPECT_FALSE(add(folder.index(), two_, "2"));
  }
  {
    IndexFolder folder(folder_, options_, true);
    EXPECT_TRUE(folder.finished("a.jsonl"));
    EXPECT_FALSE(folder.finished("b.jsonl"));
    EXPECT_EQ(of(folder.index(), one_), "1");
    EXPECT_EQ(of(folder.index(), one_ + "!"), "1");  // by --near
    EXPECT_EQ(of(folder.index(), two_), "");
    EXPECT_FALSE(add(folder.index(), three_, "3"));
    folder.commit();
  }
  IndexFolder folder(folder_, options_, false);
  EXPECT_EQ(of(folder.index(), one_), "1");
  EXPECT_EQ(of(folder.index(), three_), "3");
}

TEST_F(IndexFolderTest, TheSameRunAgainReplacesItself) {
  for (int time = 0; time < 3; ++time) {
    IndexFolder folder(folder_, options_, true, "monday");
    EXPECT_EQ(of(folder.index(), one_), "") << time;
    add(folder.index(), one_, "1");
    folder.commit();
  }
  for (int time = 0; time < 2; ++time) {
    IndexFolder folder(folder_, options_, true, "tuesday");
    EXPECT_EQ(of(folder.index(), one_), "1") << time;
    EXPECT_EQ(of(folder.index(), two_), "") << time;
    add(folder.index(), two_, "2");
    folder.commit();
  }
  IndexFolder folder(folder_, options_, true, "monday");
  EXPECT_EQ(of(folder.index(), two_), "2");  // no longer the last run: Monday's records are old ones
  EXPECT_EQ(of(folder.index(), one_), "1");
}

TEST_F(IndexFolderTest, OtherOptionsAndASecondWriterAreRefused) {
  {
    IndexFolder folder(folder_, options_, true);
    folder.commit();
    EXPECT_THROW(IndexFolder(folder_, options_, true), Error);
    EXPECT_THROW(IndexFolder(folder_, options_, false), Error);
  }
  DedupOptions other = options_;
  other.near->threshold = 0.9;
  EXPECT_THROW(IndexFolder(folder_, other, true), Error);
  other = options_;
  other.exact = false;
  EXPECT_THROW(IndexFolder(folder_, other, true), Error);
  const IndexFolder a(folder_, options_, false), b(folder_, options_, false);  // readers do not disturb each other
  EXPECT_THROW(IndexFolder(folder_ + "/none", options_, false), Error);
}

TEST_F(IndexFolderTest, DamageIsAnError) {
  {
    IndexFolder folder(folder_, options_, true);
    for (int i = 0; i < 50; ++i) add(folder.index(), "text number " + std::to_string(i * i * 7919), std::to_string(i));
    folder.commit();
  }
  const auto opens = [&] { IndexFolder folder(folder_, options_, true); };
  EXPECT_NO_THROW(opens());
  const std::string whole = [&] {
    std::ifstream in(folder_ + "/near.log", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  fs::resize_file(folder_ + "/near.log", whole.size() - 1);
  EXPECT_THROW(opens(), Error);
  std::ofstream(folder_ + "/near.log", std::ios::binary) << std::string(whole.size(), '\xFF');
  EXPECT_THROW(opens(), Error);
  std::ofstream(folder_ + "/near.log", std::ios::binary) << whole;
  EXPECT_NO_THROW(opens());
  fs::resize_file(folder_ + "/near.texts", 40);
  EXPECT_THROW(opens(), Error);
  for (const char* state : {"", "{}", "[1]", "{\"options\": 5}"}) {
    std::ofstream(folder_ + "/state.json") << state;
    EXPECT_THROW(opens(), Error) << state;
  }
}

}  // namespace
}  // namespace ds
