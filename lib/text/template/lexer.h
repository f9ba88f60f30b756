// A chat template as tokens, with Jinja's rules of white space (trim_blocks, lstrip_blocks, "-" and "+" in tags).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace ds::jinja {

struct Token {
  enum class Type : uint8_t {
    data,
    block_begin,
    block_end,
    print_begin,
    print_end,
    name,
    string,
    integer,
    real,
    op,
    end
  };
  Type type = Type::end;
  int line = 1;
  std::string text;                                   // of data and strings as they are meant; of the others as written

  bool is(Type t, std::string_view s) const { return type == t && text == s; }
};

// `where` begins the message of an Error, then the line. Comments are gone, raw blocks are data.
std::vector<Token> tokenize(std::string_view source, const std::string& where);

}  // namespace ds::jinja
