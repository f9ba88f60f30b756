// A policy: the rules that --rules reads from a TOML file. A record is dropped by the first rule that it breaks.
//   drop_if = "repetition > 0.8"            # one rule without a name; the reason of its drops is "rules"
//   [[rule]]
//   name = "short"                          # the reason of its drops: lower-case letters, digits, - and _
//   drop_if = "words < 50"
//   [[rule]]
//   name = "english"
//   keep_if = "lang == 'en'"                # drops what it is false for
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "clean/rules/expression.h"

namespace ds {

struct Policy {
  struct Rule {
    std::string reason;
    Expression condition;
    bool keeps = false;  // keep_if: drops where the condition is false
    bool drops(const Signals& signals, const Record& record) const {
      return condition.evaluate(signals, record) != keeps;
    }
  };
  std::vector<Rule> rules;  // the rule without a name first, then in the order of the file; at least one
  uint32_t groups = 0;      // of the signals that they read

  // The rule that drops the record; null where it stays.
  const Rule* first_match(const Signals& signals, const Record& record) const;
};

// UsageError, begun with `where` (the file's name) and naming the rule, for what is no policy; most 1 MiB.
Policy parse_policy(std::string_view text, std::string_view where);
// The same of a file; Error where it cannot be read.
Policy read_policy(const std::string& path);

}  // namespace ds
