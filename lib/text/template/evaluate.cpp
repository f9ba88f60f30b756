#include "text/template/evaluate.h"

#include <algorithm>

#include "base/error.h"
#include "text/template/strings.h"

namespace ds::jinja {
namespace {

using Type = Expression::Type;

// Evaluations within evaluations; each takes less than a kilobyte of stack.
constexpr int max_depth = 1000;

std::optional<int64_t> slice_bound(const Value& value) {
  return value.is(Kind::none) ? std::nullopt : std::optional(integer_of(value, "slice"));
}

}  // namespace

Render::Depth::Depth(Render& r) : render(r) {
  require(++render.depth_ <= max_depth, "the template calls itself too deeply: more than ", max_depth, " levels");
  render.budget_.step();
}

Value Render::evaluate(const Expression& node, const ScopePtr& scope) {
  const Depth depth(*this);
  line_ = node.line;
  switch (node.type) {
    case Type::constant: return node.value;
    case Type::name: return evaluate_name(node, scope);
    case Type::tuple: case Type::list: case Type::dict: return evaluate_collection(node, scope);
    case Type::negate: return negated(evaluate(*node.children[0], scope));
    case Type::plus: {
      Value value = evaluate(*node.children[0], scope);
      if (value.is(Kind::undefined)) fail_undefined(value);
      require(is_number(value), "bad operand type for unary +: '", type_name(value), "'");
      return value.is(Kind::boolean) ? integer(value.boolean) : value;
    }
    case Type::logical_not: return boolean(!truthy(evaluate(*node.children[0], scope)));
    case Type::logical_and: {
      Value left = evaluate(*node.children[0], scope);
      return truthy(left) ? evaluate(*node.children[1], scope) : left;
    }
    case Type::logical_or: {
      Value left = evaluate(*node.children[0], scope);
      return truthy(left) ? left : evaluate(*node.children[1], scope);
    }
    case Type::conditional: return evaluate_conditional(node, scope);
    case Type::compare: return evaluate_compare(node, scope);
    case Type::concat: return evaluate_concat(node, scope);
    case Type::attribute: {
      const Value object = evaluate(*node.children[0], scope);
      line_ = node.line;
      return attribute(object, node.text);
    }
    case Type::item: {
      const Value object = evaluate(*node.children[0], scope), key = evaluate(*node.children[1], scope);
      return item(object, key);
    }
    case Type::slice: return evaluate_slice(node, scope);
    case Type::call: return evaluate_call(node, scope, none());
    case Type::filter: case Type::test: return evaluate_filter(node, scope, nullptr);
    default: return evaluate_binary(node, scope);
  }
}

const Value* Render::find(int symbol, const ScopePtr& scope) const {
  for (const Scope* at = scope.get(); at != nullptr; at = at->parent.get()) {
    budget_.step(at->variables.size() >> 4);
    for (const auto& [number, value] : at->variables)
      if (number == symbol) return &value;
  }
  return nullptr;
}

Value Render::evaluate_name(const Expression& node, const ScopePtr& scope) {
  if (const Value* const value = find(node.symbol, scope)) return *value;
  const std::string& name = program_.symbols[static_cast<size_t>(node.symbol)];
  require(name != "self" && name != "lipsum" && name != "cycler" && name != "joiner", "'", name, "' is not supported");
  return undefined(budget_, cat("'", name, "' is undefined"));
}

Value Render::evaluate_collection(const Expression& node, const ScopePtr& scope) {
  if (node.type == Type::dict) {
    auto made = std::make_shared<Dict>(&budget_);
    for (size_t i = 0; i < node.children.size(); i += 2) {
      Value key = evaluate(*node.children[i], scope);
      made->set(&budget_, std::move(key), evaluate(*node.children[i + 1], scope));
    }
    return dict(std::move(made));
  }
  std::vector<Value> items;
  for (const auto& child : node.children) items.push_back(evaluate(*child, scope));
  return list(std::move(items), node.type == Type::tuple ? Kind::tuple : Kind::list);
}

Value Render::evaluate_binary(const Expression& node, const ScopePtr& scope) {
  const Value left = evaluate(*node.children[0], scope), right = evaluate(*node.children[1], scope);
  line_ = node.line;
  return arithmetic(*this, node.type, left, right);
}

Value Render::evaluate_conditional(const Expression& node, const ScopePtr& scope) {
  if (truthy(evaluate(*node.children[0], scope))) return evaluate(*node.children[1], scope);
  if (node.children[2]) return evaluate(*node.children[2], scope);
  return undefined(budget_, "the inline if has no else, and its condition is false");
}

Value Render::evaluate_compare(const Expression& node, const ScopePtr& scope) {
  using Operator = Expression::Operator;
  Value left = evaluate(*node.children[0], scope);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    Value right = evaluate(*node.children[i + 1], scope);
    line_ = node.line;
    bool holds = false;
    switch (node.operators[i]) {
      case Operator::equal: holds = equal(budget_, left, right); break;
      case Operator::not_equal: holds = !equal(budget_, left, right); break;
      case Operator::less: holds = compare(budget_, left, right) == -1; break;
      case Operator::less_equal: holds = compare(budget_, left, right) <= 0; break;
      case Operator::greater: holds = compare(budget_, left, right) == 1; break;
      case Operator::greater_equal: {
        const int order = compare(budget_, left, right);
        holds = order == 0 || order == 1;
        break;
      }
      case Operator::in: holds = contains(budget_, right, left); break;
      case Operator::not_in: holds = !contains(budget_, right, left); break;
    }
    if (!holds) return boolean(false);
    left = std::move(right);
  }
  return boolean(true);
}

Value Render::evaluate_concat(const Expression& node, const ScopePtr& scope) {
  std::string text;
  for (const auto& child : node.children) append_str(budget_, text, evaluate(*child, scope));
  return string(std::move(text));
}

Value Render::evaluate_slice(const Expression& node, const ScopePtr& scope) {
  const Value object = evaluate(*node.children[0], scope);
  Value bounds[3] = {none(), none(), none()};
  for (size_t i = 0; i < 3; ++i)
    if (node.children[i + 1]) bounds[i] = evaluate(*node.children[i + 1], scope);
  line_ = node.line;
  if (object.is(Kind::undefined)) fail_undefined(object);
  const auto start = slice_bound(bounds[0]), stop = slice_bound(bounds[1]);
  const int64_t step = slice_bound(bounds[2]).value_or(1);
  require(step != 0, "a slice's step cannot be zero");
  if (object.is(Kind::string)) {
    if (step == 1) budget_.work(text_of(object).size());
    else budget_.scan(text_of(object).size());
    return string(slice(text_of(object), start, stop, step), object.markup);
  }
  require(object.is(Kind::list) || object.is(Kind::tuple) || object.is(Kind::range), "a '", type_name(object),
          "' cannot be sliced");
  std::vector<Value> items;
  for (const size_t place : slice_places(list_of(object).items.size(), start, stop, step)) {
    budget_.step();
    items.push_back(list_of(object).items[place]);
  }
  return list(std::move(items), object.is(Kind::tuple) ? Kind::tuple : Kind::list);
}

Arguments Render::evaluate_arguments(const CallArguments& arguments, const ScopePtr& scope) {
  Arguments out;
  for (const auto& node : arguments.positional) out.positional.push_back(evaluate(*node, scope));
  for (const auto& [name, node] : arguments.named) out.named.emplace_back(name, evaluate(*node, scope));
  if (arguments.star)
    for (Value& value : elements(budget_, evaluate(*arguments.star, scope))) out.positional.push_back(std::move(value));
  if (!arguments.double_star) return out;
  const Value more = evaluate(*arguments.double_star, scope);
  require(more.is(Kind::dict), "expected a dict after **, found ", type_name(more));
  for (const auto& [key, value] : dict_of(more).entries) {
    budget_.step(1 + out.named.size() / 8);
    require(key.is(Kind::string), "keywords must be strings");
    require(std::ranges::find(out.named, text_of(key), &std::pair<std::string, Value>::first) == out.named.end(),
            "several values for the argument '", text_of(key), "'");
    out.named.emplace_back(text_of(key), value);
  }
  return out;
}

// `caller` is none, or what a call block gives the macro.
Value Render::evaluate_call(const Expression& node, const ScopePtr& scope, Value caller) {
  const Expression& callee = *node.children[0];
  Value self, target;
  Method method = nullptr;
  if (callee.type == Type::attribute) {                // a method is called without making a value of it
    self = evaluate(*callee.children[0], scope);
    method = find_method(self.kind, callee.text);
    line_ = callee.line;
    if (method == nullptr) target = attribute(self, callee.text);
  } else {
    target = evaluate(callee, scope);
  }
  Arguments arguments = evaluate_arguments(node.arguments, scope);
  if (caller.is(Kind::function)) arguments.named.emplace_back("caller", std::move(caller));
  line_ = node.line;
  if (method != nullptr) return method(*this, self, arguments);
  if (target.is(Kind::undefined)) fail_undefined(target);
  if (target.is(Kind::loop)) {
    const auto& recurse = static_cast<Loop&>(*target.object).recurse;
    require(recurse != nullptr, "only a loop marked 'recursive' can be called");
    return recurse(arguments);
  }
  require(target.is(Kind::function), "a '", type_name(target), "' cannot be called");
  return static_cast<Function&>(*target.object).call(arguments);
}

// `input` replaces the innermost operand, which a filter block's chain lacks.
Value Render::evaluate_filter(const Expression& node, const ScopePtr& scope, const Value* input) {
  const Expression* const operand = node.children[0].get();
  Value value;
  if (operand == nullptr) value = *input;
  else value = input != nullptr ? evaluate_filter(*operand, scope, input) : evaluate(*operand, scope);
  Arguments arguments = evaluate_arguments(node.arguments, scope);
  line_ = node.line;
  require(node.filter != nullptr, "there is no ", node.type == Type::test ? "test" : "filter", " '", node.text, "'");
  return node.filter(*this, value, arguments);
}

Value Render::attribute(const Value& object, const std::string& name) {
  if (object.is(Kind::undefined)) fail_undefined(object);
  if (object.is(Kind::loop)) return loop_attribute(object, name);
  if (object.is(Kind::name_space)) {
    const Value* const found = dict_of(object).find(name);
    return found != nullptr ? *found : undefined(budget_, cat("the namespace has no attribute '", name, "'"));
  }
  if (const Method method = find_method(object.kind, name)) {
    const int depth = object.object ? object.object->depth + 1 : 1;
    return function(&budget_, name, [this, method, object](Arguments& a) { return method(*this, object, a); }, depth);
  }
  if (object.is(Kind::dict))
    if (const Value* const found = dict_of(object).find(name)) return *found;
  if (object.is(Kind::tuple) && list_of(object).name == "group" && (name == "grouper" || name == "list"))
    return list_of(object).items[name == "list" ? 1 : 0];
  if (object.is(Kind::function)) {
    require(name != "arguments" && name != "catch_kwargs" && name != "catch_varargs" && name != "caller",
            "the attribute '", name, "' of a macro is not supported");
    if (name == "name") return string(static_cast<Function&>(*object.object).name);
  }
  return undefined(budget_, cat("'", type_name(object), " object' has no attribute '", name, "'"));
}

Value Render::item(const Value& object, const Value& key) {
  if (object.is(Kind::undefined)) fail_undefined(object);
  if (object.is(Kind::dict)) {
    if (hashable(key))
      if (const Value* const found = dict_of(object).find(budget_, key)) return *found;
  } else if ((object.is(Kind::string) || object.is(Kind::list) || object.is(Kind::tuple) || object.is(Kind::range)) &&
             (key.is(Kind::integer) || key.is(Kind::boolean))) {
    const int64_t size = length(object), at = integer_of(key, "index"), place = at < 0 ? at + size : at;
    if (place >= 0 && place < size) {
      if (!object.is(Kind::string)) return list_of(object).items[static_cast<size_t>(place)];
      budget_.work(text_of(object).size());
      return string(slice(text_of(object), place, place + 1, 1), object.markup);
    }
  }
  if (key.is(Kind::string) && !object.is(Kind::dict)) return attribute(object, text_of(key));
  if (key.is(Kind::string))
    if (const Method method = find_method(Kind::dict, text_of(key)))
      return function(&budget_, text_of(key), [this, method, object](Arguments& a) { return method(*this, object, a); },
                      object.object->depth + 1);
  return undefined(budget_, cat("'", type_name(object), " object' has no element ",
                                key.is(Kind::string) ? quoted_repr(text_of(key)) : type_name(key)));
}

}  // namespace ds::jinja
