// Oniguruma's regular expressions (Ruby syntax, which tokenizer.json files are written in) as PCRE2 reads them.
#pragma once
#include <string>
#include <string_view>

namespace ds {

struct TranslatedPattern {
  std::string text;
  // The most repeats (*, +, {n,m}) that follow each other in one alternative; many where a repeated group holds one
  // or a choice.
  // A backtracking matcher may take about length^repeats steps.
  int repeats = 0;
};

// What is written differently: \s \w \h \b and [:names:] have Oniguruma's members, classes nest and intersect (&&),
// (?m) lets the dot match newlines, {n,m}+ repeats the repeat and {,n} begins at 0, \uHHHH. `where` begins messages.
TranslatedPattern translate_pattern(std::string_view pattern, std::string_view where);

}  // namespace ds
