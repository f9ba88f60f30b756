#include "clean/duplicates/signatures.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "clean/answers/answer.h"
#include "clean/duplicates/dedup.h"
#include "clean/input_files.h"
#include "io/json.h"
#include "text/words.h"

namespace ds {

static NearOptions near_options(const SignatureOptions& options) {
  NearOptions near;
  near.threshold = parse_near_threshold(options.near);
  near.shingle = parse_shingle_kind(options.shingle);
  near.seed = options.seed;
  return near;
}

// What the one-process run compares of a record.
static std::string text_of(const Record& record, const std::string& field) {
  if (!field.empty()) return record.required_string(field);
  if (!record.has("text"))
    if (const auto pair = question_answer(record)) return pair->question + "\n" + pair->answer;
  return record.required_string("text");
}

// The same Error where there is none, for a record that shares no key: its text is not looked at.
static void check_text(const Record& record, const std::string& field) {
  const std::string_view name = field.empty() ? std::string_view("text") : field;
  if (field.empty() && !record.has(name) && question_answer(record)) return;
  record.require_string(name);
}

static void append_hex(std::string& out, uint64_t key) {
  static constexpr char digits[] = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) out += digits[key >> shift & 15];
}

static bool same_output(const std::string& output, const std::string& rejects) {
  std::error_code unknown;
  const auto resolved = [&](const std::string& path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, unknown), unknown);
  };
  if (rejects.empty() || std::filesystem::is_character_file(rejects, unknown)) return false;
  return output == rejects || resolved(output) == resolved(rejects);
}

void write_signatures(const SignatureOptions& options, Report& report) {
  keep_inputs(options.stream.inputs, options.stream.output, "--output");
  keep_inputs(options.stream.inputs, options.stream.rejects, "--rejects");
  if (same_output(options.stream.output, options.stream.rejects))
    throw UsageError(cat("the output and --rejects are the same file, '", options.stream.rejects, "'"));
  const NearIndex index(near_options(options));
  const auto stage = report.stage("signatures");
  if (options.stream.output == options.stream.rejects)
    throw UsageError(cat("the output and --rejects are the same file, '", options.stream.rejects, "'"));
  OutputFile output(options.stream.output);
  StreamOptions stream = options.stream;
  stream.output = "/dev/null";
  uint64_t lines = 0;
  process_records(
      stream, report,
      [&](Record& record) -> std::shared_ptr<void> {
        const std::string id = record_id(record, options.id_field);
        if (record.file() == "<stdin>" && id == json_string(record.where()))
          fail(record.where(), ": no string or number ", json_string(options.id_field),
               ", which names the record to the other half: give it one, or give FILEs");
        auto text = std::make_shared<std::string>();
        for (const uint64_t key : index.sketch(text_of(record, options.text_field)).keys) {
          append_hex(*text, key);
          *text += '\t';
          *text += id;
          *text += '\n';
        }
        return text;
      },
      [&](Record&, void* text) {
        output.write(*static_cast<const std::string*>(text));
        lines += index.shape().bands;
        return Verdict{};
      });
  output.finish();
  output.commit();
  report.outputs.front() = {output.path(), output.bytes(), lines, output.hash()};
}

namespace {

// The ids (XXH3-64 of their JSON text) that share a key with another one, and whether the record came by.
using SharedIds = std::unordered_map<uint64_t, bool>;

// Finds keys that come again after others, which then are not sorted: remembers keys, and of too many those that end
// in ever more zero bits. Keys are hashes, so what is remembered is a fair sample.
class SeenKeys {
 public:
  // False where the key was here before.
  bool add(uint64_t key) {
    if ((key & mask_) != 0) return true;
    if (!seen_.insert(key).second) return false;
    if (seen_.size() == most) {
      mask_ = mask_ << 1 | 1;
      std::erase_if(seen_, [&](uint64_t old) { return (old & mask_) != 0; });
    }
    return true;
  }

 private:
  static constexpr size_t most = 65536;
  std::unordered_set<uint64_t> seen_;
  uint64_t mask_ = 0;
};

}  // namespace

static uint64_t key_of(const Line& line) {
  uint64_t key = 0;
  const char* const begin = line.text.data();
  const bool long_enough = line.text.size() > 17 && line.text[16] == '\t';
  const bool hex = long_enough && std::from_chars(begin, begin + 16, key, 16).ptr == begin + 16;
  require(hex, *line.file, ":", line.number,
          ": expected a line of ds-clean signatures: 16 hexadecimal digits, a tab and an id");
  return key;
}

static SharedIds read_groups(const std::string& path, Report& report) {
  SharedIds shared;
  SeenKeys seen;
  LineReader lines({path}, size_t{1} << 26);
  uint64_t key = 0, first = 0;
  size_t members = 0;
  for (Line line; lines.next(line);) {
    const uint64_t next = key_of(line), id = hash64(line.text.substr(17));
    if (members > 0 && next == key) {
      if (++members == 2) shared.emplace(first, false);
      shared.emplace(id, false);
      continue;
    }
    require(seen.add(next), *line.file, ":", line.number, ": the key ", line.text.substr(0, 16),
            " comes again after other keys: sort the lines, so that equal keys stand together");
    key = next;
    first = id;
    members = 1;
  }
  for (const auto& input : lines.inputs()) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
  return shared;
}

// Ids without a record mean that the halves did not read the same files: what is written keeps duplicates.
static void require_all(const SharedIds& shared) {
  const auto missing = std::count_if(shared.begin(), shared.end(), [](const auto& id) { return !id.second; });
  require(
      missing == 0, missing, " of the ", shared.size(),
      " ids that share a key belong to no record that was read, so not all duplicates were found: give the same FILEs"
      " (records without an id are known by FILE:LINE, as the name was typed) and --id-field as to ds-clean "
      "signatures");
}

void cluster(const ClusterOptions& options, Report& report) {
  const SignatureOptions& records = options.records;
  const std::vector<std::string>& inputs = records.stream.inputs;
  if (options.signatures == "-" && std::find(inputs.begin(), inputs.end(), "-") != inputs.end())
    throw UsageError("the records and --signatures cannot both be standard input; name a FILE for one of them");
  keep_inputs(inputs, records.stream.rejects, "--rejects");
  DedupOptions dedup;
  dedup.near = near_options(records);
  DedupIndex index(dedup);
  SharedIds shared;
  {
    const auto stage = report.stage("signatures");
    shared = read_groups(options.signatures, report);
  }
  const auto stage = report.stage("cluster");
  struct Prepared {
    std::string id, text;
    DedupKeys keys;
    bool* came;
  };
  process_records(
      records.stream, report,
      [&](Record& record) -> std::shared_ptr<void> {
        std::string id = record_id(record, records.id_field);
        const auto found = shared.find(hash64(id));
        if (found == shared.end()) {
          check_text(record, records.text_field);
          return nullptr;
        }
        auto prepared = std::make_shared<Prepared>();
        prepared->came = &found->second;
        prepared->id = std::move(id);
        prepared->text = text_of(record, records.text_field);
        const bool words = dedup.needs_words();
        prepared->keys = index.keys(prepared->text, words ? word_hashes(prepared->text) : std::vector<uint64_t>());
        return prepared;
      },
      [&](Record&, void* result) -> Verdict {
        if (!result) return {};
        const auto& prepared = *static_cast<const Prepared*>(result);
        *prepared.came = true;
        const auto found = index.find_and_add(prepared.keys, prepared.text, prepared.id);
        if (!found) return {};
        return {Verdict::Kind::drop, duplicate_reason(*found), "clean", duplicate_details(*found)};
      },
      [&] { require_all(shared); });
  const NearIndex::Work work = index.near()->work();
  JsonWriter w;
  w.open('{').field("shared_ids", uint64_t{shared.size()}).field("distinct_texts", uint64_t{index.near()->size()});
  w.field("proposed", work.proposed).field("compared", work.compared);
  w.field("memory_bytes", work.memory_bytes).field("spilled_bytes", work.spilled_bytes).close();
  report.results.emplace_back("near", w.text);
}

}  // namespace ds
