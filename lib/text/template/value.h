// The values that a chat template computes with, and what Python does with them: str, repr, truth, equality, order.
// Values never change once made, except namespaces; they may be shared by threads when they came from the template.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/json.h"

namespace ds::jinja {

constexpr size_t max_text_bytes = size_t{64} << 20;   // of any one text, the output included
constexpr int max_value_depth = 1000;                 // lists in lists

// What one render has used: steps of work, and memory that is alive. Passing a limit is an Error.
class Budget {
 public:
  void step(uint64_t count = 1);
  void work(size_t bytes) { step(bytes >> 6); }       // that copies, compares or searches so many bytes
  void scan(size_t bytes) { step(bytes >> 3); }       // that looks at the characters one by one
  void allocate(size_t bytes);
  void release(size_t bytes) noexcept { alive_ -= bytes; }

 private:
  uint64_t steps_ = 0;
  size_t alive_ = 0;
};

// Counts itself in the budget, where there is one (parts of the template and of the conversation have none).
struct Object {
  Object(Budget* budget, size_t bytes, int depth = 0);
  virtual ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  Budget* budget;
  size_t bytes;
  int depth;                                          // 1 + that of what it holds
};

enum class Kind : uint8_t {
  undefined, none, boolean, integer, real, string, list, tuple, range, view, dict, name_space, function, iterator, loop
};

struct Value {
  Kind kind = Kind::undefined;
  bool markup = false;                                // string: marked safe, so that what is added to it is escaped
  union {
    bool boolean;
    int64_t integer = 0;
    double real;
  };
  std::shared_ptr<Object> object;                     // integer: null, else its digits where 64 bits do not hold it

  bool is(Kind k) const { return kind == k; }
};

struct Text : Object {                                // string; the digits of an integer; why a value is undefined
  Text(Budget* budget, std::string s) : Object(budget, sizeof(Text) + s.size()), text(std::move(s)) {}
  std::string text;
};
struct List : Object {                                // list, tuple, range, view
  List(Budget* budget, std::vector<Value> values);
  std::vector<Value> items;
  std::string_view name;                              // view: "dict_items"; tuple: "group" where it is one of groupby
  int64_t start = 0, stop = 0, step = 1;              // range
};
struct Dict : Object {                                // dict, name_space
  explicit Dict(Budget* b) : Object(b, sizeof(Dict)) {}
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string_view, size_t> index;  // of keys that are strings, where there are many entries
  bool is_name_space = false;                         // which may hold itself: its depth stays 0
  const Value* find(std::string_view key) const;
  const Value* find(Budget& budget, const Value& key) const;
  void set(Budget* budget, Value key, Value value);   // a key that is there keeps its place
};
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};
struct Function : Object {                            // a global, a macro, or a method with its object
  Function(Budget* b, std::string n, std::function<Value(Arguments&)> f, int depth = 0)
      : Object(b, sizeof(Function) + 64, depth), name(std::move(n)), call(std::move(f)) {}
  std::string name;
  std::function<Value(Arguments&)> call;
};
using Next = std::function<bool(Value&)>;             // false at the end
struct Iterator : Object {                            // a generator: it can be walked once
  Iterator(Budget* b, Next n, int depth) : Object(b, sizeof(Iterator) + 64, depth), next(std::move(n)) {}
  Next next;
};

Value undefined(Budget& budget, std::string why);
Value none();
Value boolean(bool value);
Value integer(int64_t value);
Value real(double value);
Value string(Budget* budget, std::string text, bool markup = false);
Value list(Budget* budget, std::vector<Value> items, Kind kind = Kind::list);
Value view(Budget* budget, std::vector<Value> items, std::string_view name);
Value function(Budget* budget, std::string name, std::function<Value(Arguments&)> call, int depth = 0);
Value iterator(Budget* budget, Next next, const Value& source);
Value dict(std::shared_ptr<Dict> entries);
Value from_json(const Json& json);

const std::string& text_of(const Value& value);       // of a string
const List& list_of(const Value& value);              // of a list, tuple, range or view
Dict& dict_of(const Value& value);                    // of a dict or name_space
int64_t integer_of(const Value& value,
                   std::string_view what);            // of an integer or boolean, else an Error that begins with `what`
bool is_number(const Value& value);                   // boolean, integer, real
bool is_sequence(const Value& value);                 // list, tuple, range, view
double real_of(const Value& value);                   // of a number
std::string type_name(const Value& value);            // as Python says it: "str"
[[noreturn]] void fail_undefined(const Value& value);

// Appends, and fails where the text grows beyond max_text_bytes.
void append(Budget& budget, std::string& out, std::string_view text);
void append_str(Budget& budget, std::string& out, const Value& value);
void append_repr(Budget& budget, std::string& out, const Value& value);
std::string str(Budget& budget, const Value& value);
std::string real_repr(double value);

bool truthy(const Value& value);
bool equal(Budget& budget, const Value& a, const Value& b);
// a < 0, 0 or > 0; what has no order is an Error. Two reals of which one is no number compare as 2.
int compare(Budget& budget, const Value& a, const Value& b);
bool contains(Budget& budget, const Value& container, const Value& item);
bool hashable(const Value& value);
// Elements of a list, characters of a string, keys of a dict; nothing of what is undefined; else an Error.
Next iterate(Budget& budget, const Value& value);
std::vector<Value> elements(Budget& budget, const Value& value);
// Python's len(); -1 where the value has none.
int64_t length(const Value& value);

// json.dumps
struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false, pretty = false;
  std::string indent, item_separator = ", ", key_separator = ": ";
};
void append_json(Budget& budget, std::string& out, const Value& value, const JsonStyle& style, int depth = 0);

}  // namespace ds::jinja
