// The six tools, where they are, and the options that they declare.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "contract/process.h"

namespace ds::test {

inline const std::vector<std::string> tools = {"ds-clean",    "ds-augment", "ds-train",
                                               "ds-quantize", "ds-run",     "ds-eval"};

inline std::string executable(const std::string& tool) { return std::string(DS_BUILD_DIR) + "/" + tool; }
inline bool exists(const std::string& tool) { return std::filesystem::exists(executable(tool)); }

struct DumpedOption {
  std::string verb;                // "-": the tool without a verb
  std::vector<std::string> names;  // "-o", "--output"
  std::string default_text, unit;
};

// The hidden --dump-options: verb, names, default, unit and help, separated by tabs.
inline std::vector<DumpedOption> dump_options(const std::string& tool) {
  const Result dump = run({.words = {executable(tool), "--dump-options"}});
  EXPECT_EQ(dump.exit, 0) << dump.err;
  std::vector<DumpedOption> options;
  std::istringstream lines(dump.out);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream cells(line);
    DumpedOption o;
    std::string names, name;
    std::getline(cells, o.verb, '\t');
    std::getline(cells, names, '\t');
    std::getline(cells, o.default_text, '\t');
    std::getline(cells, o.unit, '\t');
    std::istringstream each(names);
    while (std::getline(each, name, ',')) o.names.push_back(name);
    options.push_back(std::move(o));
  }
  EXPECT_FALSE(options.empty()) << tool << " declares no options";
  return options;
}

}  // namespace ds::test
