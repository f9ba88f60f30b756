// One rendering of a template: the variables, and the evaluation of expressions and statements.
#pragma once
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/ast.h"
#include "text/template/value.h"

namespace ds::jinja {

// Variables by their number in the template. A loop's body, a macro and some blocks have a scope each.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;
};
using ScopePtr = std::shared_ptr<Scope>;

// Text that is being made, counted in the budget while it lives.
class Sink {
 public:
  explicit Sink(Budget& budget) : budget_(budget) {}
  ~Sink() { budget_.release(counted_); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  void append(const Value& value);
  void append(std::string_view text);
  std::string take() { return std::move(text_); }

 private:
  Budget& budget_;
  std::string text_;
  size_t counted_ = 0;
};

struct Loop;

class Render {
 public:
  Render(const Template& program, Budget& budget);
  ~Render();
  Render(const Render&) = delete;
  Render& operator=(const Render&) = delete;

  void set(std::string_view name, Value value);        // a variable of the template, where it names it
  std::string run();
  int line() const { return line_; }                   // of what is evaluated, for messages

  Budget& budget() { return budget_; }
  Value string(std::string text, bool markup = false) { return jinja::string(&budget_, std::move(text), markup); }
  Value list(std::vector<Value> items, Kind kind = Kind::list) { return jinja::list(&budget_, std::move(items), kind); }
  // object.name and object[key], with Jinja's fall back from one to the other.
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  Value make_name_space(Arguments& arguments);

 private:
  enum class Flow : uint8_t { on, leave, next };        // on: to the next statement; break; continue
  struct Depth {                                        // how deep evaluation has gone, and a step
    explicit Depth(Render& render);
    ~Depth() { --render.depth_; }
    Render& render;
  };

  Value evaluate(const Expression& node, const ScopePtr& scope);
  Value evaluate_binary(const Expression& node, const ScopePtr& scope);
  Value evaluate_compare(const Expression& node, const ScopePtr& scope);
  Value evaluate_concat(const Expression& node, const ScopePtr& scope);
  Value evaluate_conditional(const Expression& node, const ScopePtr& scope);
  Value evaluate_slice(const Expression& node, const ScopePtr& scope);
  Value evaluate_call(const Expression& node, const ScopePtr& scope, Value caller);
  Value evaluate_filter(const Expression& node, const ScopePtr& scope, const Value* input);
  Value evaluate_collection(const Expression& node, const ScopePtr& scope);
  Value evaluate_name(const Expression& node, const ScopePtr& scope);
  Arguments evaluate_arguments(const CallArguments& arguments, const ScopePtr& scope);

  Flow execute(const Block& block, const ScopePtr& scope, Sink& out);
  Flow execute(const Statement& statement, const ScopePtr& scope, Sink& out);
  Flow execute_branch(const Statement& statement, const ScopePtr& scope, Sink& out);
  Flow execute_block(const Statement& statement, const ScopePtr& scope, Sink& out);
  Flow execute_loop(const Statement& statement, const ScopePtr& scope, const Value& source, int depth0, Sink& out);
  Flow execute_with(const Statement& statement, const ScopePtr& scope, Sink& out);
  Value macro(const Statement& statement, const ScopePtr& scope);
  Value call_macro(const Statement& statement, const ScopePtr& scope, Arguments& arguments);
  Value loop_attribute(const Value& loop, const std::string& name);
  void assign(const Expression& target, Value value, const ScopePtr& scope);
  ScopePtr inner(const ScopePtr& scope);
  const Value* find(int symbol, const ScopePtr& scope) const;
  int number(std::string_view name) const;              // -1: the template does not name it
  void add_globals();

  const Template& program_;
  Budget& budget_;
  int line_ = 1, depth_ = 0;
  int loop_symbol_, caller_symbol_, kwargs_symbol_, varargs_symbol_;
  ScopePtr context_;
  // What may hold itself through others: emptied at the end.
  std::vector<ScopePtr> captured_;
  std::vector<std::shared_ptr<Dict>> name_spaces_;
};

// A loop that runs, as its body sees it.
struct Loop : Object {
  explicit Loop(Budget* b) : Object(b, sizeof(Loop)) {}
  bool next(Value& out);
  const Value& peek();                                  // undefined where there is no further item; `has_after` tells
  Next source;
  bool has_after = false, is_at_end = false;
  Value after, current, before;
  int64_t index0 = -1, known_length = -1;
  int depth0 = 0;
  std::function<Value(Arguments&)> recurse;             // empty where the loop is not recursive
};

// Arguments by the names of parameters, null where absent. `what` begins the message of an Error; the first `required`
// must be there, and the first `positional_only` cannot be named.
std::vector<const Value*> bind(const Arguments& arguments, std::string_view what,
                               std::initializer_list<std::string_view> names, size_t required,
                               size_t positional_only = 0);

// A method of str, list, tuple or dict; null where the type has none of the name. One that is not supported, or that
// would change its object (which the sandbox of transformers refuses), fails when called.
using Method = Value (*)(Render&, const Value& self, Arguments&);
Method find_method(Kind kind, std::string_view name);

// Operators of Python, with its types and errors.
Value arithmetic(Render& render, Expression::Type type, const Value& a, const Value& b);
Value negated(const Value& value);
// "..." % values, and "...".format(arguments).
std::string format_percent(Render& render, const std::string& format, const Value& values);
std::string format_braces(Render& render, const std::string& format, const Arguments& arguments);
std::string strftime_now(const std::string& format);
// text.replace(old, fresh, count), all where count < 0; filled up to a width on the 'l'eft, 'r'ight or 'c'enter.
std::string replaced(Budget& budget, const std::string& text, const std::string& old, const std::string& fresh,
                     int64_t count);
std::string justify(Budget& budget, const std::string& text, int64_t width, const std::string& fill, char side);
// What is added to text that is marked safe.
std::string escaped(Budget& budget, const Value& value);

}  // namespace ds::jinja
