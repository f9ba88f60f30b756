// All records of a stream in memory, and back out in order.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "io/record.h"

namespace ds {

struct AugmentOptions;
struct Report;

struct LoadedRecords {
  std::vector<Record> records;
  std::vector<std::string> texts;                   // of the text field
  std::vector<std::string_view> views() const { return {texts.begin(), texts.end()}; }
};

// Reads every record; one without the text field is an Error.
LoadedRecords load_records(const AugmentOptions& options, Report& report);
// Writes every record to options.output, which appears whole.
void write_records(const AugmentOptions& options, const std::vector<Record>& records, Report& report);

// The value of the id field as JSON text; "FILE:LINE" as a string where it is absent.
std::string id_json(const Record& record, const std::string& id_field);
// XXH3-64 of the id: of a string's characters, of another value's bytes, of the text where there is no id.
uint64_t id_hash(const Record& record, const AugmentOptions& options);

// Sets one member of the record's "augment" object, keeping the others.
void set_augment(Record& record, std::string_view key, std::string_view json);

}  // namespace ds
