// JSON text that meets a schema, byte by byte.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "run/constraint/automaton.h"
#include "run/constraint/schema_tables.h"
#include "text/unicode.h"

namespace ds::constrain {
namespace {

constexpr uint8_t kMostBlanks = 64;  // after a line end
// Of a number in an answer that a schema leaves free, so that it ends; NumberSet::has_prefix does the like for others.
constexpr size_t kMostDigits = 20, kMostExponentDigits = 3;  // before and after a point each

// A frame as bytes: plain numbers and strings with their lengths, in the order of their calls.
class Writer {
 public:
  template <class T>
  Writer& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& put_text(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    text_ += text;
    return *this;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  template <class T>
  void get(T& value) {
    std::memcpy(&value, text_.data(), sizeof value);
    text_.remove_prefix(sizeof value);
  }
  void get_text(std::string& out) {
    uint32_t size;
    get(size);
    out = text_.substr(0, size);
    text_.remove_prefix(size);
  }

 private:
  std::string_view text_;
};

enum class Kind : uint8_t { root, tail, value, literal, number, string, array, object };

// White space between tokens: one blank, or a line end and blanks; any in a text that is given.
struct Space {
  uint8_t count = 0;  // 1: a blank; 2 + n: a line end and n blanks
  bool read(uint8_t c, bool exact) {
    if (exact) return c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (count == 0 && (c == ' ' || c == '\n')) return count = c == ' ' ? 1 : 2, true;
    if (count >= 2 && count < 2 + kMostBlanks && (c == ' ' || c == '\t')) return ++count, true;
    return false;
  }
};

// Where a reader stands within a string.
struct Lexer {
  enum Phase : uint8_t { text, escape, hex, surrogate, surrogate_escape, low_hex } phase = text;
  uint8_t digits = 0;
  uint16_t code = 0, high = 0;
};

enum class Read { refused, stays, closed };

int hex_digit(uint8_t c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Reads a byte of a string. feed(bytes) takes bytes of its text, false where they do not lead on; tries(bytes) only asks.
// `any`: every text is taken, so that an escape need not be looked through to its end. Else, in an answer, only the
// controls that can be written no other way may be escaped by number.
template <class Feed, class Tries>
Read read_string(Lexer& lexer, uint8_t c, bool exact, bool any, Feed&& feed, Tries&& tries) {
  const auto feed_character = [&](char32_t character) {
    std::string bytes;
    append_utf8(bytes, character);
    lexer = {};
    return feed(bytes) ? Read::stays : Read::refused;
  };
  switch (lexer.phase) {
    case Lexer::text:
      if (c == '"') return Read::closed;
      if (c < 0x20) return Read::refused;
      if (c != '\\') return feed(std::string_view(reinterpret_cast<const char*>(&c), 1)) ? Read::stays : Read::refused;
      lexer.phase = Lexer::escape;
      if (exact) return Read::stays;
      // Not within a character, and only where some escape leads on.
      for (int control = 0; control < 0x20; ++control)
        if (tries(std::string(1, static_cast<char>(control)))) return Read::stays;
      return tries("\"") || tries("\\") || tries("/") ? Read::stays : Read::refused;
    case Lexer::escape:
      switch (c) {
        case '"': case '\\': case '/': return feed_character(c);
        case 'b': return feed_character('\b');
        case 'f': return feed_character('\f');
        case 'n': return feed_character('\n');
        case 'r': return feed_character('\r');
        case 't': return feed_character('\t');
        case 'u': break;
        default: return Read::refused;
      }
      lexer = {Lexer::hex, 0, 0, 0};
      break;
    case Lexer::hex:
    case Lexer::low_hex: {
      const int digit = hex_digit(c);
      if (digit < 0) return Read::refused;
      lexer.code = static_cast<uint16_t>(lexer.code << 4 | digit);
      ++lexer.digits;
      if (lexer.phase == Lexer::low_hex) {  // DC00 to DFFF
        if (lexer.digits == 1 && lexer.code != 0xD) return Read::refused;
        if (lexer.digits == 2 && lexer.code < 0xDC) return Read::refused;
        if (lexer.digits < 4) return Read::stays;
        return feed_character(0x10000 + (char32_t{static_cast<uint16_t>(lexer.high - 0xD800)} << 10) + (lexer.code - 0xDC00u));
      }
      if (lexer.digits >= 2 && (lexer.code >> (4 * (lexer.digits - 2))) >= 0xDC && (lexer.code >> (4 * (lexer.digits - 2))) <= 0xDF) return Read::refused;
      if (lexer.digits < 4) break;
      if (lexer.code >= 0xD800 && lexer.code < 0xDC00) {
        lexer = {Lexer::surrogate, 0, 0, lexer.code};
        return Read::stays;
      }
      return feed_character(lexer.code);
    }
    case Lexer::surrogate:
      if (c != '\\') return Read::refused;
      lexer.phase = Lexer::surrogate_escape;
      return Read::stays;
    case Lexer::surrogate_escape:
      if (c != 'u') return Read::refused;
      lexer = {Lexer::low_hex, 0, 0, lexer.high};
      return Read::stays;
  }
  if (any) return Read::stays;
  for (uint32_t control = 0; control < 0x20; ++control)
    if (control >> (4 * (4 - lexer.digits)) == lexer.code && tries(std::string(1, static_cast<char>(control)))) return Read::stays;
  return Read::refused;
}

class SchemaAutomaton final : public Automaton {
 public:
  explicit SchemaAutomaton(std::string_view json) : tables_(json) {}

  Moves start(bool exact) const override {
    Moves moves;
    if (exact)
      moves.add(head(Kind::root, exact).take());
    else
      moves.add(value(exact, tables_.root()));
    return moves;
  }

  void read(std::string_view frame, uint8_t c, Moves& moves) const override {
    Reader reader(frame);
    Kind kind;
    bool exact;
    reader.get(kind), reader.get(exact);
    switch (kind) {
      case Kind::root:
      case Kind::tail: {
        Space space;
        if (space.read(c, true)) moves.add(std::string(frame));
        return;
      }
      case Kind::value: return;
      case Kind::literal: return read_literal(reader, exact, c, moves);
      case Kind::number: return read_number(reader, exact, c, moves);
      case Kind::string: return read_text(reader, exact, c, moves);
      case Kind::array: return read_array(reader, exact, c, moves);
      case Kind::object: return read_object(reader, exact, c, moves);
    }
  }

  void expand(std::string_view frame, Moves& moves) const override {
    Reader reader(frame);
    Kind kind;
    bool exact;
    reader.get(kind), reader.get(exact);
    switch (kind) {
      case Kind::root: return moves.add(head(Kind::tail, exact).take(), value(exact, tables_.root()));
      case Kind::tail: return moves.add();
      case Kind::value: return expand_value(reader, exact, moves);
      case Kind::number: {
        Number n = number_of(reader);
        if (is_whole(n.text) && (is_free(n.set, exact) || tables_.number(n.set).contains(Decimal::parse(n.text)))) moves.add();
        return;
      }
      case Kind::array: {
        Array a = array_of(reader);
        if (a.phase != Array::first && a.phase != Array::next) return;
        const ArrayTable& table = tables_.array(a.table);
        for (uint32_t set = 0; set < uint32_t{1} << table.contains.size(); ++set) {
          Array after = a;
          uint32_t node;
          if (!tables_.take(table, after.state, set, node)) continue;
          after.phase = Array::after;
          after.space = {};
          moves.add(text_of(after, exact), value(exact, node));
        }
        return;
      }
      case Kind::object: {
        Object o = object_of(reader);
        if (o.phase != Object::before_value) return;
        const uint32_t node = o.node;
        o.phase = Object::after;
        o.space = {};
        o.node = 0;
        moves.add(text_of(o, exact), value(exact, node));
        return;
      }
      default: return;
    }
  }

  bool reads(std::string_view frame) const override { return static_cast<Kind>(frame[0]) != Kind::value; }

  // Keys that stand in the object already, from where the key stands: in the one spelling that an outline follows.
  std::vector<std::string> refused(std::string_view frame) const override {
    std::vector<std::string> out;
    if (static_cast<Kind>(frame[0]) != Kind::object) return out;
    Reader reader(frame.substr(2));
    const Object o = object_of(reader);
    const ObjectTable& table = tables_.object(o.table);
    if (o.phase != Object::in_key || o.lexer.phase != Lexer::text) return out;
    for (size_t i = 0; i < table.names.size(); ++i)
      if (o.state.seen[i] && table.names[i].starts_with(o.key)) out.push_back(table.names[i].substr(o.key.size()) + '"');
    for (auto at = std::lower_bound(o.state.others.begin(), o.state.others.end(), o.key); at != o.state.others.end() && at->starts_with(o.key); ++at)
      out.push_back(at->substr(o.key.size()) + '"');
    return out;
  }

  std::string outline(std::string_view frame, size_t longest) const override {
    Reader reader(frame);
    Kind kind;
    bool exact;
    reader.get(kind), reader.get(exact);
    if (kind == Kind::string) {
      String s = string_of(reader);
      s.least = std::min<uint64_t>(s.least, longest + 1);
      if (s.most != kUnlimited) s.most = std::min<uint64_t>(s.most, longest + 1);
      return text_of(s, exact);
    }
    if (kind == Kind::object) {
      Object o = object_of(reader);
      const ObjectTable& table = tables_.object(o.table);
      if (o.outline || table.witnesses || table.most != kUnlimited || !table.others[table.keys.start] ||
          (o.phase == Object::in_key && table.others[o.at] != kInfinite) || table.others[table.keys.start] != kInfinite)
        return std::string(frame);
      o.outline = o.phase == Object::in_key && o.lexer.phase == Lexer::text ? Object::in_new_key : Object::unknown;
      o.state = {};
      o.key.clear();
      return text_of(o, exact);
    }
    return std::string(frame);
  }

 private:
  static Writer head(Kind kind, bool exact) {
    Writer writer;
    writer.put(kind).put(exact);
    return writer;
  }
  static std::string value(bool exact, uint32_t node) { return head(Kind::value, exact).put(node).take(); }

  void expand_value(Reader& reader, bool exact, Moves& moves) const {
    uint32_t node;
    reader.get(node);
    for (const Alternative& a : tables_.node(node).alternatives) switch (a.type) {
        case ValueType::null: case ValueType::false_: case ValueType::true_:
          moves.add(head(Kind::literal, exact).put(a.type).put(uint8_t{0}).take());
          break;
        case ValueType::number: moves.add(head(Kind::number, exact).put(a.index).put_text("").take()); break;
        case ValueType::string: {
          const StringTable& table = tables_.string(a.index);
          moves.add(text_of(String{a.index, false, table.dfa.start, table.least, table.most, {}}, exact));
          break;
        }
        case ValueType::array: {
          Array array;
          array.table = a.index;
          array.state.counts.resize(tables_.array(a.index).contains.size());
          moves.add(text_of(array, exact));
          break;
        }
        case ValueType::object: {
          Object object;
          object.table = a.index;
          object.state.seen.resize(tables_.object(a.index).names.size());
          moves.add(text_of(object, exact));
          break;
        }
      }
  }

  void read_literal(Reader& reader, bool exact, uint8_t c, Moves& moves) const {
    ValueType type;
    uint8_t at;
    reader.get(type), reader.get(at);
    const std::string_view word = type == ValueType::null ? "null" : type == ValueType::true_ ? "true" : "false";
    if (static_cast<char>(c) != word[at]) return;
    if (++at == word.size()) return moves.add();
    moves.add(head(Kind::literal, exact).put(type).put(at).take());
  }

  // --- Numbers.
  struct Number {
    uint32_t set;
    std::string text;
  };
  static Number number_of(Reader& reader) {
    Number n;
    reader.get(n.set), reader.get_text(n.text);
    return n;
  }
  // Whether every number that is spelt as allowed is in the set, so that digits need not be kept.
  bool is_free(uint32_t set, bool exact) const {
    const NumberSet& s = tables_.number(set);
    if (s.is_all()) return true;
    return !exact && !s.low && !s.high && s.others.empty() && s.multiples == std::vector<Modulus>{{1, 0}};
  }
  static bool is_whole(const std::string& text) { return !text.empty() && text.back() >= '0' && text.back() <= '9'; }

  void read_number(Reader& reader, bool exact, uint8_t c, Moves& moves) const {
    Number n = number_of(reader);
    const NumberSet& set = tables_.number(n.set);
    const bool free = is_free(n.set, exact), integer = set.is_integer();
    std::string& text = n.text;
    const bool has_point = text.find('.') != text.npos, has_exponent = text.find_first_of("eE") != text.npos;
    const char last = text.empty() ? '\0' : text.back();
    const bool after_digit = last >= '0' && last <= '9';
    if (c >= '0' && c <= '9') {
      if (text == "0" || text == "-0") return;
    } else if (c == '-') {
      if (!text.empty() && last != 'e' && last != 'E') return;
    } else if (c == '+') {
      if (last != 'e' && last != 'E') return;
    } else if (c == '.') {
      if (!after_digit || has_point || has_exponent || (integer && !exact)) return;
    } else if (c == 'e' || c == 'E') {
      if (!after_digit || has_exponent || (!exact && !(free && !integer))) return;
    } else {
      return;
    }
    text += static_cast<char>(c);
    if (free && !exact && last_digits(text) > (has_exponent ? kMostExponentDigits : kMostDigits)) return;
    if (free) text = representative(text, exact);
    else if (!exact && !set.has_prefix(text)) return;
    moves.add(head(Kind::number, exact).put(n.set).put_text(text).take());
  }
  static size_t last_digits(const std::string& text) { return text.size() - 1 - text.find_last_not_of("0123456789"); }
  // The shortest text after which the same may follow: in an answer digits count, in a text that is given one stands for all.
  static std::string representative(const std::string& text, bool exact) {
    const char last = text.back();
    const std::string digits(exact ? std::min<size_t>(last_digits(text), 1) : last_digits(text), '1');
    if (const size_t e = text.find_first_of("eE"); e != text.npos) return (last == 'e' || last == 'E' ? "1e" : "1e+") + digits;
    if (text.find('.') != text.npos) return "1." + digits;
    if (text == "-") return "-";
    return text == "0" || text == "-0" ? "0" : digits;
  }

  // --- Strings.
  struct String {
    uint32_t table;
    bool open;
    uint32_t at;
    uint64_t least, most;  // characters still to come
    Lexer lexer;
  };
  static std::string text_of(const String& s, bool exact) {
    return head(Kind::string, exact).put(s.table).put(s.open).put(s.at).put(s.least).put(s.most).put(s.lexer.phase).put(s.lexer.digits)
        .put(s.lexer.code).put(s.lexer.high).take();
  }
  static String string_of(Reader& reader) {
    String s;
    reader.get(s.table), reader.get(s.open), reader.get(s.at), reader.get(s.least), reader.get(s.most);
    reader.get(s.lexer.phase), reader.get(s.lexer.digits), reader.get(s.lexer.code), reader.get(s.lexer.high);
    return s;
  }

  void read_text(Reader& reader, bool exact, uint8_t c, Moves& moves) const {
    String s = string_of(reader);
    const StringTable& table = tables_.string(s.table);
    if (!s.open) {
      if (c != '"') return;
      s.open = true;
      return moves.add(text_of(s, exact));
    }
    const auto feed_to = [&](String& to, std::string_view bytes) {
      to.at = table.dfa.read(to.at, bytes);
      if ((static_cast<uint8_t>(bytes[0]) & 0xC0) != 0x80) {  // another character
        if (to.most == 0) return false;
        if (to.most != kUnlimited) --to.most;
        if (to.least) --to.least;
      }
      return to.at != 0;
    };
    const bool any = exact || (s.most == kUnlimited && is_every_text(table.dfa));
    const Read done = read_string(s.lexer, c, exact, any, [&](std::string_view bytes) { return feed_to(s, bytes); }, [&](std::string_view bytes) {
      String copy = s;
      return feed_to(copy, bytes);
    });
    if (done == Read::refused) return;
    if (done == Read::stays) return moves.add(text_of(s, exact));
    if (table.dfa.labels[s.at] && s.least == 0) moves.add();
  }
  // UTF-8 and nothing else: its start is the only state in which a text may end, and stays so after ASCII.
  static bool is_every_text(const Dfa& dfa) {
    for (unsigned b = 0; b < 0x80; ++b)
      if (dfa.step(dfa.start, static_cast<uint8_t>(b)) != dfa.start) return false;
    const std::string_view samples[] = {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    return dfa.labels[dfa.start] && std::all_of(std::begin(samples), std::end(samples), [&](std::string_view s) {
             return dfa.labels[dfa.read(dfa.start, s)] != 0;
           });
  }

  // --- Arrays.
  struct Array {
    enum Phase : uint8_t { before, first, after, next };
    uint32_t table = 0;
    ArrayState state;
    Phase phase = before;
    Space space;
  };
  static std::string text_of(const Array& a, bool exact) {
    Writer writer = head(Kind::array, exact);
    writer.put(a.table).put(a.state.length).put(a.phase).put(a.space.count).put(static_cast<uint8_t>(a.state.counts.size()));
    for (const uint64_t count : a.state.counts) writer.put(count);
    return writer.take();
  }
  static Array array_of(Reader& reader) {
    Array a;
    uint8_t counts;
    reader.get(a.table), reader.get(a.state.length), reader.get(a.phase), reader.get(a.space.count), reader.get(counts);
    a.state.counts.resize(counts);
    for (uint64_t& count : a.state.counts) reader.get(count);
    return a;
  }

  void read_array(Reader& reader, bool exact, uint8_t c, Moves& moves) const {
    Array a = array_of(reader);
    const ArrayTable& table = tables_.array(a.table);
    if (a.phase == Array::before) {
      if (c != '[') return;
      a.phase = Array::first;
      return moves.add(text_of(a, exact));
    }
    const bool can_end = a.phase != Array::next && tables_.can_end(table, a.state);
    // In an answer, blanks after an item come before the end only.
    if (a.phase != Array::after || exact || can_end)
      if (Array spaced = a; spaced.space.read(c, exact)) return moves.add(text_of(spaced, exact));
    if (c == ']' && can_end) return moves.add();
    if (c != ',' || a.phase != Array::after || (!exact && a.space.count)) return;
    for (uint32_t set = 0; set < uint32_t{1} << table.contains.size(); ++set) {
      ArrayState state = a.state;
      uint32_t node;
      if (!tables_.take(table, state, set, node)) continue;
      a.phase = Array::next;
      a.space = {};
      return moves.add(text_of(a, exact));
    }
  }

  // --- Objects.
  struct Object {
    enum Phase : uint8_t { before, first, in_key, after_key, before_value, after, next };
    uint32_t table = 0;
    ObjectState state;
    Phase phase = before;
    Space space;
    // Of an outline what was seen is not known. In a key that began before the token, it is taken for a new one (refused()
    // has the others); of further keys in a token it is not known whether they are.
    enum Outline : uint8_t { none, in_new_key, unknown } outline = none;
    uint32_t at = 0;        // of the keys' dfa, in a key
    Lexer lexer;
    std::string key;        // so far
    uint32_t node = 0;      // of the value, after a key
  };
  static std::string text_of(const Object& o, bool exact) {
    Writer writer = head(Kind::object, exact);
    writer.put(o.table).put(o.phase).put(o.space.count).put(o.outline).put(o.at).put(o.lexer.phase).put(o.lexer.digits).put(o.lexer.code)
        .put(o.lexer.high).put(o.node).put(o.state.size).put(o.state.seen_witnesses).put_text(o.state.seen).put_text(o.key)
        .put(static_cast<uint32_t>(o.state.others.size()));
    for (const std::string& other : o.state.others) writer.put_text(other);
    return writer.take();
  }
  static Object object_of(Reader& reader) {
    Object o;
    uint32_t others;
    reader.get(o.table), reader.get(o.phase), reader.get(o.space.count), reader.get(o.outline), reader.get(o.at), reader.get(o.lexer.phase);
    reader.get(o.lexer.digits), reader.get(o.lexer.code), reader.get(o.lexer.high), reader.get(o.node), reader.get(o.state.size);
    reader.get(o.state.seen_witnesses), reader.get_text(o.state.seen), reader.get_text(o.key), reader.get(others);
    o.state.others.resize(others);
    for (std::string& other : o.state.others) reader.get_text(other);
    return o;
  }

  void read_object(Reader& reader, bool exact, uint8_t c, Moves& moves) const {
    Object o = object_of(reader);
    const ObjectTable& table = tables_.object(o.table);
    const auto go = [&](Object::Phase phase) {
      o.phase = phase;
      o.space = {};
      moves.add(text_of(o, exact));
    };
    if (o.phase == Object::before) return c == '{' ? go(Object::first) : void();
    if (o.phase == Object::in_key) return read_key(o, exact, c, moves);
    const bool may_end = o.phase == Object::first || o.phase == Object::after;
    const bool can_end = may_end && !o.outline && tables_.is_complete(table, o.state);
    const bool takes_space = o.phase == Object::after ? exact || can_end : o.phase != Object::after_key || exact;
    if (may_end && o.outline && (c == '}' || (o.phase == Object::after && (c == ' ' || c == '\n' || c == '\t')))) {
      moves.unknown = true;
      return;
    }
    if (takes_space)
      if (Object spaced = o; spaced.space.read(c, exact)) return moves.add(text_of(spaced, exact));
    if (c == '}' && can_end) return moves.add();
    if (c == ':' && o.phase == Object::after_key) return go(Object::before_value);
    const bool has_key = o.outline || tables_.has_key(table, o.state, table.keys.start, "");
    if (c == ',' && o.phase == Object::after && (exact || !o.space.count) && has_key) return go(Object::next);
    if (c == '"' && (o.phase == Object::first || o.phase == Object::next) && has_key) {
      o.at = table.keys.start;
      o.lexer = {};
      o.key.clear();
      return go(Object::in_key);
    }
  }

  void read_key(Object o, bool exact, uint8_t c, Moves& moves) const {
    const ObjectTable& table = tables_.object(o.table);
    bool unknown = o.outline == Object::unknown && o.lexer.phase == Lexer::text && c == '"';
    if (c == '\\' && o.outline) o.outline = Object::unknown;
    const auto feed_to = [&](Object& to, std::string_view bytes) {
      to.at = table.keys.read(to.at, bytes);
      if (to.outline) {
        if (to.at && table.others[to.at] != kInfinite) unknown = true;
        return to.at != 0;
      }
      to.key += bytes;
      return exact ? to.at != 0 : tables_.has_key(table, to.state, to.at, to.key);
    };
    const Read done = read_string(o.lexer, c, exact, exact, [&](std::string_view bytes) { return feed_to(o, bytes); }, [&](std::string_view bytes) {
      Object copy = o;
      return feed_to(copy, bytes);
    });
    if (unknown) {
      moves.unknown = true;
      return;
    }
    if (done == Read::refused) return;
    if (done == Read::stays) return moves.add(text_of(o, exact));
    const uint32_t label = table.keys.labels[o.at];
    if (!label) return;
    if (o.outline) {
      o.node = table.classes[label - 1][0];
      o.outline = Object::unknown;
      o.phase = Object::after_key;
      o.at = 0;
      o.lexer = {};
      return moves.add(text_of(o, exact));
    }
    for (uint32_t set = 0; set < uint32_t{1} << table.witnesses; ++set) {
      Object after = o;
      if (!tables_.take(table, after.state, label - 1, o.key, set, after.node)) continue;
      after.phase = Object::after_key;
      after.at = 0;
      after.key.clear();
      after.lexer = {};
      moves.add(text_of(after, exact));
    }
  }

  SchemaTables tables_;
};

}  // namespace

std::unique_ptr<Automaton> schema_automaton(std::string_view json) { return std::make_unique<SchemaAutomaton>(json); }

}  // namespace ds::constrain
