// Decoding policies: what kind of answer a prompt asks for, as a small classifier sees it, and the temperature and constraint
// that suit such an answer.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/json.h"
#include "io/record.h"
#include "run/params.h"
#include "text/classifier.h"

namespace ds {

enum class Intent : uint8_t { factual, analytical, creative, code };  // in the order of intent_names
constexpr std::string_view intent_names[] = {"factual", "analytical", "creative", "code"};

// fastText's format (text/classifier.h). Empty: the built-in one, made by examples/policy. Error that names the labels of a
// model whose labels are not the four intents. Same text, same numbers on every processor: our own arithmetic.
Classifier intent_classifier(const std::string& file);
// The bytes of the file, or of the built-in one.
std::string_view builtin_intents();

// Less probable, and the prompt is answered as without a policy.
constexpr double least_intent_probability = 0.7;

struct Policy {
  std::optional<Intent> intent;    // none: the prompt is blank, or the classifier knows no word of it
  double probability = 0;          // of the intent, to 4 decimals
  std::optional<double> temperature;
  std::optional<ConstraintSpec> constraint;
};
// factual, analytical, code: temperature 0.7; creative: 1.2. code: code_constraint(). Nothing where the probability is below
// the least. Linear in the prompt.
Policy policy_of(const Classifier& classifier, std::string_view prompt);
// Python where that is the last language the prompt names, or it names none and has a line "def ...:". Brackets for other
// languages, and for a prompt that ends within a block of code (its last line is indented or ends in a colon): the answer
// goes on there, and does not begin at the left margin as Python's mode has it.
ConstraintSpec code_constraint(std::string_view prompt);

// Drops from the policy what the record asks for itself or what does not go with it (beams take neither temperature nor
// constraint), sets the rest in the parameters.
void apply(Policy& policy, const Record& record, Parameters& parameters);
// {"intent": "code", "probability": 0.98, "temperature": 0.7, "constraint": "python"}: the last two where they were set.
std::string policy_json(const Policy& policy);

// What of a conversation asks for the answer: the text of the last message whose role is user; "" where there is none.
std::string last_user_text(const Json& messages);

}  // namespace ds
