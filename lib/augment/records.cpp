#include "augment/records.h"

#include "augment/augment.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/stop.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/output.h"
#include "io/report.h"

namespace ds {

LoadedRecords load_records(const AugmentOptions& options, Report& report) {
  const auto stage = report.stage("read");
  LoadedRecords loaded;
  for_each_record(options.inputs, options.max_record_bytes, &report, [&](Record&& record) {
    loaded.texts.push_back(record.required_string(options.text_field));
    loaded.records.push_back(std::move(record));
    throw_if_stopped();
  });
  return loaded;
}

void write_records(const AugmentOptions& options, const std::vector<Record>& records, Report& report) {
  const auto stage = report.stage("write");
  OutputFile out(options.output);
  for (const Record& record : records) {
    out.write(record.raw());
    out.write("\n");
  }
  out.commit();
  report.kept = records.size();
  report.outputs.push_back({out.path(), out.bytes(), records.size(), out.hash()});
}

std::string id_json(const Record& record, const std::string& id_field) {
  const std::string_view raw = record.raw_value(id_field);
  return raw.empty() ? json_string(record.where()) : std::string(raw);
}

uint64_t id_hash(const Record& record, const AugmentOptions& options) {
  if (const auto id = record.string(options.id_field)) return hash64(*id);
  if (record.has(options.id_field)) return hash64(record.raw_value(options.id_field));
  return hash64(record.required_string(options.text_field));
}

void set_augment(Record& record, std::string_view key, std::string_view json) {
  const std::string_view now = record.raw_value("augment");
  if (now.empty() || now.front() != '{') {
    record.set("augment", cat("{", json_string(key), ": ", json, "}"));
    return;
  }
  Record inner(std::string(now), record.file(), record.line());
  inner.set(key, json);
  const std::string merged(inner.raw());
  record.set("augment", merged);
}

}  // namespace ds
