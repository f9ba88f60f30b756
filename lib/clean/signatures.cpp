#include "clean/signatures.h"

#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "clean/dedup.h"
#include "clean/end_of_run.h"
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
  OutputFile output(options.stream.output);
  StreamOptions stream = options.stream;
  stream.output = "/dev/null";
  uint64_t lines = 0;
  process_records(
      stream, report,
      [&](Record& record) -> std::shared_ptr<void> {
        const std::string id = record_id(record, options.id_field);
        if (!record.has(options.id_field) && record.file() == "<stdin>")
          fail(record.where(), ": no field ", json_string(options.id_field),
               ", which names the record to the other half");
        auto text = std::make_shared<std::string>();
        for (const uint64_t key : index.sketch(record.required_string(options.text_field)).keys) {
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
  report.outputs = {{output.path(), output.bytes(), lines, output.hash()}};
}

// The ids (XXH3-64 of their JSON text) that share a key with another one.
static std::unordered_set<uint64_t> read_groups(const std::string& path) {
  std::unordered_set<uint64_t> shared;
  LineReader lines({path}, size_t{1} << 26);
  std::string key;
  uint64_t first = 0;
  size_t members = 0;
  for (Line line; lines.next(line);) {
    const size_t tab = line.text.find('\t');
    const bool hex =
        tab == 16 && line.text.substr(0, 16).find_first_not_of("0123456789abcdef") == std::string_view::npos;
    require(hex && line.text.size() > 17, *line.file, ":", line.number,
            ": expected a line of ds-clean signatures: 16 hexadecimal digits, a tab and an id");
    const uint64_t id = hash64(line.text.substr(17));
    if (line.text.substr(0, 16) != key) {
      key = line.text.substr(0, 16);
      first = id;
      members = 1;
      continue;
    }
    ++members;
    if (members == 2) shared.insert(first);
    shared.insert(id);
  }
  return shared;
}

void cluster(const ClusterOptions& options, Report& report) {
  const SignatureOptions& records = options.records;
  const std::vector<std::string>& inputs = records.stream.inputs;
  if (options.signatures == "-" && std::find(inputs.begin(), inputs.end(), "-") != inputs.end())
    throw UsageError("the signatures and the records are both standard input; name the files of one of them");
  keep_inputs(inputs, records.stream.rejects, "--rejects");
  std::unordered_set<uint64_t> shared;
  {
    const auto stage = report.stage("signatures");
    shared = read_groups(options.signatures);
  }
  DedupOptions dedup;
  dedup.near = near_options(records);
  DedupIndex index(dedup);
  const auto stage = report.stage("cluster");
  struct Prepared {
    std::string id, text;
    DedupKeys keys;
  };
  with_end_of_run([&] {
    process_records(
        records.stream, report,
        [&](Record& record) -> std::shared_ptr<void> {
          auto prepared = std::make_shared<Prepared>();
          prepared->id = record_id(record, records.id_field);
          if (!shared.contains(hash64(prepared->id))) return nullptr;
          prepared->text = record.required_string(records.text_field);
          prepared->keys = index.keys(prepared->text, word_hashes(prepared->text));
          return prepared;
        },
        [&](Record&, void* result) -> Verdict {
          if (!result) return {};
          const auto& prepared = *static_cast<const Prepared*>(result);
          const auto found = ending_run([&] { return index.find_and_add(prepared.keys, prepared.text, prepared.id); });
          if (!found) return {};
          return {Verdict::Kind::drop, duplicate_reason(*found), "clean", duplicate_details(*found)};
        });
  });
}

}  // namespace ds
