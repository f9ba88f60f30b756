// A parsed chat template: a tree of expressions and statements. Immutable; shared by all threads that render.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace ds::jinja {

class Render;
// A filter or a test of the language: what it is applied to, and what stands in its parentheses.
using Filter = Value (*)(Render&, const Value&, Arguments&);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, double_star;                    // f(*list, **dict), or null
};

struct Expression {
  enum class Type : uint8_t {
    constant,  // value
    name,      // symbol
    tuple,
    list,
    dict,  // children; a dict's are key, value, key, value
    negate,
    plus,
    logical_not,  // children[0]
    logical_and,
    logical_or,  // children[0], children[1]
    add,
    subtract,
    multiply,
    divide,
    floor_divide,
    modulo,
    power,
    conditional,           // children: condition, then, else or null
    compare,               // children[0] operators[0] children[1] operators[1] ...
    concat,                // children
    attribute,             // children[0].text
    name_space_attribute,  // as the target of an assignment: symbol.text
    item,                  // children[0][children[1]]
    slice,                 // children[0][children[1]:children[2]:children[3]], each may be null
    call,                  // children[0](arguments)
    filter,
    test  // children[0] | text(arguments), children[0] is text(arguments)
  };
  enum class Operator : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };

  Type type = Type::constant;
  int line = 0, depth = 1;
  int symbol = -1;                                    // of a name: its number in the template
  std::string text;
  Value value;
  std::vector<ExpressionPtr> children;                // the first of a filter block's chain is null
  std::vector<Operator> operators;
  CallArguments arguments;
  Filter filter = nullptr;  // null: the language has none of this name, which is an Error when met
};

struct Parameter {
  int symbol;
  std::string name;
  ExpressionPtr otherwise;                            // or null
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Type : uint8_t {
    text,          // text
    print,         // expressions
    set,           // target = expressions[0]
    set_block,     // target = body, through expressions[0] (filters) or null
    loop,          // for target in expressions[0] if expressions[1] or null: body, else otherwise
    branch,        // if expressions[i]: branches[i], ..., else otherwise
    macro,         // target's symbol, parameters, body
    call_block,    // call(parameters) expressions[0]: body
    filter_block,  // body through expressions[0]
    with,          // targets[i] = expressions[i]; body
    generation,    // body
    break_loop,
    continue_loop
  };

  Type type = Type::text;
  int line = 0;
  std::string text;                                   // of text; the name of a macro
  std::vector<ExpressionPtr> expressions;
  std::vector<ExpressionPtr> targets;                 // one, but for with
  std::vector<Parameter> parameters;
  bool takes_caller = false, takes_kwargs = false, takes_varargs = false;  // macro, call_block: the body names them
  bool is_recursive = false;                          // loop
  Block body, otherwise;
  std::vector<Block> branches;
};

struct Template {
  Block body;
  std::vector<std::string> symbols;                   // every name of the template
};

// `where` begins the message of an Error, then the line.
Template parse(std::string_view source, const std::string& where);

// The filter or test of a name; null where there is none, or it is one of Jinja's that is not supported here.
Filter find_filter(std::string_view name);
Filter find_test(std::string_view name);
bool is_unsupported_filter(std::string_view name);

}  // namespace ds::jinja
