// man/ and the programs do not drift apart: every option that a tool declares stands in its page, and no other.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "contract/process.h"
#include "contract/tools.h"

namespace ds::test {
namespace fs = std::filesystem;

// The names on the .It lines of a page: ".It Fl j , Fl -threads Ar N" has -j and --threads.
std::set<std::string> options_of_page(const std::string& page) {
  std::set<std::string> names;
  std::istringstream lines(page);
  std::string line, word;
  while (std::getline(lines, line)) {
    if (!line.starts_with(".It Fl ")) continue;
    std::istringstream words(line);
    bool name_follows = false;
    while (words >> word) {
      if (name_follows) names.insert("-" + word);
      name_follows = word == "Fl";
    }
  }
  return names;
}

TEST(Man, ReadsAPage) {
  EXPECT_EQ(options_of_page(".It Fl j , Fl -threads Ar N\ntext\n.It Fl -near Ar X\n"),
            (std::set<std::string>{"-j", "--threads", "--near"}));
}

class ManOfTool : public testing::TestWithParam<std::string> {};

TEST_P(ManOfTool, StatesTheOptionsOfTheTool) {
  const std::string tool = GetParam();
  if (!exists(tool)) FAIL() << tool << " is not built";
  const fs::path path = fs::path(DS_SOURCE_DIR) / "man" / (tool + ".1");
  ASSERT_TRUE(fs::exists(path)) << path;
  const std::string page = slurp(path);
  const std::set<std::string> in_page = options_of_page(page);
  std::set<std::string> in_tool;
  for (const DumpedOption& o : dump_options(tool)) {
    if (o.verb != "-") {
      EXPECT_NE(page.find(o.verb), std::string::npos) << path << " does not mention the verb " << o.verb;
    }
    in_tool.insert(o.names.begin(), o.names.end());
  }
  for (const std::string& name : in_tool) EXPECT_TRUE(in_page.count(name)) << path << " lacks " << name;
  for (const std::string& name : in_page)
    EXPECT_TRUE(in_tool.count(name)) << path << " has " << name << ", which " << tool << " has not";
  for (const char* section :
       {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"})
    EXPECT_NE(page.find(std::string(".Sh ") + section), std::string::npos) << path << " lacks " << section;
}
INSTANTIATE_TEST_SUITE_P(Tools, ManOfTool, testing::ValuesIn(tools),
                         [](const auto& info) { return info.param.substr(3); });

TEST(Man, PagesAreCleanMdoc) {
  if (run({.words = {"sh", "-c", "command -v mandoc"}}).exit != 0) GTEST_SKIP() << "mandoc is not installed";
  for (const auto& entry : fs::directory_iterator(fs::path(DS_SOURCE_DIR) / "man")) {
    const Result lint = run({.words = {"mandoc", "-T", "lint", "-W", "warning", entry.path()}});
    EXPECT_EQ(lint.out + lint.err, "") << entry.path();
    EXPECT_EQ(lint.exit, 0) << entry.path();
  }
}

}  // namespace ds::test
