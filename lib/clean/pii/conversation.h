// Personal data in records without a text field: in all that was said in a conversation or an instruction.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clean/pii/pii.h"
#include "io/record.h"

namespace ds {

// The fields of a record that hold such text: those of the layouts of answer.h, and the two that are named.
std::vector<std::string> conversation_fields(const Record& record, std::string_view question_field,
                                             std::string_view answer_field);

// How many finds of each kind, by PiiKind, the strings in the fields hold.
std::array<uint64_t, pii_kind_count> count_pii(const Record& record, const std::vector<std::string>& fields,
                                               uint32_t kinds);

// Puts each kind's tag in their place. Whether there were any.
bool redact_pii(Record& record, const std::vector<std::string>& fields, uint32_t kinds);

}  // namespace ds
