// Code whose brackets balance, and Python whose lines are indented as its reader wants them.
#include <string>
#include <utility>

#include "run/constraint/automaton.h"

namespace ds::constrain {
namespace {

char closing(char open) { return open == '(' ? ')' : open == '[' ? ']' : '}'; }
bool is_open(uint8_t c) { return c == '(' || c == '[' || c == '{'; }
bool is_close(uint8_t c) { return c == ')' || c == ']' || c == '}'; }

// Text of several bytes a character is read byte by byte; what may follow is all that UTF-8 says but the fine print on
// overlong forms, which is here: the first continuation byte's least and most, and how many there are.
struct Utf8 {
  char more = 0, least = '\x80', most = '\xBF';
  // False where the byte cannot stand here. `is_first` tells whether it begins a character.
  bool read(uint8_t c, bool& is_first) {
    is_first = more == 0;
    if (more) {
      if (c < static_cast<uint8_t>(least) || c > static_cast<uint8_t>(most)) return false;
      --more;
      least = '\x80', most = '\xBF';
      return true;
    }
    if (c < 0x80) return true;
    if (c < 0xC2 || c > 0xF4) return false;
    more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    if (c == 0xE0) least = '\xA0';
    if (c == 0xED) most = '\x9F';
    if (c == 0xF0) least = '\x90';
    if (c == 0xF4) most = '\x8F';
    return true;
  }
};

// A frame is a bracket that is open, the lowest one the text itself: the bracket ('t' for the text), where it stands
// (code, a string's quote, 'l' and 'b' comments, '/' and '*' on the way into or out of one), whether a backslash came
// before, and three bytes of Utf8.
class Brackets final : public Automaton {
 public:
  Moves start(bool) const override {
    Moves moves;
    moves.add(text('t', ' ', false, {}));
    return moves;
  }
  void read(std::string_view frame, uint8_t c, Moves& moves) const override {
    const char bracket = frame[0];
    char where = frame[1];
    bool escaped = frame[2] != 0, is_first;
    Utf8 utf8{frame[3], frame[4], frame[5]};
    if (!utf8.read(c, is_first) || (c < 0x20 && c != '\n' && c != '\t' && c != '\r')) return;
    if (!is_first || c >= 0x80) return moves.add(text(bracket, where == '/' ? ' ' : where == '*' ? 'b' : where, false, utf8));
    switch (where) {
      case '"': case '\'': case '`':
        if (c == '\n' && where != '`' && !escaped) return;  // such a string stays on its line
        if (escaped) return moves.add(text(bracket, where, false, utf8));
        if (c == '\\') return moves.add(text(bracket, where, true, utf8));
        return moves.add(text(bracket, c == static_cast<uint8_t>(where) ? ' ' : where, false, utf8));
      case 'l':
        return moves.add(text(bracket, c == '\n' ? ' ' : 'l', false, utf8));
      case 'b': case '*':
        if (where == '*' && c == '/') return moves.add(text(bracket, ' ', false, utf8));
        return moves.add(text(bracket, c == '*' ? '*' : 'b', false, utf8));
      case '/':
        if (c == '/') return moves.add(text(bracket, 'l', false, utf8));
        if (c == '*') return moves.add(text(bracket, 'b', false, utf8));
        break;
      default: break;
    }
    if (is_open(c)) return moves.add(text(bracket, ' ', false, utf8), text(static_cast<char>(c), ' ', false, utf8));
    if (is_close(c)) {
      if (bracket != 't' && static_cast<char>(c) == closing(bracket)) moves.add();
      return;
    }
    where = c == '"' || c == '\'' || c == '`' ? static_cast<char>(c) : c == '#' ? 'l' : c == '/' ? '/' : ' ';
    moves.add(text(bracket, where, false, utf8));
  }
  void expand(std::string_view frame, Moves& moves) const override {
    if (frame[0] == 't' && (frame[1] == ' ' || frame[1] == 'l' || frame[1] == '/') && frame[3] == 0) moves.add();
  }
  bool reads(std::string_view) const override { return true; }

 private:
  static std::string text(char bracket, char where, bool escaped, Utf8 utf8) {
    return {bracket, where, static_cast<char>(escaped), utf8.more, utf8.least, utf8.most};
  }
};

// Python. The lowest frame is the line that is being read; the block levels are in it, for whether a line may begin there
// depends on all of them. A bracket is a frame above it.
struct Line {
  enum Where : char { indent, code, comment, single, triple, joined };
  char where = indent;
  char quote = 0;          // of a string
  char quotes = 0;         // quotes of it that came one after the other; opening ones while `opening`
  bool opening = false, escaped = false;
  bool needs_block = false;    // the last line ended in a colon
  bool colon = false;          // the last character of this one that is no space or comment is a colon
  bool started = false;        // the line has some code
  char bracket = 0;            // a frame above the line: what it opens
  Utf8 utf8;
  uint16_t spaces = 0;         // of indentation so far
  std::string levels;          // columns of the open blocks, two bytes each, 0 left out

  uint16_t level(size_t i) const {
    return static_cast<uint16_t>(static_cast<uint8_t>(levels[2 * i]) | static_cast<uint8_t>(levels[2 * i + 1]) << 8);
  }
  size_t depth() const { return levels.size() / 2; }
  uint16_t last() const { return depth() ? level(depth() - 1) : 0; }

  std::string text() const {
    std::string out = {where, quote, quotes, static_cast<char>(opening | escaped << 1 | needs_block << 2 | colon << 3 | started << 4),
                       bracket, utf8.more, utf8.least, utf8.most, static_cast<char>(spaces & 255), static_cast<char>(spaces >> 8)};
    return out += levels;
  }
  static Line parse(std::string_view f) {
    Line line;
    line.where = f[0], line.quote = f[1], line.quotes = f[2];
    line.opening = f[3] & 1, line.escaped = f[3] & 2, line.needs_block = f[3] & 4, line.colon = f[3] & 8, line.started = f[3] & 16;
    line.bracket = f[4];
    line.utf8 = {f[5], f[6], f[7]};
    line.spaces = static_cast<uint16_t>(static_cast<uint8_t>(f[8]) | static_cast<uint8_t>(f[9]) << 8);
    line.levels = f.substr(10);
    return line;
  }
};

constexpr uint16_t kMostIndent = 400;
constexpr size_t kMostLevels = 100;

class Python final : public Automaton {
 public:
  Moves start(bool) const override {
    Moves moves;
    moves.add(Line{}.text());
    return moves;
  }

  void read(std::string_view frame, uint8_t c, Moves& moves) const override {
    Line line = Line::parse(frame);
    bool is_first;
    if (!line.utf8.read(c, is_first) || (c < 0x20 && c != '\n') || c == 0x7F) return;
    if (line.where == Line::single || line.where == Line::triple) {
      if (read_string(line, c)) return moves.add(line.text());
      if (line.where != Line::code) return;
      // The string was closed before this byte, which is code.
    }
    if (line.where == Line::comment) {
      if (c == '\n') return end_line(line, moves);
      return moves.add(line.text());
    }
    if (line.where == Line::joined) {  // a backslash: the line goes on in the next one
      if (c != '\n') return;
      line.where = Line::code;
      return moves.add(line.text());
    }
    if (line.where == Line::indent && !line.bracket && !begin_code(line, c, moves)) return;
    read_code(line, c, moves);
  }

  void expand(std::string_view frame, Moves& moves) const override {
    const Line line = Line::parse(frame);
    if (line.bracket || line.needs_block || line.utf8.more) return;
    const bool is_closed = (line.where == Line::single && line.opening && line.quotes == 2);
    const bool is_code = line.where == Line::code || line.where == Line::comment || line.where == Line::indent || is_closed;
    if (is_code && !(line.colon && !is_closed)) moves.add();
  }
  bool reads(std::string_view) const override { return true; }

 private:
  // False where the byte is not the string's: the string is closed then (where is code), or the byte is not allowed.
  static bool read_string(Line& line, uint8_t c) {
    const bool is_quote = c == static_cast<uint8_t>(line.quote) && line.utf8.more == 0;
    if (line.opening) {
      if (is_quote) {
        if (++line.quotes == 3) line.where = Line::triple, line.opening = false, line.quotes = 0;
        return true;
      }
      line.opening = false;
      if (line.quotes == 2) return line.where = Line::code, false;  // an empty string
      line.quotes = 0;
    }
    if (line.escaped) return line.escaped = false, true;
    if (c == '\\') return line.escaped = true, line.quotes = 0, true;
    if (c == '\n' && line.where == Line::single) return false;
    if (!is_quote) return line.quotes = 0, true;
    if (line.where == Line::single || ++line.quotes == 3) line.where = Line::code, line.quotes = 0;
    return true;
  }

  static void end_line(Line line, Moves& moves) {
    if (line.started && !line.bracket) {
      line.needs_block = line.colon;
      line.colon = line.started = false;
    }
    line.where = line.bracket ? Line::code : Line::indent;
    line.spaces = 0;
    moves.add(line.text());
  }

  // The first byte of a line that is no space settles which block it is in. False: it was read, or is not allowed.
  static bool begin_code(Line& line, uint8_t c, Moves& moves) {
    if (c == ' ') {
      // No deeper than a block may begin, so that there is a way to go on.
      const uint16_t most = line.needs_block ? kMostIndent : line.last();
      if (line.spaces < most) ++line.spaces, moves.add(line.text());
      return false;
    }
    if (c == '\n') {  // a line without code
      line.spaces = 0;
      moves.add(line.text());
      return false;
    }
    if (c == '#') {
      line.where = Line::comment;
      moves.add(line.text());
      return false;
    }
    if (line.needs_block) {
      if (line.spaces <= line.last() || line.depth() >= kMostLevels) return false;
      line.levels += static_cast<char>(line.spaces & 255);
      line.levels += static_cast<char>(line.spaces >> 8);
      line.needs_block = false;
    } else {
      while (line.depth() && line.last() > line.spaces) line.levels.resize(line.levels.size() - 2);
      if (line.last() != line.spaces) return false;
    }
    line.where = Line::code;
    line.started = true;
    return true;
  }

  static void read_code(Line& line, uint8_t c, Moves& moves) {
    if (c == '\n') return end_line(line, moves);
    if (c == '#') return line.where = Line::comment, moves.add(line.text());
    if (c == '\\') return line.colon = false, line.where = Line::joined, moves.add(line.text());
    if (is_close(c)) {
      if (line.bracket && static_cast<char>(c) == closing(line.bracket)) moves.add();
      return;
    }
    if (c != ' ') line.colon = c == ':' && !line.bracket;
    // Deeper than the deepest block none can begin, so no colon ends a line there.
    if (line.colon && (line.depth() >= kMostLevels || line.last() >= kMostIndent)) return;
    line.where = Line::code;
    if (c == '"' || c == '\'') {
      line.where = Line::single;
      line.quote = static_cast<char>(c);
      line.quotes = 1;
      line.opening = true;
    }
    if (!is_open(c)) return moves.add(line.text());
    Line inner;
    inner.where = Line::code;
    inner.bracket = static_cast<char>(c);
    moves.add(line.text(), inner.text());
  }
};

}  // namespace

std::unique_ptr<Automaton> brackets_automaton() { return std::make_unique<Brackets>(); }
std::unique_ptr<Automaton> python_automaton() { return std::make_unique<Python>(); }

}  // namespace ds::constrain
