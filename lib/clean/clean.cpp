#include "clean/clean.h"

#include <memory>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "clean/lexicon.h"
#include "clean/near_index.h"
#include "io/json.h"
#include "text/words.h"

namespace ds {
namespace {

// What a record's text says by itself; computed on any thread.
struct Signals {
  Hash128 hash;
  ShingleSet set;
  uint64_t words = 0;
  double repetition = 0, toxicity = 0;
};

struct Hash128Low {
  size_t operator()(const Hash128& hash) const { return hash.low; }
};

class Cleaner {
 public:
  Cleaner(const CleanOptions& options, const CleanRules& rules) : options_(options), rules_(rules) {
    if (rules.near) index_.emplace(*rules.near);
    if (rules.toxicity) lexicon_ = options.lexicon.empty() ? builtin_lexicon() : read_lexicon(options.lexicon);
  }

  std::shared_ptr<Signals> measure(const Record& record) const;
  Verdict decide(const Record& record, const Signals& signals);
  std::string near_summary() const;
  bool near() const { return index_.has_value(); }

 private:
  std::string id_of(const Record& record) const;
  Verdict decide_alone(const Signals& signals) const;

  const CleanOptions& options_;
  const CleanRules& rules_;
  Lexicon lexicon_;
  std::unordered_map<Hash128, std::string, Hash128Low> first_of_;  // text -> id of its first record
  std::optional<NearIndex> index_;
  std::vector<std::string> ids_;    // by number in the index: JSON text of the id
  std::vector<uint32_t> clusters_;  // by number in the index: the number whose id names the cluster
};

std::shared_ptr<Signals> Cleaner::measure(const Record& record) const {
  const std::string text = record.required_string(options_.text_field);
  auto signals = std::make_shared<Signals>();
  if (rules_.exact) signals->hash = hash128(text);
  const bool word_near = rules_.near && rules_.shingle.unit == ShingleKind::Unit::word;
  if (word_near || rules_.repetition || rules_.min_words || rules_.max_words || rules_.toxicity) {
    const auto words = word_hashes(text);
    signals->words = words.size();
    if (word_near) signals->set = word_shingles(words, rules_.shingle.size);
    if (word_near && rules_.shingle.size == repetition_words && words.size() >= repetition_words)
      signals->repetition = repetition_ratio(signals->set.size(), words.size());
    else if (rules_.repetition)
      signals->repetition = repetition_ratio(words);
    if (rules_.toxicity) signals->toxicity = lexicon_share(words, lexicon_);
  }
  if (rules_.near && !word_near) signals->set = shingles(text, rules_.shingle);
  return signals;
}

// The id as JSON text; "FILE:LINE" for a record without one.
std::string Cleaner::id_of(const Record& record) const {
  const std::string_view raw = record.raw_value(options_.id_field);
  const bool usable =
      !raw.empty() && (raw.front() == '"' || raw.front() == '-' || (raw.front() >= '0' && raw.front() <= '9'));
  return usable ? std::string(raw) : json_string(record.where());
}

Verdict drop(const char* reason, JsonWriter& details) {
  return {Verdict::Kind::drop, reason, "clean", details.close().text};
}

Verdict drop_by(const char* reason, const char* signal, auto value) {
  JsonWriter details;
  details.open('{').field("reason", reason).field(signal, value);
  return drop(reason, details);
}

Verdict Cleaner::decide(const Record& record, const Signals& signals) {
  if (rules_.exact) {
    const auto [first, added] = first_of_.try_emplace(signals.hash);
    if (!added) {  // its shingles are in the index since then
      JsonWriter details;
      details.open('{').field("reason", "exact-duplicate").key("of").raw(first->second);
      return drop("exact-duplicate", details);
    }
    first->second = id_of(record);
  }
  if (index_) {
    const uint32_t before = index_->size();
    const auto match = index_->add(signals.set);
    if (index_->size() > before) {
      ids_.push_back(id_of(record));
      clusters_.push_back(match ? clusters_[match->of] : before);
    }
    if (match) {
      JsonWriter details;
      details.open('{').field("reason", "near-duplicate").key("of").raw(ids_[match->of]);
      details.field("jaccard", match->jaccard).key("cluster").raw(ids_[clusters_[match->of]]);
      return drop("near-duplicate", details);
    }
  }
  return decide_alone(signals);
}

Verdict Cleaner::decide_alone(const Signals& signals) const {
  if (rules_.repetition && signals.repetition > *rules_.repetition)
    return drop_by("repetition", "repetition", signals.repetition);
  if (rules_.min_words && signals.words < *rules_.min_words) return drop_by("min-words", "words", signals.words);
  if (rules_.max_words && signals.words > *rules_.max_words) return drop_by("max-words", "words", signals.words);
  if (rules_.toxicity && signals.toxicity > *rules_.toxicity) return drop_by("toxicity", "toxicity", signals.toxicity);
  return {};
}

std::string Cleaner::near_summary() const {
  const auto& work = index_->work();
  JsonWriter summary;
  summary.open('{').field("threshold", *rules_.near).field("distinct_texts", uint64_t{index_->size()});
  summary.field("candidates", work.candidates).field("compared", work.compared).close();
  return summary.text;
}

}  // namespace

double repetition_ratio(const std::vector<uint64_t>& word_hashes) {
  if (word_hashes.size() < repetition_words) return 0;
  return repetition_ratio(word_shingles(word_hashes, repetition_words).size(), word_hashes.size());
}

// The rules that ran, presets resolved.
static std::string rules_summary(const CleanRules& rules) {
  JsonWriter summary;
  const auto field = [&](const char* name, const auto& rule) {
    if (rule) summary.field(name, *rule);
  };
  summary.open('{');
  if (rules.exact) summary.field("exact", true);
  field("near", rules.near);
  field("repetition", rules.repetition);
  field("min_words", rules.min_words);
  field("max_words", rules.max_words);
  field("toxicity", rules.toxicity);
  return summary.close().text;
}

void clean(const CleanOptions& options, Report& report) {
  const CleanRules rules = clean_rules(options);
  const auto stage = report.stage("clean");
  Cleaner cleaner(options, rules);
  process_records(
      options.stream, report, [&](Record& record) -> std::shared_ptr<void> { return cleaner.measure(record); },
      [&](Record& record, void* signals) { return cleaner.decide(record, *static_cast<const Signals*>(signals)); });
  report.results.emplace_back("rules", rules_summary(rules));
  if (cleaner.near()) report.results.emplace_back("near", cleaner.near_summary());
}

}  // namespace ds
