#include <algorithm>
#include <optional>

#include "base/error.h"
#include "run/constraint/pattern_scanner.h"
#include "text/unicode.h"

namespace ds::constrain {
namespace {

CharacterSet all_that(bool (*holds)(char32_t)) {
  CharacterSet set;
  for (char32_t c = 0; c <= 0x10FFFF; ++c)
    if (holds(c)) {
      if (!set.empty() && set.back().second + 1 == c)
        set.back().second = c;
      else
        set.emplace_back(c, c);
    }
  return set;
}

// The general categories of one letter; null where there is no such name.
const CharacterSet* property(std::string_view name) {
  static const CharacterSet letters = all_that(is_letter), marks = all_that(is_mark), numbers = all_that(is_number),
                            punctuation = all_that(is_punctuation), symbols = all_that(is_symbol);
  if (name == "L" || name == "Letter") return &letters;
  if (name == "M" || name == "Mark") return &marks;
  if (name == "N" || name == "Number") return &numbers;
  if (name == "P" || name == "Punctuation") return &punctuation;
  if (name == "S" || name == "Symbol") return &symbols;
  return nullptr;
}

class Parser : PatternScanner {
 public:
  Parser(std::string_view text, Dialect dialect, std::string_view name) : PatternScanner(text, name), dialect_(dialect) {}

  Tree parse() {
    if (!is_valid_utf8(text_)) wrong("the pattern is not UTF-8");
    Tree tree = either(0);
    if (at_ < text_.size()) wrong("a ')' that closes nothing");
    return tree;
  }

 private:
  bool plain() const { return dialect_ == Dialect::plain; }

  Tree either(int depth) {
    if (depth > kDeepestPattern) wrong("groups nest too deeply");
    Tree out;
    out.type = Tree::Type::either;
    do out.children.push_back(sequence(depth));
    while (take("|"));
    if (out.children.size() > 1) return out;
    return Tree(std::move(out.children[0]));
  }

  Tree sequence(int depth) {
    Tree out;
    out.type = Tree::Type::sequence;
    while (!done() && peek() != '|' && peek() != ')') out.children.push_back(repeated(depth));
    return out;
  }

  Tree repeated(int depth) {
    Tree tree = atom(depth);
    const size_t start = at_;
    uint32_t least = 0, most = 0;
    if (!quantifier(least, most)) return tree;
    if (tree.type == Tree::Type::begin || tree.type == Tree::Type::end) wrong("a repetition of an anchor");
    take("?");  // a lazy one reads the same texts
    uint32_t more = 0;
    const size_t after = at_;
    if (peek() == '+' || quantifier(more, more)) {
      at_ = after;
      wrong("a repetition of a repetition");
    }
    if (least > most) {
      at_ = start;
      wrong("a repetition from more to less");
    }
    Tree out;
    out.type = Tree::Type::repeat;
    out.least = least;
    out.most = most;
    out.children.push_back(std::move(tree));
    return out;
  }

  bool quantifier(uint32_t& least, uint32_t& most) {
    least = 0, most = Tree::unlimited;
    if (take("*")) return true;
    if (take("+")) return least = 1, true;
    if (take("?")) return most = 1, true;
    if (peek() != '{') return false;
    const size_t start = at_++;
    const auto low = digits();
    std::optional<uint32_t> high = low;
    if (low && take(",")) {
      high = digits();
      if (!high) high = Tree::unlimited;
    }
    if (!low || !take("}")) {
      at_ = start;
      return false;
    }
    least = *low, most = *high;
    if (least > kMostRepeats || (most != Tree::unlimited && most > kMostRepeats)) {
      at_ = start;
      wrong(cat("more than ", kMostRepeats, " repetitions"));
    }
    return true;
  }

  Tree atom(int depth) {
    const char c = peek();
    if (c == '(') return group(depth);
    if (c == '[') return one(bracket());
    if (c == '.') {
      ++at_;
      CharacterSet ends = {{'\n', '\n'}};
      if (!plain()) ends = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
      return one(complement(ends));
    }
    if (c == '^' || c == '$') {
      ++at_;
      Tree out;
      out.type = c == '^' ? Tree::Type::begin : Tree::Type::end;
      return out;
    }
    if (c == '*' || c == '+' || c == '?') wrong("a repetition of nothing");
    if (!plain() && (c == '{' || c == '}' || c == ']')) wrong(cat("a '", c, "' that is not escaped"));
    if (c == '{') {
      uint32_t ignored = 0;
      if (quantifier(ignored, ignored)) wrong("a repetition of nothing");
    }
    if (c == '\\') {
      CharacterSet set;
      const auto single = escape(set, false);
      return one(single ? CharacterSet{{*single, *single}} : set);
    }
    const char32_t literal = decode_utf8(text_, at_);
    return one({{literal, literal}});
  }

  Tree group(int depth) {
    const size_t start = at_++;
    if (take("?")) {
      if (take("=") || take("!") || take("<=") || take("<!")) {
        at_ = start;
        wrong("look-around is not supported");
      }
      if (take("P<") || take("<")) {
        while (!done() && peek() != '>') ++at_;
        if (!take(">")) wrong("a group name without '>'");
      } else if (!take(":")) {
        at_ = start;
        wrong("only (...), (?:...) and (?<name>...) are supported, no flags");
      }
    }
    Tree out = either(depth + 1);
    if (!take(")")) {
      at_ = start;
      wrong("a '(' that is not closed");
    }
    // A group of its own: what follows repeats all of it.
    Tree group;
    group.type = Tree::Type::sequence;
    group.children.push_back(std::move(out));
    return group;
  }

  static CharacterSet spaces(bool ascii) {
    CharacterSet set = {{'\t', '\r'}, {' ', ' '}};
    if (!ascii)
      for (const char32_t c : {0xA0, 0x1680, 0x202F, 0x205F, 0x3000, 0xFEFF}) set.emplace_back(c, c);
    if (!ascii) set.insert(set.end(), {{0x2000, 0x200A}, {0x2028, 0x2029}});
    normalize(set);
    return set;
  }

  // After a backslash: one character, or several in `set`.
  std::optional<char32_t> escape(CharacterSet& set, bool in_class) {
    const size_t start = at_++;
    if (done()) at_ = start, wrong("a backslash at the end");
    const char32_t c = decode_utf8(text_, at_);
    const auto several = [&](CharacterSet made, bool negative) {
      set = negative ? complement(made) : std::move(made);
      return std::nullopt;
    };
    switch (c) {
      case 'd': case 'D': return several({{'0', '9'}}, c == 'D');
      case 'w': case 'W': return several({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, c == 'W');
      case 's': case 'S': return several(spaces(plain()), c == 'S');
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'f': return '\f';
      case 'v': return '\v';
      case '0':
        if (peek() >= '0' && peek() <= '9') break;
        return 0;
      case 'x': {
        if (!plain() || !take("{")) return checked(hex(2, 2));
        const char32_t value = checked(hex(1, 8));
        if (!take("}")) wrong("an escape without '}'");
        return value;
      }
      case 'u': {
        if (take("{")) {
          const char32_t value = checked(hex(1, 8));
          if (!take("}")) wrong("an escape without '}'");
          return value;
        }
        char32_t value = hex(4, 4);
        if (value >= 0xD800 && value < 0xDC00 && take("\\u")) {
          const char32_t low = hex(4, 4);
          if (low < 0xDC00 || low > 0xDFFF) wrong("half a surrogate pair");
          value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
        }
        return checked(value);
      }
      case 'c':
        if ((peek() >= 'a' && peek() <= 'z') || (peek() >= 'A' && peek() <= 'Z')) return static_cast<char32_t>(text_[at_++] & 31);
        break;
      case 'p': case 'P': {
        std::string_view name(&text_[std::min(at_, text_.size() - 1)], at_ < text_.size() ? 1 : 0);
        if (take("{")) {
          const size_t end = std::min(text_.find('}', at_), text_.size());
          name = text_.substr(at_, end - at_);
          at_ = std::min(end + 1, text_.size());
        } else {
          at_ += name.size();
          if (!plain()) wrong("a property without braces");
        }
        const CharacterSet* found = property(name);
        if (!found) at_ = start, wrong(cat("the property \\p{", name, "} is not supported: L, M, N, P and S are"));
        return several(*found, c == 'P');
      }
      case 'b':
        if (in_class) return '\b';
        [[fallthrough]];
      case 'B':
        at_ = start;
        wrong("word boundaries are not supported");
      default:
        break;
    }
    if (c == '-' && in_class) return c;
    if (c < 0x80 && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
        (plain() || std::string_view("^$\\.*+?()[]{}|/").find(static_cast<char>(c)) != std::string_view::npos))
      return c;
    at_ = start;
    if (c >= '1' && c <= '9') wrong("back references are not supported");
    std::string shown = "\\";
    append_utf8(shown, c);
    wrong(cat("the escape ", shown, " is not supported"));
  }

  CharacterSet bracket() {
    const size_t start = at_++;
    const bool negative = take("^");
    CharacterSet set;
    for (bool first = true;; first = false) {
      if (done()) at_ = start, wrong("a '[' that is not closed");
      if (peek() == ']' && (!first || !plain())) break;
      if (plain() && peek() == '[' && (peek(1) == ':' || peek(1) == '.' || peek(1) == '=')) wrong("POSIX classes are not supported");
      const auto low = class_item(set);
      if (peek() != '-' || peek(1) == ']' || at_ + 1 >= text_.size()) {
        if (low) set.emplace_back(*low, *low);
        continue;
      }
      ++at_;
      const auto high = class_item(set);
      if (!low || !high) wrong("a range between classes");
      if (*low > *high) wrong("a range that runs backwards");
      set.emplace_back(*low, *high);
    }
    ++at_;
    normalize(set);
    return negative ? complement(set) : set;
  }

  // One character, or adds several to the set.
  std::optional<char32_t> class_item(CharacterSet& set) {
    if (done()) wrong("a '[' that is not closed");
    if (peek() != '\\') return decode_utf8(text_, at_);
    CharacterSet several;
    const auto single = escape(several, true);
    if (!single) set.insert(set.end(), several.begin(), several.end());
    return single;
  }

  Dialect dialect_;
};

}  // namespace

Tree parse_regex(std::string_view pattern, Dialect dialect, std::string_view name) {
  return Parser(pattern, dialect, name).parse();
}

}  // namespace ds::constrain
