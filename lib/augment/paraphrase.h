// A text said a little differently, by rule: some sentences, some in another order, some words by synonyms.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// Sentences of a text: cut after . ! ? before white space, and at empty lines; trimmed, none empty.
std::vector<std::string_view> sentences(std::string_view text);

// Keeps about `keep` of the sentences (at least one), swaps neighbouring ones with probability 1/4 and replaces words
// that stand in the built-in table with probability 1/2. Sentences in `without` (by their text) are left out; empty
// where nothing remains. A pure function of its arguments.
std::string paraphrase(std::string_view text, const std::vector<std::string_view>& without, double keep, uint64_t seed,
                       uint64_t stream);

// The synonym of a lower-case word, or "".
std::string_view synonym(std::string_view word);

}  // namespace ds
