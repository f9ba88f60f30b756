// Any bytes as an expression and as a policy: an answer or a UsageError. What is behind the first NUL byte is the
// record that it is asked about. An accepted expression gives the same answer twice, the opposite under `not`, and the
// same as a rule of a policy.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.h"
#include "clean/rules/policy.h"
#include "io/json.h"

namespace {

std::optional<ds::Expression> parsed(const std::string& text) {
  try {
    return ds::Expression::parse(text, "fuzz");
  } catch (const ds::UsageError&) {
    return std::nullopt;
  }
}

std::optional<ds::Policy> policy_of(const std::string& text) {
  try {
    return ds::parse_policy(text, "fuzz");
  } catch (const ds::UsageError&) {
    return std::nullopt;
  }
}

ds::Record record_of(std::string line) {
  try {
    return ds::Record(std::move(line), "fuzz", 1);
  } catch (const ds::Error&) {
    return ds::Record(R"({"text": "a\tb", "n": 2, "tags": ["a", 1], "meta": {"x": [{"y": -1}]}, "flag": true})", "fuzz",
                      1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const std::string text = input.substr(0, input.find('\0'));
  const ds::Record record = record_of(text.size() < size ? input.substr(text.size() + 1) : "");
  ds::Signals signals;
  signals[ds::Signal::words] = 3;
  signals[ds::Signal::repetition] = 0.5;
  signals.lang = "en";
  if (const auto policy = policy_of(text)) {
    const ds::Policy::Rule* rule = policy->first_match(signals, record);
    if (rule != policy->first_match(signals, record)) std::abort();
    policy->first_match(ds::Signals(), record);
  }
  const auto expression = parsed(text);
  if (!expression) return 0;
  const bool answer = expression->evaluate(signals, record);
  if (expression->evaluate(signals, record) != answer) std::abort();
  expression->evaluate(ds::Signals(), record);
  // A comment may end the text, and what is nested as deep as allowed is not allowed inside more.
  if (const auto opposite = parsed("not (" + text + "\n)")) {
    if (opposite->evaluate(signals, record) == answer || opposite->groups() != expression->groups()) std::abort();
  }
  if (text.find('\x7f') != std::string::npos) return 0;  // but for it, a JSON string is a TOML string
  const auto policy = policy_of("drop_if = " + ds::json_string(text));
  if (!policy || (policy->first_match(signals, record) != nullptr) != answer) std::abort();
  return 0;
}
