#include "clean/quality/text_signals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "clean/quality/quality_characters.h"

namespace ds {
namespace {

using namespace std::string_view_literals;
using Lines = std::vector<std::u32string>;

constexpr uint32_t filters =
    SignalGroup::gopher_repetition | SignalGroup::gopher_quality | SignalGroup::c4 | SignalGroup::fineweb;
constexpr uint32_t every_group = filters | SignalGroup::length | SignalGroup::ratios;

std::u32string decode(std::string_view text) {
  std::u32string characters;
  for (size_t at = 0; at < text.size();) characters += decode_utf8(text, at);
  return characters;
}
std::string encode(const std::u32string& characters) {
  std::string text;
  for (const char32_t c : characters) append_utf8(text, c);
  return text;
}
std::vector<std::string> words_of(std::string_view text) {
  std::vector<QualityWord> words;
  split_quality_words(text, words);
  std::vector<std::string> spellings;
  for (const auto& word : words) spellings.emplace_back(text.substr(word.begin, word.size));
  return spellings;
}
Signals measure(std::string_view text, uint32_t groups, std::string* kept = nullptr) {
  Signals signals;
  measure_text(text, groups, signals, kept);
  return signals;
}

// ---- Slow, obvious references, on strings of characters. ----

bool is_python_space(char32_t c) {
  return std::u32string_view(
             U"\t\n\v\f\r\x1C\x1D\x1E\x1F \u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
             U"\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000")
             .find(c) != std::u32string_view::npos;
}
std::u32string stripped(std::u32string text) {
  while (!text.empty() && is_python_space(text.back())) text.pop_back();
  while (!text.empty() && is_python_space(text.front())) text.erase(0, 1);
  return text;
}
Lines python_lines(const std::u32string& text) {
  Lines lines;
  std::u32string line;
  for (size_t i = 0; i < text.size(); ++i) {
    if (U"\n\r\v\f\x1C\x1D\x1E\u0085\u2028\u2029"sv.find(text[i]) == std::u32string_view::npos) {
      line += text[i];
      if (i + 1 < text.size()) continue;
    } else if (text[i] == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') {
      ++i;
    }
    lines.push_back(line);
    line.clear();
  }
  return lines;
}
// The pieces between runs of at least `least` line feeds.
Lines pieces(const std::u32string& text, size_t least) {
  Lines found(1);
  for (size_t i = 0; i < text.size();) {
    size_t run = 0;
    while (i + run < text.size() && text[i + run] == U'\n') ++run;
    if (run >= least && run > 0)
      found.emplace_back();
    else
      found.back() += text.substr(i, std::max<size_t>(run, 1));
    i += std::max<size_t>(run, 1);
  }
  return found;
}
struct Duplicates {
  size_t count = 0, characters = 0;
};
Duplicates duplicates(const Lines& elements) {
  std::set<std::u32string> seen;
  Duplicates found;
  for (const auto& element : elements)
    if (!seen.insert(element).second) ++found.count, found.characters += element.size();
  return found;
}
size_t top_gram(const std::vector<std::string>& words, size_t n) {
  std::vector<std::string> order;
  std::map<std::string, size_t> counts;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    std::string gram = words[i];
    for (size_t k = 1; k < n; ++k) gram += " " + words[i + k];
    if (counts[gram]++ == 0) order.push_back(gram);
  }
  std::string best;
  for (const auto& gram : order)
    if (best.empty() || counts[gram] > counts[best]) best = gram;
  return best.empty() ? 0 : decode(best).size() * counts[best];
}
size_t repeated_grams(const std::vector<std::string>& words, size_t n) {
  std::set<std::string> seen;
  size_t characters = 0;
  for (size_t i = 0; i + n <= words.size();) {
    std::string gram;
    for (size_t k = 0; k < n; ++k) gram += words[i + k];
    if (seen.insert(gram).second) {
      ++i;
    } else {
      characters += decode(gram).size();
      i += n;
    }
  }
  return characters;
}
double part(double a, size_t b) { return b == 0 ? 0 : a / static_cast<double>(b); }

void expect_repetition(const std::string& text) {
  SCOPED_TRACE(testing::PrintToString(text));
  const Signals got = measure(text, static_cast<uint32_t>(SignalGroup::gopher_repetition));
  const auto characters = decode(text);
  const auto words = words_of(text);
  const auto lines = pieces(characters, 1), paragraphs = pieces(stripped(characters), 2);
  const auto in_lines = duplicates(lines), in_paragraphs = duplicates(paragraphs);
  EXPECT_EQ(got[Signal::duplicate_lines], part(double(in_lines.count), lines.size()));
  EXPECT_EQ(got[Signal::duplicate_line_characters], part(double(in_lines.characters), characters.size()));
  EXPECT_EQ(got[Signal::duplicate_paragraphs], part(double(in_paragraphs.count), paragraphs.size()));
  EXPECT_EQ(got[Signal::duplicate_paragraph_characters], part(double(in_paragraphs.characters), characters.size()));
  const auto at = [](Signal first, size_t step) { return static_cast<Signal>(static_cast<size_t>(first) + step); };
  for (size_t n = 2; n <= 4; ++n)
    EXPECT_EQ(got[at(Signal::top_2_gram, n - 2)], part(double(top_gram(words, n)), characters.size())) << n;
  for (size_t n = 5; n <= 10; ++n)
    EXPECT_EQ(got[at(Signal::duplicate_5_grams, n - 5)], part(double(repeated_grams(words, n)), characters.size()))
        << n;
}

struct SlowC4 {
  bool lorem = false, curly = false;
  size_t lines = 0, kept_lines = 0, sentences = 0;
  std::u32string text;
};
std::u32string without_citations(const std::u32string& line) {
  std::u32string result;
  for (size_t i = 0; i < line.size();) {
    const size_t end = line.find(U']', i);
    bool citation = line[i] == U'[' && end != std::u32string::npos;
    if (citation) {
      const auto inner = line.substr(i + 1, end - i - 1);
      citation = inner == U"edit" || inner == U"citation needed" ||
                 inner.find_first_not_of(U"0123456789\u0663") == std::u32string::npos;
    }
    if (citation)
      i = end + 1;
    else
      result += line[i++];
  }
  return result;
}
SlowC4 slow_c4(const std::string& text) {
  SlowC4 result;
  const auto lines = python_lines(decode(text));
  result.lines = lines.size();
  Lines kept;
  for (const auto& raw : lines) {
    auto line = stripped(raw);
    Lines words;
    bool in_word = false;
    for (const char32_t c : line) {
      if (!is_python_space(c) && !in_word) words.emplace_back();
      in_word = !is_python_space(c);
      if (in_word) words.back() += c;
    }
    if (std::any_of(words.begin(), words.end(), [](const auto& word) { return word.size() > 1000; })) continue;
    line = without_citations(line);
    if (line.empty() || U".?!\"'"sv.find(line.back()) == std::u32string_view::npos) continue;
    if (line.ends_with(U"...") || words.size() < 3) continue;
    std::u32string lower;
    for (const char32_t c : line) lower += c == 0x212A ? U'k' : to_lower(c);
    const auto says = [&](std::u32string_view phrase) { return lower.find(phrase) != std::u32string::npos; };
    if (says(U"lorem ipsum")) {
      result.lorem |= !result.curly;
      continue;
    }
    if (says(U"javascript")) continue;
    if (line.find(U'{') != std::u32string::npos) {
      result.curly |= !result.lorem;
      continue;
    }
    if (says(U"terms of use") || says(U"privacy policy") || says(U"cookie policy") || says(U"uses cookies") ||
        says(U"use of cookies") || says(U"use cookies"))
      continue;
    std::vector<QualityWord> tokens;
    split_quality_words(encode(line), tokens);
    result.sentences += count_sentences(tokens);
    kept.push_back(line);
  }
  result.kept_lines = kept.size();
  for (size_t i = 0; i < kept.size(); ++i) result.text += (i > 0 ? U"\n" : U"") + kept[i];
  result.text = stripped(result.text);
  return result;
}

void expect_fineweb(const std::string& text, const Signals& got) {
  Lines lines;
  size_t newlines = 0, punctuated = 0, brief = 0;
  std::u32string line;
  const auto characters = decode(text);
  for (size_t i = 0; i <= characters.size(); ++i) {
    if (i < characters.size() && characters[i] != U'\n') {
      line += characters[i];
      continue;
    }
    newlines += i < characters.size();
    if (!stripped(line).empty()) lines.push_back(line);
    line.clear();
  }
  for (const auto& each : lines) {
    punctuated += U".?!\u3002\u061E"sv.find(each.back()) != std::u32string_view::npos;
    brief += each.size() <= 30;
  }
  EXPECT_EQ(got[Signal::punctuated_lines], part(double(punctuated), lines.size()));
  EXPECT_EQ(got[Signal::short_lines], part(double(brief), lines.size()));
  EXPECT_EQ(got[Signal::duplicate_characters],
            part(double(duplicates(lines).characters), characters.size() - newlines));
  EXPECT_EQ(got[Signal::newlines_per_word], part(double(newlines), words_of(text).size()));
}

void expect_c4_and_fineweb(const std::string& text) {
  SCOPED_TRACE(testing::PrintToString(text));
  const auto want = slow_c4(text);
  std::string kept = "not set";
  const Signals got = measure(text, SignalGroup::c4 | SignalGroup::fineweb, &kept);
  EXPECT_EQ(kept, encode(want.text));
  EXPECT_EQ(got[Signal::c4_sentences], double(want.sentences));
  EXPECT_EQ(got[Signal::c4_lorem_ipsum], double(want.lorem));
  EXPECT_EQ(got[Signal::c4_curly_brackets], double(want.curly));
  if (want.lines > 0) {
    EXPECT_EQ(got[Signal::c4_kept_lines], part(double(want.kept_lines), want.lines));
  } else {
    EXPECT_FALSE(got.has(Signal::c4_kept_lines));
  }
  expect_fineweb(kept, got);
  expect_fineweb(text, measure(text, static_cast<uint32_t>(SignalGroup::fineweb)));
}

void expect_quality(const std::string& text) {
  SCOPED_TRACE(testing::PrintToString(text));
  const Signals got = measure(text, static_cast<uint32_t>(SignalGroup::gopher_quality));
  const auto characters = decode(text);
  size_t bullets = 0, ellipses = 0, all_ellipses = 0;
  const auto lines = python_lines(characters);
  for (const auto& raw : lines) {
    const auto line = stripped(raw);
    bullets += line.starts_with(U'-') || line.starts_with(U'\u2022');
    ellipses += line.ends_with(U"...") || line.ends_with(U'\u2026');
  }
  for (size_t i = 0; i < characters.size(); ++i) {
    if (characters.compare(i, 3, U"...") == 0)
      ++all_ellipses, i += 2;
    else
      all_ellipses += characters[i] == U'\u2026';
  }
  const auto words = words_of(text);
  const auto ratio = [&](Signal signal, size_t count, size_t whole) {
    if (whole == 0)
      EXPECT_FALSE(got.has(signal)) << info(signal).name;
    else
      EXPECT_EQ(got[signal], part(double(count), whole)) << info(signal).name;
  };
  ratio(Signal::bullet_lines, bullets, lines.size());
  ratio(Signal::ellipsis_lines, ellipses, lines.size());
  ratio(Signal::ellipses_per_word, all_ellipses, words.size());
  ratio(Signal::hashes_per_word, size_t(std::count(text.begin(), text.end(), '#')), words.size());
  size_t alphabetic = 0;
  std::set<std::string> stopwords;
  for (const auto& word : words) {
    const auto spelling = decode(word);
    alphabetic += std::any_of(spelling.begin(), spelling.end(), [](char32_t c) { return is_letter(c); });
    for (const char* stopword : {"the", "be", "to", "of", "and", "that", "have", "with"})
      if (word == stopword) stopwords.insert(word);
  }
  ratio(Signal::alphabetic_words, alphabetic, words.size());
  EXPECT_EQ(got[Signal::stopwords], double(stopwords.size()));
}

// Up to `most` of the atoms; moves `drawn` along the stream.
std::string random_text(uint64_t& drawn, const std::vector<std::string>& atoms, size_t most) {
  const Rng rng{7, 1};
  std::string text;
  for (size_t count = rng.below(drawn++, most); count > 0; --count) text += atoms[rng.below(drawn++, atoms.size())];
  return text;
}

// ---- Tests ----

// Numbers that the datatrove library (with spaCy 3.8) gave for these texts.
struct Known {
  std::string_view text;
  struct Size {
    int characters, words;
  } size;
  struct Duplicate {
    int paragraphs, paragraph_characters, lines, line_characters;
  } duplicate;
  int top[3], repeated[6];
  struct Quality {
    int words, characters, hashes, ellipses, bullets, ellipsis_lines, lines, alphabetic, stopwords;
  } quality;
  int c4_sentences;  // -1: the document is dropped for a {
  struct Fineweb {
    int lines, punctuated, brief, duplicate_characters;
  } fineweb;
};
constexpr Known known[] = {
    {"Mr. Smith doesn't live in the U.S. any more, e.g. he can't stand 5km walks... His well-known friend's e-mail "
     "(foo@bar.com) didn't work.\nThey'd said: \"It's 10a.m. -- let's go!\" :-)\n"sv,
     {180, 52},
     {0, 0, 0, 0},
     {9, 14, 18},
     {0, 0, 0, 0, 0, 0},
     {39, 132, 0, 1, 0, 0, 2, 37, 1},
     1,
     {2, 1, 0, 0}},
    {"# Title\n\n- one\n- two\n- one\n\n\n\n- one\n- two\n\nThe end of the list\342\200\246 and then some...\n"sv,
     {81, 22},
     {0, 0, 3, 15},
     {15, 21, 22},
     {0, 0, 0, 0, 0, 0},
     {14, 46, 1, 2, 5, 1, 12, 14, 3},
     0,
     {7, 1, 6, 15}},
    {"the cat sat on the mat and the cat sat on the mat and the cat sat on the mat with that dog.\nthe cat sat on the "
     "mat and the cat sat on the mat and the cat sat on the mat with that dog."sv,
     {183, 48},
     {0, 0, 1, 91},
     {42, 66, 84},
     {86, 85, 81, 92, 77, 86},
     {46, 136, 0, 0, 0, 0, 2, 46, 4},
     2,
     {2, 2, 0, 91}},
    {"The first line has a citation.[1] It ends here.[12]\nToo short.\nThis line ends without a stop\nPlease enable "
     "JavaScript to see this page.\nWe use cookies to improve this page.\nIs this one kept? Yes! It is "
     "\"kept\".\013And this one, too...\nFine \342\200\250[edit] A last line stays here.\n"sv,
     {268, 65},
     {0, 0, 0, 0},
     {18, 22, 18},
     {0, 0, 0, 0, 0, 0},
     {50, 200, 0, 1, 0, 1, 9, 50, 1},
     6,
     {7, 5, 2, 0}},
    {"One { two three.\nLorem Ipsum is a text.\n"sv,
     {40, 11},
     {0, 0, 0, 0},
     {5, 9, 15},
     {0, 0, 0, 0, 0, 0},
     {8, 28, 0, 0, 0, 0, 2, 8, 0},
     -1,
     {2, 2, 2, 0}},
    {"\u65E5\u672C\u8A9E\u306E\u6587\u7AE0\u3002\u3053\u308C\u306F\uFF1F\n\u00C9t\u00E9 \u2014 na\u00EFve "
     "caf\u00E9\u2019s "
     "#1 \u20AC5 50% x2\n\u2022 caf\u00E9\n"sv,
     {51, 16},
     {0, 0, 0, 0},
     {12, 16, 18},
     {0, 0, 0, 0, 0, 0},
     {12, 36, 1, 0, 1, 0, 3, 7, 0},
     0,
     {3, 1, 2, 0}},
    {"a\000b \000\000 \177\n\n\na\000b \000\000 \177"sv,
     {19, 6},
     {1, 8, 1, 8},
     {12, 16, 12},
     {0, 0, 0, 0, 0, 0},
     {2, 6, 0, 0, 0, 0, 4, 2, 0},
     0,
     {2, 0, 2, 8}},
    {" \n\t\n"sv, {4, 0}, {0, 0, 0, 0}, {0, 0, 0}, {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 2, 0, 0}, 0, {0, 0, 0, 0}},
};

TEST(TextSignals, AgreeWithDatatrove) {
  for (const auto& want : known) {
    SCOPED_TRACE(std::string(want.text));
    const Signals got = measure(want.text, every_group & ~static_cast<uint32_t>(SignalGroup::c4));
    const auto is = [&](Signal signal, double count, double whole) {
      if (whole == 0 && count == 0 && !got.has(signal)) return;
      EXPECT_EQ(got[signal], whole == 0 ? 0 : count / whole) << info(signal).name;
    };
    const double n = want.size.characters, words = want.size.words;
    EXPECT_EQ(words_of(want.text).size(), size_t(want.size.words));
    is(Signal::characters, n, 1);
    is(Signal::lines, want.quality.lines, 1);
    is(Signal::duplicate_paragraph_characters, want.duplicate.paragraph_characters, n);
    is(Signal::duplicate_line_characters, want.duplicate.line_characters, n);
    EXPECT_EQ(got[Signal::duplicate_paragraphs] > 0, want.duplicate.paragraphs > 0);
    EXPECT_EQ(got[Signal::duplicate_lines] > 0, want.duplicate.lines > 0);
    for (size_t i = 0; i < 3; ++i) is(static_cast<Signal>(size_t(Signal::top_2_gram) + i), want.top[i], n);
    for (size_t i = 0; i < 6; ++i) is(static_cast<Signal>(size_t(Signal::duplicate_5_grams) + i), want.repeated[i], n);
    is(Signal::gopher_words, want.quality.words, 1);
    is(Signal::mean_word_length, want.quality.characters, want.quality.words);
    is(Signal::hashes_per_word, want.quality.hashes, words);
    is(Signal::ellipses_per_word, want.quality.ellipses, words);
    is(Signal::bullet_lines, want.quality.bullets, want.quality.lines);
    is(Signal::ellipsis_lines, want.quality.ellipsis_lines, want.quality.lines);
    is(Signal::alphabetic_words, want.quality.alphabetic, words);
    is(Signal::stopwords, want.quality.stopwords, 1);
    is(Signal::punctuated_lines, want.fineweb.punctuated, want.fineweb.lines);
    is(Signal::short_lines, want.fineweb.brief, want.fineweb.lines);
    const auto newlines = std::count(want.text.begin(), want.text.end(), '\n');
    is(Signal::duplicate_characters, want.fineweb.duplicate_characters, n - double(newlines));
    is(Signal::newlines_per_word, double(newlines), words);
    const Signals c4 = measure(want.text, static_cast<uint32_t>(SignalGroup::c4));
    EXPECT_EQ(c4[Signal::c4_curly_brackets], double(want.c4_sentences < 0));
    if (want.c4_sentences >= 0) {
      EXPECT_EQ(c4[Signal::c4_sentences], want.c4_sentences);
    }
  }
}

TEST(TextSignals, C4LeavesItsText) {
  std::string kept;
  measure(known[3].text, static_cast<uint32_t>(SignalGroup::c4), &kept);
  EXPECT_EQ(
      kept,
      "The first line has a citation. It ends here.\nIs this one kept? Yes! It is \"kept\".\n A last line stays here.");
  // White space that a citation leaves at the front goes from the first line only.
  measure("[1] One two three.\n[2] One two three.", static_cast<uint32_t>(SignalGroup::c4), &kept);
  EXPECT_EQ(kept, "One two three.\n One two three.");
}

TEST(TextSignals, AgreeWithSlowReferences) {
  // Few and short words, so that n-grams repeat, some of them split in other ways: "a bc" and "ab c".
  const std::vector<std::string> grams = {
      "a ", "b ", "ab ", "ba ", "bc ", "c ", "\u00E9 ", "\u00E9a ", "a long phrase that recurs, ", "\n", "\n\n"};
  const std::vector<std::string> lines = {"the ",
                                          "of",
                                          "That",
                                          " one",
                                          "\n",
                                          "\n\n",
                                          "\r\n",
                                          "\r",
                                          "\v",
                                          "\x1C",
                                          "\x1F",
                                          "\u0085",
                                          "\u2028",
                                          "\u00A0",
                                          " ",
                                          "- ",
                                          "\u2022",
                                          "...",
                                          "\u2026",
                                          ".",
                                          "..",
                                          "#",
                                          "?",
                                          "\u3002",
                                          "\u061E",
                                          "\u00E9",
                                          std::string(1, '\0'),
                                          "a line that is longer than thirty characters"};
  const std::vector<std::string> c4 = {"one two three",
                                       "one ",
                                       "Lorem IPSUM ",
                                       "use coo\u212Aies",
                                       "JavaScript ",
                                       "Terms of Use ",
                                       "{",
                                       "[12]",
                                       "[]",
                                       "[\u0663]",
                                       "[edit]",
                                       "[citation needed]",
                                       "[x]",
                                       ".",
                                       "!",
                                       "\"",
                                       "...",
                                       " ",
                                       "\n",
                                       "\n",
                                       ".\n",
                                       ".\n",
                                       "\u2029",
                                       "Mr. ",
                                       "? Yes",
                                       "privacy policy",
                                       "lorem",
                                       " ipsum",
                                       std::string(600, 'x')};
  uint64_t drawn = 0;
  for (int i = 0; i < 1500; ++i) {
    expect_repetition(random_text(drawn, grams, i < 1200 ? 60 : 400));
    expect_repetition(random_text(drawn, lines, 40));
    expect_quality(random_text(drawn, lines, 40));
    expect_c4_and_fineweb(random_text(drawn, lines, 40));
    expect_c4_and_fineweb(random_text(drawn, c4, 40));
  }
}

TEST(TextSignals, EdgesOfTheDefinitions) {
  for (const auto text : {""sv, "\0"sv, "x"sv, "\n"sv, "\n\na\n"sv, "a\n\na"sv, "\u4E2D\u6587"sv, "a b"sv, "a a a"sv}) {
    expect_repetition(std::string(text));
    expect_quality(std::string(text));
    expect_c4_and_fineweb(std::string(text));
  }
  const Signals none = measure("", every_group);
  EXPECT_EQ(none[Signal::characters], 0);
  EXPECT_EQ(none[Signal::lines], 0);
  EXPECT_EQ(none[Signal::gopher_words], 0);
  EXPECT_EQ(none[Signal::punctuated_lines], 0);
  EXPECT_FALSE(none.has(Signal::mean_word_length));
  EXPECT_FALSE(none.has(Signal::symbol_ratio));
  // A word of 1001 characters, not bytes, is too long for C4.
  std::string accents;
  for (int i = 0; i < 1000; ++i) accents += "\u00E9";
  const auto kept_share = [](const std::string& word) {
    return measure(word + " and so on.", static_cast<uint32_t>(SignalGroup::c4))[Signal::c4_kept_lines];
  };
  EXPECT_EQ(kept_share(accents), 1);
  EXPECT_EQ(kept_share(accents + "e"), 0);
  // Long texts of one word, of marks, of dots and of one line's end take no longer than their length allows.
  for (const char* piece : {"x", "(", ").", ".", ":-", "@.", "\n", "-a", "\u3002", "_a."}) {
    std::string text;
    while (text.size() < 300000) text += piece;
    const Signals signals = measure(text, every_group);
    EXPECT_EQ(signals[Signal::characters], double(count_characters(text)));
  }
}

TEST(TextSignals, GroupsDoNotDependOnEachOther) {
  for (const auto& each : known) {
    std::string kept;
    const Signals all = measure(each.text, every_group, &kept);
    for (const auto group : {SignalGroup::length, SignalGroup::gopher_repetition, SignalGroup::gopher_quality,
                             SignalGroup::c4, SignalGroup::fineweb, SignalGroup::ratios}) {
      // FineWeb comes after C4.
      const Signals one = measure(group == SignalGroup::fineweb ? kept : each.text, static_cast<uint32_t>(group));
      for (size_t i = 0; i < signal_count; ++i) {
        const bool same = std::isnan(all.values[i]) ? std::isnan(one.values[i]) : one.values[i] == all.values[i];
        EXPECT_TRUE(signal_table[i].group == group ? same : std::isnan(one.values[i])) << signal_table[i].name;
      }
    }
  }
}

TEST(TextSignals, RatiosCountCharacters) {
  const Signals got = measure("AbC 12 + \u20AC! \u00C9\u4E2D, and THE n't", static_cast<uint32_t>(SignalGroup::ratios));
  const double all = 27;  // A b C _ 1 2 _ + _ E ! _ E C , _ and _ THE _ n't
  EXPECT_EQ(got[Signal::symbol_ratio], 2 / all);
  EXPECT_EQ(got[Signal::digit_ratio], 2 / all);
  EXPECT_EQ(got[Signal::punctuation_ratio], 3 / all);
  EXPECT_EQ(got[Signal::space_ratio], 7 / all);
  EXPECT_EQ(got[Signal::uppercase_ratio], 6 / 13.0);
  // AbC 12 (the euro sign is no common punctuation) ÉX and THE n't
  EXPECT_EQ(got[Signal::stopword_ratio], 3 / 7.0);
  uint64_t drawn = 0;
  const std::vector<std::string> atoms = {"a",      "Z",    "\u01C5", "\u00AA", "\u2164", "\u00BD", "_",     "$",
                                          "\u00A0", "\x1F", "\t",     "\u0301", "\u3002", "5",      "\u4E2D"};
  for (int i = 0; i < 300; ++i) {
    const auto text = random_text(drawn, atoms, 30) + "a";
    const auto characters = decode(text);
    const auto share = [&](auto&& is) {
      return double(std::count_if(characters.begin(), characters.end(), is)) / double(characters.size());
    };
    const Signals signals = measure(text, static_cast<uint32_t>(SignalGroup::ratios));
    EXPECT_EQ(signals[Signal::symbol_ratio], share(is_symbol));
    EXPECT_EQ(signals[Signal::digit_ratio], share(is_number));
    EXPECT_EQ(signals[Signal::punctuation_ratio], share(is_punctuation));
    EXPECT_EQ(signals[Signal::space_ratio], share(is_space));
  }
}

}  // namespace
}  // namespace ds
