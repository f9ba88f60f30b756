#include "clean/clean.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "clean/duplicates/clusters.h"
#include "clean/duplicates/dedup.h"
#include "clean/duplicates/index_folder.h"
#include "clean/duplicates/passages.h"
#include "clean/explain.h"
#include "clean/funnel.h"
#include "clean/histogram.h"
#include "clean/input_files.h"
#include "clean/measure.h"
#include "clean/shards.h"
#include "io/json.h"

namespace ds {
namespace {

// All that is known of a record when its turn comes.
struct Prepared {
  Measured measured;
  DedupKeys keys;
  PreparedPassages passages;
};

class Cleaner {
 public:
  Cleaner(const CleanOptions& options, Report& report);

  // The stream of options.stream, or one input of it.
  void run(const StreamOptions& stream);
  void seen(const std::vector<std::string>& against);
  IndexFolder* folder() { return folder_.get(); }
  void finish();

 private:
  std::shared_ptr<void> prepare(Record& record) const;
  Verdict decide(Record& record, Prepared& prepared);
  std::optional<Duplicate> duplicate(const Record& record, const Prepared& prepared);
  Verdict drop(std::string reason, std::string details, uint64_t bytes);

  const CleanOptions& options_;
  Report& report_;
  DedupOptions dedup_options_;
  Passages passages_;
  std::unique_ptr<IndexFolder> folder_;            // --index
  std::unique_ptr<DedupIndex> memory_;             // without --index
  std::vector<std::unique_ptr<IndexFolder>> old_;  // --against DIR
  DedupIndex* index_ = nullptr;
  std::unique_ptr<Clusters> clusters_;  // --keep other than first
  std::unique_ptr<Measurer> measurer_;
  Funnel funnel_;
  std::map<std::string, Funnel::Row> dropped_;  // by reason
  SignalHistograms histograms_;
};

}  // namespace

static DedupOptions dedup_options(const CleanOptions& options) {
  const auto preset = [&](const char* name) {
    return std::find(options.presets.begin(), options.presets.end(), name) != options.presets.end();
  };
  const bool whole = preset("pretrain") || preset("instruct");
  DedupOptions dedup;
  dedup.exact = options.exact || whole;
  if (options.exact_on != "text" && options.exact_on != "words")
    throw UsageError(cat("--exact-on must be text or words, not '", options.exact_on, "'"));
  dedup.exact_words = options.exact_on == "words";
  const ShingleKind shingle = parse_shingle_kind(options.shingle);
  const std::string near = options.near.empty() && whole ? "0.8" : options.near;
  if (near.empty() || near == "off") return dedup;
  dedup.near.emplace();
  dedup.near->threshold = parse_near_threshold(near);
  dedup.near->shingle = shingle;
  dedup.near->seed = options.seed;
  return dedup;
}

Cleaner::Cleaner(const CleanOptions& options, Report& report)
    : options_(options), report_(report), dedup_options_(dedup_options(options)), passages_(options) {
  if (!dedup_options_.any()) {
    if (!options.against.empty() || !options.index.empty())
      throw UsageError("--against and --index have no use without --exact or --near");
    if (options.keep != "first") throw UsageError("--keep has no use without --exact or --near");
  }
  const bool texts = dedup_options_.any() || passages_.any();
  measurer_ = std::make_unique<Measurer>(options, texts, dedup_options_.needs_words(), report);
  if (options.keep != "first") {
    if (!options.against.empty() || !options.index.empty() || !options.output_folder.empty())
      throw UsageError(cat("--keep ", options.keep,
                           " reads the inputs twice and goes with neither --against, --index nor --output-dir"));
    clusters_ = std::make_unique<Clusters>(options, dedup_options_, *measurer_);
    return;
  }
  if (!options.index.empty())
    folder_ = std::make_unique<IndexFolder>(options.index, dedup_options_, true,
                                            options.output_folder.empty() ? run_name(options.stream) : "");
  else if (dedup_options_.any())
    memory_ = std::make_unique<DedupIndex>(dedup_options_);
  index_ = folder_ ? &folder_->index() : memory_.get();
  std::vector<std::string> files;
  for (const std::string& path : options.against) {
    std::error_code unknown;  // reading it says what is wrong with it
    if (std::filesystem::is_directory(path, unknown))
      old_.push_back(std::make_unique<IndexFolder>(path, dedup_options_, false));
    else
      files.push_back(path);
  }
  if (!files.empty()) seen(files);
}

// Records of earlier sets: they are compared with, and not written.
void Cleaner::seen(const std::vector<std::string>& against) {
  StreamOptions stream;
  stream.inputs = against;
  stream.output = "/dev/null";
  stream.max_record_bytes = options_.stream.max_record_bytes;
  const auto stage = report_.stage("against");
  Report inner;
  process_records(
      stream, inner,
      [&](Record& record) -> std::shared_ptr<void> {
        auto prepared = std::make_shared<Prepared>();
        prepared->measured = measurer_->read(record);
        prepared->keys = index_->keys(prepared->measured.text, prepared->measured.words);
        return prepared;
      },
      [&](Record& record, void* result) {
        const auto& prepared = *static_cast<Prepared*>(result);
        index_->find_and_add(prepared.keys, prepared.measured.text, record_id(record, options_.id_field));
        return Verdict{};
      });
  report_.inputs.insert(report_.inputs.end(), inner.inputs.begin(), inner.inputs.end());
}

std::shared_ptr<void> Cleaner::prepare(Record& record) const {
  auto prepared = std::make_shared<Prepared>();
  prepared->measured = measurer_->measure(record);
  Measured& m = prepared->measured;
  if (index_) prepared->keys = index_->keys(m.text, m.words);
  m.words = {};
  if (m.reason.empty()) prepared->passages = passages_.prepare(m.current_text());
  return prepared;
}

Verdict Cleaner::drop(std::string reason, std::string details, uint64_t bytes) {
  Funnel::Row& row = dropped_[reason];
  ++row.records;
  row.bytes += bytes;
  return {Verdict::Kind::drop, std::move(reason), "clean", std::move(details)};
}

// Which earlier record this one repeats.
std::optional<Duplicate> Cleaner::duplicate(const Record& record, const Prepared& prepared) {
  if (clusters_) return clusters_->next();
  if (!index_) return std::nullopt;
  std::optional<Duplicate> found;
  for (const auto& old : old_)
    if (!found) found = old->index().find(prepared.keys);
  if (!found) found = index_->find_and_add(prepared.keys, prepared.measured.text, record_id(record, options_.id_field));
  return found;
}

Verdict Cleaner::decide(Record& record, Prepared& prepared) {
  Measured& m = prepared.measured;
  const std::optional<Duplicate> same = duplicate(record, prepared);
  std::string emptied;
  if (!options_.annotate && !same && m.reason.empty()) emptied = passages_.settle(record, m, prepared.passages);
  // From here on it is no bad line.
  ++funnel_.records_in;
  funnel_.bytes_in += m.bytes;
  histograms_.add(m.signals);
  if (Decontaminator* decontaminator = measurer_->decontaminator(); decontaminator && !m.contamination.hits.empty())
    decontaminator->count(m.contamination, record_id(record, options_.id_field));
  if (options_.annotate) {
    record.set("clean", measurer_->annotation(m, same ? duplicate_details(*same) : ""));
  } else {
    if (same) return drop(duplicate_reason(*same), duplicate_details(*same), m.bytes);
    if (!m.reason.empty()) return drop(m.reason, m.details, m.bytes);
    if (!emptied.empty()) return drop(emptied, begin_details(emptied).close().text, m.bytes);
    if (measurer_->tags()) record.set("clean", measurer_->tag(m));
    funnel_.edited += m.has_edits;
  }
  ++funnel_.kept;
  funnel_.kept_bytes += record.raw().size() + 1;
  return {};
}

void Cleaner::run(const StreamOptions& stream) {
  if (clusters_) {
    const auto stage = report_.stage("clusters");
    clusters_->read(stream);
  }
  const auto stage = report_.stage("clean");
  process_records(
      stream, report_, [&](Record& record) { return prepare(record); },
      [&](Record& record, void* prepared) { return decide(record, *static_cast<Prepared*>(prepared)); });
}

// What the run did, for the report and the table on standard error.
void Cleaner::finish() {
  auto& results = report_.results;
  results.emplace_back("rules", measurer_->rules_json());
  funnel_.bad = report_.bad;
  funnel_.bad_bytes = report_.bad_bytes;
  funnel_.bytes_in += report_.bad_bytes;
  funnel_.records_in += report_.bad;
  std::vector<std::string> order = {"exact-duplicate", "near-duplicate"};
  for (std::string& reason : measurer_->reasons()) order.push_back(std::move(reason));
  for (std::string& reason : passages_.reasons()) order.push_back(std::move(reason));
  for (const std::string& reason : order)
    if (const auto found = dropped_.find(reason); found != dropped_.end())
      funnel_.rows.push_back({reason, found->second.records, found->second.bytes});
  results.emplace_back("funnel", funnel_json(funnel_));
  if (measurer_->groups() != 0) results.emplace_back("signals", histograms_.json());
  NearIndex* near = clusters_ ? clusters_->near() : index_ ? index_->near() : nullptr;
  if (near) {
    const NearIndex::Work work = near->work();
    JsonWriter w;
    w.open('{').field("threshold", dedup_options_.near->threshold).field("distinct_texts", uint64_t{near->size()});
    w.field("bands", uint64_t{near->shape().bands}).field("rows", uint64_t{near->shape().rows});
    w.field("proposed", work.proposed).field("compared", work.compared);
    w.field("memory_bytes", work.memory_bytes).field("spilled_bytes", work.spilled_bytes).close();
    results.emplace_back("near", w.text);
  }
  if (measurer_->decontaminator()) results.emplace_back("contamination", measurer_->decontaminator()->summary());
  if (passages_.any()) results.emplace_back("passages", passages_.summary());
  if (funnel_.kept == 0 && funnel_.records_in > 0 && (folder_ || !old_.empty()) &&
      dropped_["exact-duplicate"].records + dropped_["near-duplicate"].records == funnel_.records_in)
    warn("every record repeats one that was seen before: was this input added to the index already?");
  log_table(funnel_table(funnel_));
}

// Every signal of one record, and which limits it passes.
static void explain_record(const CleanOptions& options, Report& report) {
  const Measurer measurer(options, true, true, report);
  LineReader lines(options.stream.inputs, options.stream.max_record_bytes);
  for (Line line; lines.next(line);) {
    Record record;
    try {
      record = Record(line);
    } catch (const Error&) {
      continue;  // a bad line is not the one that is looked for
    }
    const std::string id = record_id(record, options.id_field);
    if (id != options.explain && id != json_string(options.explain)) continue;
    const Measured measured = measurer.measure(record);
    OutputFile output(options.stream.output);
    output.write(explain_table(record, measured.signals, measurer.notes(measured.signals)));
    output.write(measured.reason.empty() ? "stays, unless it repeats an earlier record\n"
                                         : cat("dropped: ", measured.details, "\n"));
    output.finish();
    return output.commit();
  }
  fail("no record has the ", options.id_field, " ", options.explain);
}

// The options that outputs of --output-dir depend on. Whole inputs are dealt there, so --shard is not one of them.
static std::string options_text(const Report& report) {
  JsonWriter w;
  w.open('{');
  for (const auto& [name, value] : report.options)
    if (name != "shard") w.key(name).raw(value);
  return w.close().text;
}

void clean(const CleanOptions& options, Report& report) {
  if (!options.explain.empty()) return explain_record(options, report);
  keep_inputs(options.stream.inputs, options.stream.rejects, "--rejects");
  keep_inputs(options.against, options.stream.rejects, "--rejects");
  keep_inputs(options.benchmarks, options.stream.rejects, "--rejects");
  // Else the output may replace its input; but where an index holds the records, a second run would find nothing new.
  if (!options.index.empty()) keep_inputs(options.stream.inputs, options.stream.output, "--output, with --index,");
  if (options.output_folder.empty()) {
    Cleaner cleaner(options, report);
    cleaner.run(options.stream);
    if (cleaner.folder()) cleaner.folder()->commit();
    return cleaner.finish();
  }
  const std::vector<InputShard> shards = input_shards(options, dedup_options(options).any());
  open_output_folder(options, shards, options_text(report));
  Cleaner cleaner(options, report);
  for (const InputShard& shard : shards) {
    if (finished(shard, cleaner.folder())) {
      info(shard.stream.output, ": finished before");
      continue;
    }
    cleaner.run(shard.stream);
    if (cleaner.folder()) cleaner.folder()->commit(shard.name);
  }
  cleaner.finish();
}

}  // namespace ds
