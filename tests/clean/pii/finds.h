// What find_pii says of a text, as tests compare it.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "clean/pii/pii.h"
#include "text/unicode.h"

namespace ds {

using Finds = std::vector<std::string>;

// "kind text" of each match, after checking that they are disjoint, ascending and whole characters.
inline Finds finds(std::string_view text, uint32_t kinds = all_pii_kinds) {
  std::vector<PiiMatch> matches = {{PiiKind::ip, 7, 9}};  // what was there before must go
  find_pii(text, kinds, matches);
  Finds found;
  size_t end = 0;
  for (const PiiMatch& match : matches) {
    EXPECT_TRUE(match.begin >= end && match.begin < match.end && match.end <= text.size()) << text;
    if (is_valid_utf8(text)) {
      EXPECT_TRUE(is_valid_utf8(text.substr(match.begin, match.end - match.begin))) << text;
    }
    found.push_back(std::string(pii_name(match.kind)) + " " +
                    std::string(text.substr(match.begin, match.end - match.begin)));
    end = match.end;
  }
  return found;
}

struct Positive {
  const char* text;
  const char* match;
};

inline void expect_found(PiiKind kind, const std::vector<Positive>& table) {
  for (const auto& [text, match] : table)
    EXPECT_EQ(finds(text, pii_bit(kind)), Finds{std::string(pii_name(kind)) + " " + match}) << text;
}

inline void expect_none(PiiKind kind, const std::vector<const char*>& table) {
  for (const char* text : table) EXPECT_EQ(finds(text, pii_bit(kind)), Finds{}) << text;
}

// Of which keys are assembled, so that no scanner of repositories takes them for real ones.
inline const std::string base62 = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";

}  // namespace ds
