#include "clean/pii/conversation.h"

#include "io/json_view.h"

namespace ds {

std::vector<std::string> conversation_fields(const Record& record, std::string_view question_field,
                                             std::string_view answer_field) {
  static constexpr std::string_view usual[] = {"messages", "conversations", "system",  "instruction",
                                               "input",    "output",        "history", "prompt",
                                               "question", "completion",    "answer"};
  std::vector<std::string> fields;
  const auto add = [&](std::string_view name) {
    if (!name.empty() && record.has(name)) fields.emplace_back(name);
  };
  for (const std::string_view name : usual)
    if (name != question_field && name != answer_field) add(name);
  add(question_field);
  if (answer_field != question_field) add(answer_field);
  return fields;
}

std::array<uint64_t, pii_kind_count> count_pii(const Record& record, const std::vector<std::string>& fields,
                                               uint32_t kinds) {
  std::array<uint64_t, pii_kind_count> counts{};
  std::vector<PiiMatch> matches;
  for (const std::string& field : fields)
    each_json_string(record.raw_value(field), [&](std::string_view content) {
      find_pii(json_unescaped(content), kinds, matches);
      for (const PiiMatch& match : matches) ++counts[static_cast<size_t>(match.kind)];
    });
  return counts;
}

bool redact_pii(Record& record, const std::vector<std::string>& fields, uint32_t kinds) {
  bool any = false;
  std::vector<PiiMatch> matches;
  for (const std::string& field : fields)
    any |= record.splice_strings(field, [&](std::string_view text) {
      find_pii(text, kinds, matches);
      std::vector<TextEdit> edits;
      for (const PiiMatch& match : matches)
        edits.push_back({match.begin, match.end, std::string(pii_replacement(match.kind))});
      return edits;
    });
  return any;
}

}  // namespace ds
