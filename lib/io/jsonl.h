// A stream of records through a tool: read, worked on by all threads, written in input order; rejects beside it.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"
#include "io/output.h"
#include "io/record.h"
#include "io/report.h"

namespace ds {

// One of `count` parts of a stream that are disjoint and together are all of it. Of at least `count` input files the
// shard reads whole files, the k-th (from 0) where k mod count = index - 1; of fewer it reads single lines, the k-th of
// the whole stream where the same holds. The lines keep their numbers.
struct Shard {
  uint64_t index = 1, count = 1;  // 1 <= index <= count <= 1000000
};
Shard parse_shard(std::string_view text);  // "2/8"; UsageError that names --shard

struct StreamOptions {
  std::vector<std::string> inputs = {"-"};
  std::string output = "-";
  std::string rejects;  // empty: the first bad line ends the run
  size_t max_record_bytes = size_t{64} << 20;
  Shard shard = {};
};

// What becomes of a record.
struct Verdict {
  enum class Kind : uint8_t { keep, drop } kind = Kind::keep;
  std::string reason;              // drop: the name in the report
  std::string owner_key, details;  // drop: the rejected record gets "<owner_key>": <details JSON>
};

// Reads every record of the inputs. `work` runs on all threads at once (it may edit its record); `decide` runs in
// input order, one record at a time, and says keep or drop. Kept records go to the output, dropped ones (as they came,
// with the owner key) and bad lines to the rejects; a bad line is rejected as {"line": N, "file": ..., "error": ...,
// "raw": "..."}, or ends the run where there is no rejects file. "raw_base64" stands in place of "raw" where the line
// is not UTF-8 or over the limit. Empty lines are bad lines, and so are records for which `work` or `decide` throws an
// Error (no such field); a UsageError or SystemError ends the run. Either function may be empty. A record refers to
// bytes that are used again after `decide`: copy it to keep it. `at_end` is called after the last record; what it
// throws ends the run. Counts and hashes go into the report. Nothing appears under a final name unless all of it
// succeeded. Lines of other shards are in no count and are not parsed. UsageError where the output and the rejects are
// one file; Error where standard output is redirected to the end of an input.
void process_records(const StreamOptions& options, Report& report,
                     const std::function<std::shared_ptr<void>(Record&)>& work,
                     const std::function<Verdict(Record&, void* result)>& decide,
                     const std::function<void()>& at_end = {});

// The same for work that takes many records at once (a model's batches): `work` gets groups in input order, by one thread,
// and keeps each record (as edited) or sets its `error`, which makes it a bad line. A group ends at `max_records`, or when
// its lines have `max_bytes`. Shards are not dealt here.
struct GroupedRecord {
  Record record;
  std::string error;
};
void process_groups(const StreamOptions& options, Report& report, size_t max_records, size_t max_bytes,
                    const std::function<void(std::span<GroupedRecord> group)>& work);

// For tools that write their lines themselves. UsageError and Error for files that are the same, as above.
void check_files(const StreamOptions& options);
// A bad line as JSON, as above, and the beginning of one that is handed out in parts: its base64, then "\"}", follow.
std::string bad_line(const std::string& file, uint64_t number, const std::string& error, std::string_view text);
std::string begin_long_bad_line(const std::string& file, uint64_t number, const std::string& error);

// Reads every record one after the other, for tools that need them all: `take` may keep the record. Bad lines are
// Errors.
void for_each_record(const std::vector<std::string>& inputs, size_t max_record_bytes, Report* report,
                     const std::function<void(Record&&)>& take);

}  // namespace ds
