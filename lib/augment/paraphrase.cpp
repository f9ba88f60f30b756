#include "augment/paraphrase.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "base/rng.h"

namespace ds {
namespace {

struct Synonym {
  std::string_view word, other;
};
// Sorted by word. Each pair fits in most places of running text, without a change of article or form.
constexpr std::array synonyms = {
    Synonym{"additionally", "moreover"}, Synonym{"allow", "permit"}, Synonym{"allowed", "permitted"},
    Synonym{"allows", "permits"}, Synonym{"although", "though"}, Synonym{"begin", "start"},
    Synonym{"begins", "starts"}, Synonym{"big", "large"}, Synonym{"buy", "purchase"}, Synonym{"choose", "select"},
    Synonym{"chosen", "selected"}, Synonym{"contain", "hold"}, Synonym{"contains", "holds"},
    Synonym{"create", "make"}, Synonym{"created", "made"}, Synonym{"creates", "makes"},
    Synonym{"delete", "remove"}, Synonym{"deleted", "removed"}, Synonym{"deletes", "removes"},
    Synonym{"display", "show"}, Synonym{"displayed", "shown"}, Synonym{"displays", "shows"}, Synonym{"easy", "simple"},
    Synonym{"entire", "whole"}, Synonym{"fast", "quick"}, Synonym{"find", "locate"}, Synonym{"finish", "complete"},
    Synonym{"frequently", "often"}, Synonym{"get", "obtain"}, Synonym{"gets", "obtains"}, Synonym{"give", "provide"},
    Synonym{"gives", "provides"}, Synonym{"goal", "purpose"}, Synonym{"happen", "occur"}, Synonym{"happens", "occurs"},
    Synonym{"hard", "difficult"}, Synonym{"help", "assist"}, Synonym{"helps", "assists"}, Synonym{"huge", "vast"},
    Synonym{"indicate", "signal"}, Synonym{"indicates", "signals"}, Synonym{"initial", "first"},
    Synonym{"keep", "retain"}, Synonym{"keeps", "retains"}, Synonym{"large", "big"}, Synonym{"mainly", "mostly"},
    Synonym{"maybe", "perhaps"}, Synonym{"mostly", "mainly"}, Synonym{"need", "require"},
    Synonym{"needs", "requires"}, Synonym{"often", "frequently"}, Synonym{"perhaps", "maybe"},
    Synonym{"permit", "allow"}, Synonym{"permits", "allows"}, Synonym{"permitted", "allowed"},
    Synonym{"provide", "supply"}, Synonym{"provides", "supplies"}, Synonym{"quick", "fast"},
    Synonym{"quickly", "rapidly"}, Synonym{"rapidly", "quickly"}, Synonym{"require", "need"},
    Synonym{"requires", "needs"}, Synonym{"select", "choose"}, Synonym{"selected", "chosen"},
    Synonym{"several", "various"}, Synonym{"show", "display"}, Synonym{"shows", "displays"}, Synonym{"simple", "easy"},
    Synonym{"small", "little"}, Synonym{"sometimes", "at times"}, Synonym{"start", "begin"},
    Synonym{"starts", "begins"}, Synonym{"therefore", "thus"}, Synonym{"though", "although"},
    Synonym{"thus", "therefore"}, Synonym{"totally", "completely"}, Synonym{"usually", "normally"},
    Synonym{"whole", "entire"}, Synonym{"wrong", "incorrect"}};
static_assert(std::is_sorted(synonyms.begin(), synonyms.end(), [](auto& a, auto& b) { return a.word < b.word; }));

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// What a word may touch: not a path, an option or a part of a longer name.
bool joins_words(char c) {
  return is_ascii_letter(c) || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80 || c == '_' ||
         c == '-' || c == '/' || c == '\'' || c == '@' || c == '\\' || c == '$' || c == '=';
}

void append_with_synonyms(std::string& out, std::string_view sentence, const Rng& rng, uint64_t& at) {
  for (size_t i = 0; i < sentence.size();) {
    size_t end = i;
    while (end < sentence.size() && is_ascii_letter(sentence[end])) ++end;
    if (end == i) {
      out += sentence[i++];
      continue;
    }
    const std::string_view word = sentence.substr(i, end - i);
    const bool apart = (i == 0 || !joins_words(sentence[i - 1])) && (end == sentence.size() || !joins_words(sentence[end]));
    std::string lower(word);
    const bool capital = word[0] < 'a';
    if (capital) lower[0] = static_cast<char>(lower[0] + 32);
    const std::string_view other = apart ? synonym(lower) : "";
    if (!other.empty() && rng.bits(at++) & 1) {
      out += other;
      if (capital) out[out.size() - other.size()] = static_cast<char>(other[0] - 32);
    } else {
      out += word;
    }
    i = end;
  }
}

}  // namespace

std::string_view synonym(std::string_view word) {
  const auto at = std::lower_bound(synonyms.begin(), synonyms.end(), word,
                                   [](const Synonym& s, std::string_view w) { return s.word < w; });
  return at != synonyms.end() && at->word == word ? at->other : std::string_view();
}

std::vector<std::string_view> sentences(std::string_view text) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  const auto cut = [&](size_t end) {
    size_t from = begin, to = end;
    while (from < to && is_blank(text[from])) ++from;
    while (to > from && is_blank(text[to - 1])) --to;
    if (from < to) out.push_back(text.substr(from, to - from));
    begin = end;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const bool ends = (text[i] == '.' || text[i] == '!' || text[i] == '?') && i + 1 < text.size() && is_blank(text[i + 1]);
    const bool paragraph = text[i] == '\n' && i + 1 < text.size() && text[i + 1] == '\n';
    if (ends || paragraph) cut(i + 1);
  }
  cut(text.size());
  return out;
}

std::string paraphrase(std::string_view text, const std::vector<std::string_view>& without, double keep, uint64_t seed,
                       uint64_t stream) {
  const Rng rng{seed, stream};
  uint64_t at = 0;
  const std::unordered_set<std::string_view> known(without.begin(), without.end());
  std::vector<std::string_view> fresh, chosen;
  for (const std::string_view sentence : sentences(text))
    if (!known.count(sentence)) fresh.push_back(sentence);
  for (const std::string_view sentence : fresh)
    if (rng.uniform(at++) < keep) chosen.push_back(sentence);
  if (chosen.empty() && !fresh.empty()) chosen.push_back(fresh[rng.below(at++, fresh.size())]);
  for (size_t i = 0; i + 1 < chosen.size(); ++i)
    if (rng.below(at++, 4) == 0) std::swap(chosen[i], chosen[i + 1]);
  std::string out;
  for (const std::string_view sentence : chosen) {
    if (!out.empty()) out += ' ';
    append_with_synonyms(out, sentence, rng, at);
  }
  return out;
}

}  // namespace ds
