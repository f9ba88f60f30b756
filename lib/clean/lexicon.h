// Words that mark abuse: a small list that is compiled in, or a file.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

namespace ds {

// XXH3-64 of the words (words.h).
using Lexicon = std::unordered_set<uint64_t>;

Lexicon builtin_lexicon();
// One word a line in any case; empty lines and lines that begin with # are skipped. A line that is not exactly one word
// is an Error that names it.
Lexicon read_lexicon(const std::string& path);

// Words of the lexicon / all words; 0 for no words.
double lexicon_share(const std::vector<uint64_t>& word_hashes, const Lexicon& lexicon);

}  // namespace ds
