#include "clean/quality/word_exceptions.h"

#include <algorithm>
#include <set>

#include "base/hash.h"

namespace ds {

namespace {

// Blanks part the entries; | parts the words of an entry.
constexpr std::string_view abbreviations =
    "a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. \u00E4. \u00F6. \u00FC. "
    "Adm. Bros. Co. co. Corp. Dr. Gen. Gov. Inc. Jr. Ltd. Messrs. Mr. Mrs. Ms. Prof. Rep. Rev. Sen. St. Mt. "
    "e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. a.m. p.m. Ph.D. D.C. "
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. "
    "Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. "
    "Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis.";

// An apostrophe stands for itself and for a right single quotation mark.
constexpr std::string_view whole =
    "' '' \\\") <space> \u2018s \u2018S 's 'S 'd 're 'll 'em 'nuff 'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout "
    "doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin' "
    "and/or w/o ma'am Ma'am o'clock O'clock";
constexpr std::string_view split =
    "y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta "
    "let|'s Let|'s c'm|on C'm|on";

// Each stem, as it is and with a capital, before each ending; with the apostrophe and without.
struct Contractions {
  std::string_view stems, endings;
};
constexpr Contractions contractions[] = {
    {"i", "|'m |'m|a"},
    {"i you he she it we they who what when where why how there that this these those", "|'ll |'ll|'ve |'d |'d|'ve"},
    {"i you we they who what when where why how there these those could might must should would", "|'ve"},
    {"you we they who what when where why how there these those", "|'re"},
    {"he she it who what when where why how there that this", "|'s"},
    {"ca could do does did had may might must need ought sha should wo would", "|n't |n't|'ve"},
    {"ai are is was were have has dare", "|n't"},
};
// Words that look like contractions without an apostrophe.
constexpr std::string_view not_contractions = "ill hell shell its shed were well whore";

constexpr std::string_view odd_emoticons =
    ":1 :0 :-0 :| :-| :() >:( >:o :o) (o: :') :'-) :'( :'-( 8) 8-) (-8 8D 8-D ;) ;-) (; (-; ;D ;-D =) (= =( =] [= ]= "
    "=[ =/ "
    "=| "
    "=3 =D (: (-: ): )-: [: [-: xD XD xDD XDD ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o "
    "O_O 0_o o_0 0_0 o.o o.O O.o O.O 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (\u00AC_\u00AC) "
    "\u0CA0_\u0CA0 \u0CA0\uFE35\u0CA0 (\u0CA0_\u0CA0) \u00AF\\(\u30C4)/\u00AF ><(((*>";
constexpr std::string_view mouths = ") )) ))) ( (( ((( ] } / P p O o * 3 > X x D";  // behind the eyes : and :-

template <class Visit>
void for_each_part(std::string_view list, char separator, Visit&& visit) {
  while (true) {
    const size_t end = std::min(list.find(separator), list.size());
    visit(list.substr(0, end));
    if (end == list.size()) return;
    list.remove_prefix(end + 1);
  }
}

std::string capitalized(std::string_view word) {
  std::string result(word);
  result[0] = static_cast<char>(result[0] - 'a' + 'A');
  return result;
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

struct Builder {
  std::vector<WordException> exceptions;
  std::set<std::string> known;

  void add_spelling(const std::vector<std::string>& words) {
    WordException exception{{}, {}};
    for (size_t i = 0; i < words.size(); ++i) {
      exception.text += words[i];
      exception.sizes[i] = static_cast<uint8_t>(words[i].size());
    }
    if (known.insert(exception.text).second) exceptions.push_back(exception);
  }
  void add(std::string_view entry, char separator = '|') {
    std::vector<std::string> words;
    for_each_part(entry, separator, [&](std::string_view word) { words.emplace_back(word); });
    add_spelling(words);
    for (auto& word : words) word = replaced(word, "'", "\u2019");
    add_spelling(words);
  }
  void add_contractions(const Contractions& row) {
    for_each_part(row.stems, ' ', [&](std::string_view stem) {
      for_each_part(row.endings, ' ', [&](std::string_view ending) {
        for (const std::string& entry :
             {std::string(stem) + std::string(ending), capitalized(stem) + std::string(ending)}) {
          add(entry);
          add(replaced(entry, "'", ""));
        }
      });
    });
  }
};

std::vector<WordException> build() {
  Builder builder;
  for_each_part(not_contractions, ' ', [&](std::string_view word) {
    builder.known.insert(std::string(word));
    builder.known.insert(capitalized(word));
  });
  const auto no_separator = '\0';
  for (const auto list : {abbreviations, whole, odd_emoticons})
    for_each_part(list, ' ', [&](std::string_view entry) { builder.add(entry, no_separator); });
  for_each_part(mouths, ' ', [&](std::string_view mouth) {
    for (const char* eyes : {":", ":-"}) builder.add(std::string(eyes).append(mouth), no_separator);
  });
  for_each_part(split, ' ', [&](std::string_view entry) { builder.add(entry); });
  for (const auto& row : contractions) builder.add_contractions(row);
  for (int hour = 1; hour <= 12; ++hour)
    for (const char* half : {"|a.m.", "|am", "|p.m.", "|pm"}) builder.add(std::to_string(hour) += half);
  for (const char* scale : {"c|.", "f|.", "k|.", "C|.", "F|.", "K|."})
    builder.add(std::string("\u00B0|").append(scale));
  return builder.exceptions;
}

// An open-addressing table of 1 + indices into the exceptions.
struct Index {
  std::vector<uint16_t> slots = std::vector<uint16_t>(4096);

  size_t home(std::string_view text) const { return hash64(text) % slots.size(); }
  Index() {
    const auto& exceptions = word_exceptions();
    for (size_t i = 0; i < exceptions.size(); ++i) {
      size_t slot = home(exceptions[i].text);
      while (slots[slot] != 0) slot = (slot + 1) % slots.size();
      slots[slot] = static_cast<uint16_t>(i + 1);
    }
  }
};

}  // namespace

const std::vector<WordException>& word_exceptions() {
  static const auto exceptions = build();
  return exceptions;
}

const WordException* find_exception(std::string_view text) {
  static const Index index;
  const auto& exceptions = word_exceptions();
  for (size_t slot = index.home(text); index.slots[slot] != 0; slot = (slot + 1) % index.slots.size()) {
    const auto& exception = exceptions[index.slots[slot] - 1];
    if (exception.text == text) return &exception;
  }
  return nullptr;
}

const ExceptionSizes& exception_sizes() {
  static const auto sizes = [] {
    ExceptionSizes bits{};
    for (const auto& [text, parts] : word_exceptions())
      bits[(text.front() & 31) * 32 + (text.back() & 31)] |= uint32_t{1} << text.size();
    return bits;
  }();
  return sizes;
}

}  // namespace ds
