#include "run/precision.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace ds {
namespace {
namespace fs = std::filesystem;

class PrecisionTest : public testing::Test {
 protected:
  PrecisionTest() {
    std::string name = (fs::temp_directory_path() / "ds-run-XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~PrecisionTest() override { fs::remove_all(folder); }
  void add(const std::string& name) {
    fs::create_directories(folder / name);
    std::ofstream(folder / name / "config.json") << "{}";
  }
  std::string chosen(const std::string& level) { return precision_folder(folder.string(), level); }
  std::string error(const std::string& level) {
    try {
      return "no error, but " + chosen(level);
    } catch (const Error& e) {
      return e.what();
    }
  }
  fs::path folder;
};

TEST_F(PrecisionTest, ChoosesALevel) {
  add("");
  add("high"), add("low");
  EXPECT_EQ(chosen("high"), (folder / "high").string());
  EXPECT_EQ(chosen("low"), (folder / "low").string());
  EXPECT_EQ(chosen(""), folder.string());
}

TEST_F(PrecisionTest, WithoutAConfigOfItsOwnTheFolderIsItsHighLevel) {
  add("high"), add("low");
  EXPECT_EQ(chosen(""), (folder / "high").string());
  fs::remove_all(folder / "high");
  EXPECT_NE(error("").find("choose with --precision (low)"), std::string::npos) << error("");
}

TEST_F(PrecisionTest, SaysWhichLevelsThereAre) {
  add("high"), add("low");
  fs::create_directories(folder / "medium");  // no model in it
  EXPECT_NE(error("medium").find("it has high, low"), std::string::npos) << error("medium");
  fs::remove_all(folder / "high"), fs::remove_all(folder / "low");
  EXPECT_NE(error("high").find("it has none"), std::string::npos) << error("high");
}

TEST_F(PrecisionTest, AFileHasNoLevels) {
  const std::string file = (folder / "model.gguf").string();
  std::ofstream(file) << "GGUF";
  EXPECT_EQ(precision_folder(file, ""), file);
  EXPECT_THROW(precision_folder(file, "high"), Error);
  EXPECT_EQ(precision_folder("/no/such/folder", ""), "/no/such/folder");  // loading it says what is wrong
}

}  // namespace
}  // namespace ds
