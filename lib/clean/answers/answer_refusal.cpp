// Refusals: phrases that begin an answer which does not answer. The lists are ours.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "clean/answers/answer.h"
#include "text/unicode.h"

namespace ds {

struct Opening {
  std::string word;
  bool clause;  // it begins one: the first word, or the first after a punctuation mark, line end or joining word
};

// The contracted forms, as the words they leave between apostrophes, and without one.
static void expand_contractions(std::vector<Opening>& words) {
  static constexpr std::array<std::array<std::string_view, 3>, 14> pairs = {{{"can", "t", "cannot"},
                                                                             {"can", "not", "cannot"},
                                                                             {"don", "t", "do not"},
                                                                             {"won", "t", "will not"},
                                                                             {"couldn", "t", "could not"},
                                                                             {"wouldn", "t", "would not"},
                                                                             {"shouldn", "t", "should not"},
                                                                             {"isn", "t", "is not"},
                                                                             {"doesn", "t", "does not"},
                                                                             {"i", "m", "i am"},
                                                                             {"it", "s", "it is"},
                                                                             {"i", "d", "i would"},
                                                                             {"i", "ll", "i will"},
                                                                             {"i", "ve", "i have"}}};
  static constexpr std::array<std::array<std::string_view, 2>, 5> lone = {
      {{"cant", "cannot"}, {"dont", "do not"}, {"wont", "will not"}, {"im", "i am"}, {"apologise", "apologize"}}};
  std::vector<Opening> expanded;
  const auto push = [&](std::string_view text, bool clause) {
    const size_t space = text.find(' ');
    expanded.push_back({std::string(text.substr(0, space)), clause});
    if (space != std::string_view::npos) expanded.push_back({std::string(text.substr(space + 1)), false});
  };
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view as = words[i].word;
    bool two = false;
    for (const auto& [first, second, whole] : pairs)
      if (!two && i + 1 < words.size() && words[i].word == first && words[i + 1].word == second) as = whole, two = true;
    for (const auto& [word, whole] : lone)
      if (!two && words[i].word == word) as = whole;
    push(as, words[i].clause);
    i += two;
  }
  words = std::move(expanded);
}

static std::vector<Opening> opening_words(std::string_view text, size_t most) {
  static constexpr std::array<std::string_view, 9> joining = {"but",       "however", "and",  "so",    "unfortunately",
                                                              "therefore", "well",    "that", "afraid"};
  std::vector<Opening> words;
  std::string word;
  bool clause = true;
  const auto finish = [&] {
    if (word.empty()) return;
    words.push_back({word, clause});
    clause = std::find(joining.begin(), joining.end(), word) != joining.end();
    word.clear();
  };
  for (size_t at = 0; at < text.size() && words.size() < most;) {
    const size_t begin = at;
    const char32_t c = decode_utf8(text, at);
    const bool capital = c >= 'A' && c <= 'Z';
    if (capital || (c >= 'a' && c <= 'z')) {  // most are such; Unicode's tables take ten times as long
      word += static_cast<char>(capital ? c - 'A' + 'a' : c);
      continue;
    }
    if (is_word(c)) {
      append_lower(word, c, text, begin, at);
      continue;
    }
    finish();
    const bool apostrophe = c == '\'' || c == 0x2019 || c == 0x2018;
    if (!apostrophe && c != ' ') clause = true;
  }
  if (words.size() < most) finish();
  expand_contractions(words);
  return words;
}

// Phrases at the start of a clause. A | joins words of which any may stand.
static constexpr std::string_view phrases[] = {
    "as an ai",
    "as an artificial intelligence",
    "as a language model",
    "as a large language model",
    "i am sorry but i cannot|could|will",
    "i am sorry but i am unable|not",
    "i am sorry but i do not have",
    "i am sorry i cannot|will",
    "i am sorry i am unable|not",
    "i am afraid i cannot|will",
    "i am afraid i am unable|not",
    "i am afraid that i cannot",
    "sorry but i cannot|will",
    "sorry but i am unable|not",
    "sorry i cannot",
    "sorry i am unable",
    "i apologize but i cannot|will|do|am",
    "my apologies but i cannot|will|do|am",
    "unfortunately i cannot",
    "unfortunately i am unable|not",
    "i cannot|could assist|fulfill|fulfil|comply|condone|participate",
    "i cannot provide|offer|give you|information|advice|any|specific|instructions|guidance|medical|legal|a|an",
    "i cannot help you|with",
    "i cannot answer|complete|support|discuss|generate|create|produce|write that|this|your|such|content|any|questions",
    "i cannot engage|encourage|promote in|that|this|such|any|illegal|violence|hate|harmful",
    "i am unable|not to|able to|assist|fulfill|fulfil|comply|provide|help|answer|generate|create|complete|discuss",
    "i am not programmed|designed|trained to",
    "i am not comfortable",
    "i do not feel comfortable",
    "i will not provide|assist|help|participate|generate|create|write|engage|comply",
    "i must|have respectfully|to decline",
    "i must decline|refuse",
    "i refuse to answer|help|assist|write|provide",
    "i respectfully decline",
    "i do not have personal opinions|beliefs|feelings|experiences|preferences|experience",
    "i do not have real time",
    "i do not have the ability|capability|capacity to",
    "i do not have access to real|current|external|the up",
    "it is|would not|be appropriate for me",
    "it would not be appropriate for me",
    "it goes|is against my programming|guidelines|policy|principles",
    "this goes|is against my programming|guidelines|policy|principles",
    "your request violates|goes",
};

static bool fits(const std::vector<Opening>& words, size_t at, std::string_view phrase) {
  for (; !phrase.empty(); ++at) {
    const size_t end = std::min(phrase.find(' '), phrase.size());
    std::string_view slot = phrase.substr(0, end);
    phrase.remove_prefix(std::min(end + 1, phrase.size()));
    if (at == words.size()) return false;
    bool found = false;
    while (!found && !slot.empty()) {
      const size_t bar = std::min(slot.find('|'), slot.size());
      found = slot.substr(0, bar) == words[at].word;
      slot.remove_prefix(std::min(bar + 1, slot.size()));
    }
    if (!found) return false;
  }
  return true;
}

static bool refuses_in_english(std::string_view answer) {
  const std::vector<Opening> words = opening_words(answer, 40);
  for (size_t at = 0; at < words.size(); ++at) {
    if (!words[at].clause) continue;
    const std::string_view first = words[at].word;
    for (const std::string_view phrase : phrases)
      if (phrase.starts_with(first) && fits(words, at, phrase)) return true;
  }
  return false;
}

// Simplified forms; the traditional ones of the characters that differ are mapped to them.
static bool refuses_in_chinese(std::string_view answer) {
  static constexpr std::u32string_view
      traditional = U"\u7232\u70BA\u7121\u5C0D\u9867\u8A9E\u8A00\u8B70\u56DE\u52D9\u8ACB\u6EFF\u9019\u500B\u8A71\u8FA6",
      simplified = U"\u4E3A\u4E3A\u65E0\u5BF9\u987E\u8BED\u8A00\u8BAE\u56DE\u52A1\u8BF7\u6EE1\u8FD9\u4E2A\u8BDD\u529E";
  if (std::none_of(answer.begin(), answer.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
    return false;  // all ASCII
  std::u32string text;
  for (size_t at = 0; at < answer.size() && text.size() < 60;) {
    const char32_t c = to_lower(decode_utf8(answer, at));
    if (!is_word(c)) continue;
    const size_t known = traditional.find(c);
    text += known == std::u32string_view::npos ? c : simplified[known];
  }
  const auto find_any = [&](std::initializer_list<std::u32string_view> names, size_t from) {
    size_t first = std::u32string::npos;
    for (const auto name : names) first = std::min(first, text.find(name, from));
    return first;
  };
  // As an AI, as an artificial intelligence, as a language model.
  const size_t as = find_any({U"\u4F5C\u4E3A", U"\u8EAB\u4E3A", U"\u6211\u662F"}, 0);
  if (as < 12) {
    const size_t machine = find_any({U"ai", U"\u4EBA\u5DE5\u667A\u80FD", U"\u8BED\u8A00\u6A21\u578B"}, as);
    const bool named = text[as] == U'\u6211';  // "I am an AI" alone may be the answer
    if (machine <= as + 8 && (!named || find_any({U"\u65E0\u6CD5", U"\u4E0D\u80FD"}, machine) < machine + 16))
      return true;
  }
  // I cannot, after an apology.
  const std::initializer_list<std::u32string_view> unable = {
      U"\u6211\u65E0\u6CD5",       U"\u6211\u4E0D\u80FD",
      U"\u6211\u6CA1\u529E\u6CD5", U"\u6211\u6CA1\u6709\u529E\u6CD5",
      U"\u6211\u4E0D\u4F1A",       U"\u6211\u6682\u65F6\u65E0\u6CD5",
      U"\u6211\u4E0D\u4FBF",       U"\u6211\u65E0\u529B"};
  const size_t sorry = find_any({U"\u62B1\u6B49", U"\u5BF9\u4E0D\u8D77", U"\u4E0D\u597D\u610F\u601D"}, 0);
  if (sorry < 10 && find_any(unable, sorry) < sorry + 24) return true;
  // I cannot answer, provide, assist, fulfil.
  const size_t cannot = find_any(unable, 0);
  return cannot < 12 &&
         find_any({U"\u56DE\u7B54", U"\u63D0\u4F9B", U"\u534F\u52A9", U"\u6EE1\u8DB3", U"\u5E2E\u52A9\u4F60",
                   U"\u5E2E\u52A9\u60A8", U"\u8BA8\u8BBA", U"\u751F\u6210", U"\u64B0\u5199"},
                  cannot) < cannot + 10;
}

bool refuses(std::string_view answer) { return refuses_in_english(answer) || refuses_in_chinese(answer); }

}  // namespace ds
