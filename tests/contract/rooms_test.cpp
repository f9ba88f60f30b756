// The room graph of the root CMakeLists.txt holds, and mains are thin.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "contract/process.h"

namespace ds::test {
namespace fs = std::filesystem;

using Graph = std::map<std::string, std::set<std::string>>;

Graph read_graph(const std::string& cmake) {
  Graph graph;
  const std::regex line(R"(ds_room\(([^)]*)\))");
  for (std::sregex_iterator it(cmake.begin(), cmake.end(), line), end; it != end; ++it) {
    std::istringstream words((*it)[1].str());
    std::string room, dep;
    words >> room;
    auto& deps = graph[room];
    while (words >> dep) deps.insert(dep);
  }
  return graph;
}

// One line for each include of `source` (lib/<room>/... or tools/...) that the graph does not allow.
std::vector<std::string> violations(const Graph& graph, const std::string& room, const std::set<std::string>& may,
                                    const std::string& name, const std::string& source) {
  std::vector<std::string> found;
  static const std::regex include(R"re(^\s*#\s*include\s*"([^"/]+)/)re");
  std::istringstream lines(source);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string other = match[1];
    if (graph.count(other) && other != room && !may.count(other))
      found.push_back(name + ":" + std::to_string(number) + ": " + room + " may not include " + other);
  }
  return found;
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> endings = {".h", ".cpp", ".cu", ".cuh", ".inc"};
  return endings.count(path.extension().string()) > 0;
}

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> found;
  if (fs::exists(folder))
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && is_source(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

const fs::path root = DS_SOURCE_DIR;

TEST(Rooms, AViolationIsFoundAndNamed) {
  const Graph graph = read_graph("ds_room(base)\nds_room(io base)\nds_room(tensor base)\nds_room(clean    base io)\n");
  EXPECT_EQ(violations(graph, "clean", graph.at("clean"), "clean/x.cpp", "#include \"tensor/ops.h\"\n"),
            std::vector<std::string>{"clean/x.cpp:1: clean may not include tensor"});
  EXPECT_TRUE(
      violations(graph, "clean", graph.at("clean"), "clean/x.cpp", "#include \"io/json.h\"\n#include \"clean/a.h\"\n")
          .empty());
}

TEST(Rooms, IncludesFollowTheGraph) {
  const Graph graph = read_graph(slurp(root / "CMakeLists.txt"));
  ASSERT_GE(graph.size(), 13u);
  size_t seen = 0;
  for (const auto& [room, may] : graph)
    for (const fs::path& path : sources(root / "lib" / room)) {
      ++seen;
      for (const auto& v : violations(graph, room, may, fs::relative(path, root / "lib"), slurp(path)))
        ADD_FAILURE() << v;
    }
  EXPECT_GT(seen, 50u);
}

TEST(Rooms, EveryFolderOfLibIsInTheGraph) {
  const Graph graph = read_graph(slurp(root / "CMakeLists.txt"));
  for (const auto& entry : fs::directory_iterator(root / "lib"))
    EXPECT_TRUE(graph.count(entry.path().filename())) << entry.path() << " is no room of CMakeLists.txt";
}

// tools/ds-X knows the command line and its own room.
TEST(Tools, MainsAreThinAndKnowOneRoom) {
  const Graph graph = read_graph(slurp(root / "CMakeLists.txt"));
  size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(root / "tools")) {
    const std::string tool = entry.path().filename();
    const fs::path main = entry.path() / "main.cpp";
    ASSERT_TRUE(tool.starts_with("ds-") && fs::exists(main)) << entry.path();
    // Options are declared here, in several files where they are many; what is done with them belongs in lib/X.
    const std::set<std::string> may = {"cli", "base", "io", tool, tool.substr(3)};
    for (const fs::path& source : sources(entry.path())) {
      const std::string text = slurp(source);
      EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 120) << source;
      for (const auto& v : violations(graph, tool, may, "tools/" + tool + "/" + source.filename().string(), text))
        ADD_FAILURE() << v;
    }
    ++seen;
  }
  EXPECT_GT(seen, 0u);
}

}  // namespace ds::test
