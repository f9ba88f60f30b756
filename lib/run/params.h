// The parameters of one request as OpenAI's API and vLLM name them, from a record's fields or a body's; and the constraints
// that they ask for, each compiled once.
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "io/record.h"
#include "run/constraint/constraint.h"
#include "run/sample.h"

namespace ds {

// What a body of OpenAI's API gets that says nothing of it, through the server as in a batch's line.
constexpr int64_t kOpenAiMaxTokens = 4096;
constexpr double kOpenAiTemperature = 1;

struct Parameters {
  Sampling sampling;
  uint64_t seed = 0;
  std::optional<ConstraintSpec> constraint;
};

// The names that set_parameter() knows: max_tokens, min_tokens, temperature, top_k (-1 is 0), top_p, min_p,
// repetition_penalty, frequency_penalty, presence_penalty, stop (a string or an array of strings), seed, n, best_of,
// logprobs (an integer; true is 0, the chosen tokens' alone, false is -1), beams, ignore_eos, length_penalty, and constraint.
const std::vector<std::string_view>& parameter_names();
// The parameter that a name of none was probably meant to be, "" where it is like none: the same but for letter case and
// separators, one or two letters from it (fewer in a short name, and never the first one), or what another API calls it.
std::string_view parameter_meant_by(std::string_view name);
// Sets a parameter; null leaves it as it is. False where the name is none of them. A wrong type is an Error that begins
// with `where`; ranges are looked at by check() at the end.
bool set_parameter(Parameters& parameters, std::string_view name, const Json& value, const std::string& where);
// What a request asks for is not held against defaults that do not go with it: those of min_tokens, best_of and (for beams)
// temperature, where it was not given(name), become what does.
void give_way(Sampling& sampling, const std::function<bool(std::string_view name)>& given);
// The parameters that a record's fields set, over `defaults`. Errors name the record and the field.
Parameters parameters_of(const Record& record, const Parameters& defaults);

// {"regex": text}, {"json_schema": schema}, {"grammar": text}, {"choice": [texts]}, {"json": true} or
// {"code": "brackets" | "python"}. Error that begins with `where`.
ConstraintSpec constraint_spec(const Json& value, const std::string& where);
// A JSON schema, as an object or as its text.
std::string schema_source(const Json& schema, const std::string& where);

// JSON text of a value, on one line.
std::string json_text(const Json& value);

// Compiled constraints by kind and source: the ones used last are kept, so that many records share one. All threads may
// call it.
class ConstraintCache {
 public:
  // Keeps `entries` constraints at most, and those that have learnt (masks, positions) `bytes` together at most, but always
  // the one asked for last. What is dropped goes once no answer uses it any more.
  explicit ConstraintCache(size_t entries = 16, size_t bytes = size_t{128} << 20) : most_entries_(entries), most_bytes_(bytes) {}
  // The Error of compile_constraint for a source that is wrong.
  std::shared_ptr<const Constraint> get(const ConstraintSpec& spec);
  // Keeps to `bytes` again: constraints learn after they were asked for.
  void trim();

 private:
  struct Entry {
    ConstraintSpec spec;
    std::shared_ptr<const Constraint> constraint;
  };
  void drop(std::list<Entry>& dropped);
  const size_t most_entries_, most_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last in front
};

}  // namespace ds
