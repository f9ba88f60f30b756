#include "clean/lexicon.h"

#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "io/input.h"
#include "text/words.h"

namespace ds {

// Slurs and abuse of English, each with hardly any innocent use in prose. Ambiguous words are left to --lexicon.
static constexpr std::string_view words[] = {
    "arsehole", "arseholes", "asshole",   "assholes", "bastards", "bitch",   "bitches",      "bitchy",
    "bullshit", "chink",     "chinks",    "coon",     "coons",    "cunt",    "cunts",        "dickhead",
    "dipshit",  "douchebag", "dumbass",   "fag",      "faggot",   "faggots", "fags",         "fuck",
    "fucked",   "fucker",    "fuckers",   "fuckin",   "fucking",  "fucks",   "gook",         "gooks",
    "hoe",      "hoes",      "honky",     "jackass",  "kike",     "kikes",   "motherfucker", "motherfuckers",
    "nigga",    "niggas",    "nigger",    "niggers",  "paki",     "pakis",   "pussies",      "pussy",
    "raghead",  "ragheads",  "retards",   "shit",     "shithead", "shitty",  "slut",         "sluts",
    "spic",     "spics",     "towelhead", "tranny",   "twat",     "wanker",  "wetback",      "wetbacks",
    "whore",    "whores",
};

Lexicon builtin_lexicon() {
  Lexicon lexicon;
  for (const std::string_view word : words) lexicon.insert(hash64(word));
  return lexicon;
}

Lexicon read_lexicon(const std::string& path) {
  Lexicon lexicon;
  LineReader lines({path}, size_t{1} << 20);
  for (Line line; lines.next(line);) {
    if (line.text.empty() || line.text == "\r" || line.text.front() == '#') continue;
    const auto found = word_hashes(line.text);
    require(found.size() == 1, path, ":", line.number, ": a lexicon has one word a line, here are ", found.size());
    lexicon.insert(found.front());
  }
  require(!lexicon.empty(), path, ": the lexicon has no words");
  return lexicon;
}

double lexicon_share(const std::vector<uint64_t>& word_hashes, const Lexicon& lexicon) {
  if (word_hashes.empty()) return 0;
  size_t found = 0;
  for (const uint64_t word : word_hashes) found += lexicon.contains(word);
  return static_cast<double>(found) / static_cast<double>(word_hashes.size());
}

}  // namespace ds
