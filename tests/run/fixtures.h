// Reference checkpoints and results beside the repository, for tests of this room.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"

namespace ds {

// Reference checkpoints with what transformers computes for them; not part of the repository.
inline std::string shared(const std::string& name) {
  const char* const folder = std::getenv("DS_SHARED");
  return (folder ? std::string(folder) : DS_SOURCE_DIR "/../shared") + "/" + name;
}
inline std::string fixture(const std::string& name) { return shared("fixtures/" + name); }
#define NEEDS_SHARED(name) \
  if (!std::filesystem::exists(ds::shared(name))) GTEST_SKIP() << "no " << ds::shared(name) << " (set DS_SHARED)"
#define NEEDS_FIXTURE(name) NEEDS_SHARED("fixtures/" + std::string(name))

inline std::vector<int32_t> ids(const Json& array) {
  std::vector<int32_t> out;
  for (const Json& item : array.items) out.push_back(static_cast<int32_t>(item.as_int("expected.json")));
  return out;
}

struct Case {
  std::vector<int32_t> ids, greedy;
  std::vector<double> logprobs;
  std::vector<bool> is_greedy;
};
inline std::vector<Case> expected(const std::string& folder) {
  std::vector<Case> cases;
  const Json json = parse_json_file(folder + "/expected.json");
  for (const Json& item : json.find("cases")->items) {
    Case c{ids(*item.find("ids")), {}, {}, {}};
    // Not every fixture has every key.
    if (const Json* const greedy = item.find("greedy_16")) c.greedy = ids(*greedy);
    if (const Json* const logprobs = item.find("token_logprobs"))
      for (const Json& value : logprobs->items) c.logprobs.push_back(value.as_double("logprob"));
    if (const Json* const greedy = item.find("is_greedy"))
      for (const Json& value : greedy->items) c.is_greedy.push_back(value.as_bool("is_greedy"));
    cases.push_back(std::move(c));
  }
  return cases;
}


}  // namespace ds
