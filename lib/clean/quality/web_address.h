// Web and mail addresses, as the word splitter of quality_words.h keeps them whole.
#pragma once
#include <string_view>

namespace ds {

// The whole text, which holds no white space, is [scheme://][user@]host[:port][path]: a host name ends in letters of
// lower case, and an IPv4 address is a public one (the grammar of Diego Perini's well-known URL pattern, as spaCy has
// it).
bool is_web_address(std::string_view text);

}  // namespace ds
