// Statements of a template, and the functions that it finds there.
#include <algorithm>

#include "base/error.h"
#include "text/template/evaluate.h"
#include "text/template/strings.h"

namespace ds::jinja {
namespace {

using Type = Statement::Type;

constexpr int64_t max_range = 100'000;                 // of the sandbox of Jinja

Value make_range(Render& render, Arguments& arguments) {
  const auto given = bind(arguments, "range()", {"start", "stop", "step"}, 1, 3);
  int64_t start = 0, stop = integer_of(*given[0], "range()"), step = 1;
  if (given[1] != nullptr) start = stop, stop = integer_of(*given[1], "range()");
  if (given[2] != nullptr) step = integer_of(*given[2], "range()");
  require(step != 0, "range(): the step is zero");
  // Distances of 64-bit numbers may take 65 bits.
  const auto distance = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const auto stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 count = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  require(count <= max_range, "range(): more than ", max_range, " numbers");
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.push_back(integer(start + i * step));
  render.budget().step(items.size());
  Value out = render.list(std::move(items), Kind::range);
  auto& list = static_cast<List&>(*out.object);
  list.start = start, list.stop = stop, list.step = step;
  return out;
}

// dict(other, key=value): a mapping or pairs, then named arguments.
std::shared_ptr<Dict> make_dict(Budget& budget, Arguments& arguments) {
  auto out = std::make_shared<Dict>(&budget);
  require(arguments.positional.size() <= 1, "dict(): at most 1 argument without a name");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::dict)) {
      for (const auto& [key, value] : dict_of(source).entries) out->set(&budget, key, value);
    } else {
      const Next next = iterate(budget, source);
      for (Value pair; next(pair);) {
        const std::vector<Value> two = elements(budget, pair);
        require(two.size() == 2, "dict(): expected pairs");
        out->set(&budget, two[0], two[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) out->set(&budget, string(&budget, name), value);
  return out;
}

void check_name_space_name(const std::string& name) {
  require(!name.starts_with('_'), "an attribute of a namespace cannot begin with an underscore: '", name, "'");
}

}  // namespace

void Sink::append(std::string_view text) {
  budget_.allocate(text.size());
  counted_ += text.size();
  jinja::append(budget_, text_, text);
}

void Sink::append(const Value& value) {
  if (value.is(Kind::string)) append(text_of(value));
  else append(str(budget_, value));
}

Render::Render(const Template& program, Budget& budget)
    : program_(program), budget_(budget), context_(std::make_shared<Scope>()) {
  loop_symbol_ = number("loop");
  caller_symbol_ = number("caller");
  kwargs_symbol_ = number("kwargs");
  varargs_symbol_ = number("varargs");
  add_globals();
}

Render::~Render() {
  for (const auto& scope : captured_) scope->variables.clear();
  for (const auto& space : name_spaces_) space->index.clear(), space->entries.clear();
}

int Render::number(std::string_view name) const {
  const auto found = std::ranges::find(program_.symbols, name);
  return found == program_.symbols.end() ? -1 : static_cast<int>(found - program_.symbols.begin());
}

void Render::set(std::string_view name, Value value) {
  const int symbol = number(name);
  if (symbol < 0) return;
  for (auto& [number, old] : context_->variables)
    if (number == symbol) {
      old = std::move(value);
      return;
    }
  context_->variables.emplace_back(symbol, std::move(value));
}

void Render::add_globals() {
  const auto add = [&](const char* name, std::function<Value(Arguments&)> call) {
    set(name, function(&budget_, name, std::move(call)));
  };
  add("range", [this](Arguments& a) { return make_range(*this, a); });
  add("dict", [this](Arguments& a) { return jinja::dict(make_dict(budget_, a)); });
  add("namespace", [this](Arguments& a) { return make_name_space(a); });
  add("raise_exception",
      [this](Arguments& a) -> Value { fail(str(budget_, *bind(a, "raise_exception()", {"message"}, 1)[0])); });
  add("strftime_now", [this](Arguments& a) {
    const Value& format = *bind(a, "strftime_now()", {"format"}, 1)[0];
    require(format.is(Kind::string), "strftime_now(): expected a string, found ", type_name(format));
    return string(strftime_now(text_of(format)));
  });
}

Value Render::make_name_space(Arguments& arguments) {
  auto made = make_dict(budget_, arguments);
  for (const auto& [key, value] : made->entries)
    if (key.is(Kind::string)) check_name_space_name(text_of(key));
  made->is_name_space = true;
  name_spaces_.push_back(made);
  Value out = jinja::dict(std::move(made));
  out.kind = Kind::name_space;
  return out;
}

std::string Render::run() {
  Sink out(budget_);
  execute(program_.body, inner(context_), out);
  return out.take();
}

ScopePtr Render::inner(const ScopePtr& scope) {
  budget_.step();
  auto made = std::make_shared<Scope>();
  made->parent = scope;
  return made;
}

void Render::assign(const Expression& target, Value value, const ScopePtr& scope) {
  if (target.type == Expression::Type::tuple) {
    const std::vector<Value> items = elements(budget_, value);
    require(items.size() == target.children.size(), "expected ", target.children.size(), " values to unpack, found ",
            items.size());
    for (size_t i = 0; i < items.size(); ++i) assign(*target.children[i], items[i], scope);
    return;
  }
  if (target.type == Expression::Type::name_space_attribute) {
    const Value* const space = find(target.symbol, scope);
    require(space != nullptr && space->is(Kind::name_space), "cannot assign to an attribute of '",
            program_.symbols[static_cast<size_t>(target.symbol)], "', which is no namespace");
    check_name_space_name(target.text);
    const Value held = *space;
    dict_of(held).set(&budget_, string(target.text), std::move(value));
    return;
  }
  budget_.step(scope->variables.size() >> 4);
  for (auto& [number, old] : scope->variables)
    if (number == target.symbol) {
      old = std::move(value);
      return;
    }
  scope->variables.emplace_back(target.symbol, std::move(value));
}

Render::Flow Render::execute(const Block& block, const ScopePtr& scope, Sink& out) {
  const Depth depth(*this);
  for (const Statement& statement : block)
    if (const Flow flow = execute(statement, scope, out); flow != Flow::on) return flow;
  return Flow::on;
}

Render::Flow Render::execute(const Statement& statement, const ScopePtr& scope, Sink& out) {
  line_ = statement.line;
  budget_.step();
  switch (statement.type) {
    case Type::text: out.append(statement.text); return Flow::on;
    case Type::print:
      for (const auto& node : statement.expressions) out.append(evaluate(*node, scope));
      return Flow::on;
    case Type::set: assign(*statement.targets[0], evaluate(*statement.expressions[0], scope), scope); return Flow::on;
    case Type::set_block: case Type::filter_block: return execute_block(statement, scope, out);
    case Type::loop: return execute_loop(statement, scope, evaluate(*statement.expressions[0], scope), 0, out);
    case Type::branch: return execute_branch(statement, scope, out);
    case Type::macro: {
      assign(*statement.targets[0], macro(statement, scope), scope);
      return Flow::on;
    }
    case Type::call_block: {
      Value caller = macro(statement, scope);
      out.append(evaluate_call(*statement.expressions[0], scope, std::move(caller)));
      return Flow::on;
    }
    case Type::with: return execute_with(statement, scope, out);
    case Type::generation: execute(statement.body, inner(scope), out); return Flow::on;
    case Type::break_loop: return Flow::leave;
    case Type::continue_loop: return Flow::next;
  }
  return Flow::on;
}

Render::Flow Render::execute_branch(const Statement& statement, const ScopePtr& scope, Sink& out) {
  for (size_t i = 0; i < statement.branches.size(); ++i)
    if (truthy(evaluate(*statement.expressions[i], scope))) return execute(statement.branches[i], scope, out);
  return execute(statement.otherwise, scope, out);
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}
Render::Flow Render::execute_block(const Statement& statement, const ScopePtr& scope, Sink& out) {
  Value text;
  {
    Sink body(budget_);
    if (const Flow flow = execute(statement.body, inner(scope), body); flow != Flow::on) return flow;
    text = string(body.take());
  }
  if (statement.expressions[0]) text = evaluate_filter(*statement.expressions[0], scope, &text);
  if (statement.type == Type::filter_block) out.append(text);
  else assign(*statement.targets[0], std::move(text), scope);
  return Flow::on;
}

Render::Flow Render::execute_with(const Statement& statement, const ScopePtr& scope, Sink& out) {
  const ScopePtr body = inner(scope);
  std::vector<Value> values;                           // all before any name has its value
  for (const auto& node : statement.expressions) values.push_back(evaluate(*node, scope));
  for (size_t i = 0; i < values.size(); ++i) assign(*statement.targets[i], std::move(values[i]), body);
  return execute(statement.body, body, out);
}

Render::Flow Render::execute_loop(const Statement& statement, const ScopePtr& scope, const Value& source, int depth0,
                                  Sink& out) {
  const auto loop = std::make_shared<Loop>(&budget_);
  loop->depth0 = depth0;
  const Expression* const condition = statement.expressions[1].get();
  loop->source = iterate(budget_, source);
  if (condition == nullptr) {
    loop->known_length = length(source);
  } else {
    loop->source = [this, &statement, condition, scope, all = loop->source](Value& item) {
      while (all(item)) {
        const ScopePtr test = inner(scope);
        assign(*statement.targets[0], item, test);
        if (truthy(evaluate(*condition, test))) return true;
      }
      return false;
    };
  }
  if (statement.is_recursive)
    loop->recurse = [this, &statement, scope, depth0](Arguments& arguments) {
      Sink body(budget_);
      execute_loop(statement, scope, *bind(arguments, "loop()", {"iterable"}, 1)[0], depth0 + 1, body);
      return string(body.take());
    };
  Value loop_value;
  loop_value.kind = Kind::loop;
  loop_value.object = loop;
  bool has_run = false;
  ScopePtr body;
  for (Value item; loop->next(item);) {
    has_run = true;
    if (body != nullptr && body.use_count() == 1) body->variables.clear(), budget_.step();
    else body = inner(scope);
    if (loop_symbol_ >= 0) body->variables.emplace_back(loop_symbol_, loop_value);
    assign(*statement.targets[0], std::move(item), body);
    if (execute(statement.body, body, out) == Flow::leave) break;
  }
  return has_run ? Flow::on : execute(statement.otherwise, scope, out);
}

Value Render::macro(const Statement& statement, const ScopePtr& scope) {
  if (captured_.empty() || captured_.back() != scope) {
    budget_.allocate(sizeof(Scope));
    captured_.push_back(scope);
  }
  return function(&budget_, statement.text,
                  [this, &statement, scope](Arguments& a) { return call_macro(statement, scope, a); });
}

Value Render::call_macro(const Statement& statement, const ScopePtr& scope, Arguments& arguments) {
  const std::string what = cat("macro '", statement.text, "'");
  const ScopePtr body = inner(scope);
  auto& variables = body->variables;
  std::vector<bool> used(arguments.named.size()), is_given;
  const auto named = [&](std::string_view name) -> const Value* {
    for (size_t i = 0; i < arguments.named.size(); ++i)
      if (arguments.named[i].first == name) return used[i] = true, &arguments.named[i].second;
    return nullptr;
  };
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    const Parameter& parameter = statement.parameters[i];
    const Value* const given = i < arguments.positional.size() ? &arguments.positional[i] : named(parameter.name);
    is_given.push_back(given != nullptr);
    variables.emplace_back(
        parameter.symbol,
        given != nullptr ? *given : undefined(budget_, cat("parameter '", parameter.name, "' was not provided")));
  }
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    if (is_given[i] || !statement.parameters[i].otherwise) continue;
    Value value = evaluate(*statement.parameters[i].otherwise, body);
    variables[i].second = std::move(value);
  }
  if (statement.takes_caller) {
    const Value* const given = named("caller");
    variables.emplace_back(caller_symbol_, given != nullptr ? *given : undefined(budget_, "No caller defined"));
  }
  auto rest = std::make_shared<Dict>(&budget_);
  for (size_t i = 0; i < arguments.named.size(); ++i) {
    if (used[i]) continue;
    require(statement.takes_kwargs, what, " takes no keyword argument '", arguments.named[i].first, "'");
    rest->set(&budget_, string(arguments.named[i].first), arguments.named[i].second);
  }
  if (statement.takes_kwargs) variables.emplace_back(kwargs_symbol_, jinja::dict(std::move(rest)));
  const size_t taken = std::min(statement.parameters.size(), arguments.positional.size());
  if (statement.takes_varargs)
    variables.emplace_back(
        varargs_symbol_,
        list({arguments.positional.begin() + static_cast<ptrdiff_t>(taken), arguments.positional.end()}, Kind::tuple));
  else
    require(taken == arguments.positional.size(), what, " takes not more than ", statement.parameters.size(),
            " argument(s)");
  Sink out(budget_);
  execute(statement.body, body, out);
  return string(out.take());
}

bool Loop::next(Value& out) {
  if (has_after) {
    out = std::move(after);
    has_after = false;
  } else if (is_at_end || !source(out)) {
    is_at_end = true;
    return false;
  }
  ++index0;
  before = std::move(current);
  current = out;
  return true;
}

const Value& Loop::peek() {
  if (!has_after && !is_at_end) {
    has_after = source(after);
    is_at_end = !has_after;
  }
  return after;
}

Value Render::loop_attribute(const Value& value, const std::string& name) {
  Loop& loop = static_cast<Loop&>(*value.object);
  const auto size = [&] {
    if (loop.known_length < 0) {                       // a generator: what is left is drawn from it now
      std::vector<Value> left;
      for (Value item; !loop.is_at_end && loop.source(item);) left.push_back(item);
      loop.known_length = static_cast<int64_t>(left.size()) + loop.index0 + 1 + (loop.has_after ? 1 : 0);
      loop.source = iterate(budget_, list(std::move(left)));
    }
    return loop.known_length;
  };
  if (name == "index0") return integer(loop.index0);
  if (name == "index") return integer(loop.index0 + 1);
  if (name == "first") return boolean(loop.index0 == 0);
  if (name == "last") return loop.peek(), boolean(!loop.has_after);
  if (name == "length") return integer(size());
  if (name == "revindex") return integer(size() - loop.index0);
  if (name == "revindex0") return integer(size() - loop.index0 - 1);
  if (name == "depth") return integer(loop.depth0 + 1);
  if (name == "depth0") return integer(loop.depth0);
  if (name == "previtem") return loop.index0 == 0 ? undefined(budget_, "there is no previous item") : loop.before;
  if (name == "nextitem") {
    loop.peek();
    return loop.has_after ? loop.after : undefined(budget_, "there is no next item");
  }
  if (name == "cycle")
    return function(&budget_, name, [index = loop.index0](Arguments& a) {
      require(!a.positional.empty(), "loop.cycle(): nothing to cycle through");
      return a.positional[static_cast<size_t>(index) % a.positional.size()];
    });
  require(name != "changed", "loop.changed() is not supported");
  return undefined(budget_, cat("'loop' has no attribute '", name, "'"));
}

}  // namespace ds::jinja
