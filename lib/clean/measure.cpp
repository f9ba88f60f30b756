#include "clean/measure.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "clean/answers/answer.h"
#include "clean/filters.h"
#include "clean/lexicon.h"
#include "clean/pii/conversation.h"
#include "clean/pii/pii.h"
#include "clean/quality/repetition.h"
#include "clean/quality/text_signals.h"
#include "clean/rules/policy.h"
#include "clean/url_list.h"
#include "text/classifier.h"
#include "text/language.h"
#include "text/tokenizer.h"
#include "text/units.h"

namespace ds {

enum class PiiAction : uint8_t { off, redact, tag, drop };

struct Measurer::Impl {
  const CleanOptions& options;
  bool keep_text, keep_words;
  std::vector<Limit> limits;
  uint32_t groups = 0;
  std::optional<double> min_lang_score;
  PiiAction pii = PiiAction::off;
  uint32_t pii_kinds = 0;
  std::optional<Policy> policy;
  std::optional<Tokenizer> tokenizer;
  std::optional<Lexicon> lexicon;
  std::optional<Classifier> language_model, toxicity_model, quality_model;
  size_t toxicity_label = 0, quality_label = 0;
  std::optional<UrlList> urls;
  std::unique_ptr<Decontaminator> decontaminator;
  bool c4_lines = false;

  Impl(const CleanOptions& options, bool keep_text, bool keep_words, Report& report);
  void read_models();
  void read_text(const Record& record, Measured& m) const;
  void measure_groups(const Record& record, Measured& m) const;
  void measure_question(const Record& record, Measured& m) const;
  void measure_models(Measured& m) const;
  void measure_quality(Measured& m, std::string& c4_text) const;
  void find_edits(const Record& record, Measured& m, std::string c4_text, std::vector<TextEdit>& redactions) const;
  void edit(Record& record, Measured& m, const std::vector<TextEdit>& redactions) const;
  void judge(const Record& record, Measured& m) const;
  bool wants(SignalGroup group) const { return has_group(groups, group); }
  const std::string& text_field() const {
    static const std::string usual = "text";
    return options.text_field.empty() ? usual : options.text_field;
  }
};

JsonWriter begin_details(std::string_view reason) {
  JsonWriter details;
  details.open('{').field("reason", reason);
  return details;
}

static double share_option(const char* option, const std::string& typed, double otherwise) {
  if (typed.empty()) return otherwise;
  double value{};
  const auto [stop, error] = std::from_chars(typed.data(), typed.data() + typed.size(), value);
  if (error != std::errc() || stop != typed.data() + typed.size() || !(value >= 0 && value <= 1))
    throw UsageError(cat(option, " must be a number from 0 to 1, not '", typed, "'"));
  return value;
}

static PiiAction pii_action(const std::string& typed) {
  if (typed.empty() || typed == "off") return PiiAction::off;
  if (typed == "redact") return PiiAction::redact;
  if (typed == "tag") return PiiAction::tag;
  if (typed == "drop") return PiiAction::drop;
  throw UsageError(cat("--pii must be redact, tag, drop or off, not '", typed, "'"));
}

// The number of the label that a score is the probability of.
static size_t score_label(const Classifier& model, const std::string& typed, const std::string& path,
                          const char* option) {
  const std::string name = !typed.empty() ? typed : !model.positive().empty() ? model.positive() : "true";
  if (const auto label = model.find_label(name)) return *label;
  std::string list;
  for (const std::string& label : model.labels()) list += (list.empty() ? "" : ", ") + label;
  throw UsageError(cat(path, ": the model has no label '", name, "'; name one of ", list, " by ", option));
}

// A signal that needs a file is measured only where the file is named.
static void need_file(uint32_t groups, SignalGroup group, bool given, const char* what) {
  if (has_group(groups, group) && !given)
    throw UsageError(cat(what, " is needed by a filter or rule, and was not named"));
}

// A code that no text can have would drop them all.
static void check_language(const std::string& code, const std::optional<Classifier>& model) {
  if (code == "un" || (model ? model->find_label(code).has_value() : is_language_code(code))) return;
  throw UsageError(
      cat("--language: '", code, "' is ",
          model ? "no label of the language model" : "no code that is found here: ISO 639-1, such as en or zh"));
}

// What would drop every record, or redact none, by a slip.
static void check_options(const CleanOptions& options, uint32_t groups) {
  if (options.pii.empty() && options.pii_kinds != "all" && !has_group(groups, SignalGroup::pii))
    throw UsageError("--pii-kinds has no use without --pii");
  if (options.benchmarks.empty() &&
      (!options.benchmark_fields.empty() || options.contamination != "0.5" || options.contamination_words != 13))
    throw UsageError("--benchmark-field, --contamination and --contamination-words have no use without --benchmark");
}

void Measurer::Impl::read_models() {
  need_file(groups, SignalGroup::tokens, !options.tokenizer.empty(), "--tokenizer");
  need_file(groups, SignalGroup::toxicity_model, !options.toxicity_model.empty(), "--toxicity-model");
  need_file(groups, SignalGroup::quality_model, !options.quality_model.empty(), "--quality-model");
  need_file(groups, SignalGroup::url, !options.url_lists.empty(), "--url-list");
  need_file(groups, SignalGroup::contamination, !options.benchmarks.empty(), "--benchmark");
  if (wants(SignalGroup::tokens)) tokenizer.emplace(options.tokenizer);
  if (wants(SignalGroup::toxicity))
    lexicon.emplace(options.lexicon.empty() ? builtin_lexicon() : read_lexicon(options.lexicon));
  else if (!options.lexicon.empty())
    throw UsageError("--lexicon has no use without --toxicity");
  if (!options.language_model.empty()) language_model.emplace(options.language_model);
  for (const std::string& code : options.languages) check_language(code, language_model);
  if (!options.toxicity_model.empty()) {
    toxicity_model.emplace(options.toxicity_model);
    toxicity_label = score_label(*toxicity_model, options.toxicity_label, options.toxicity_model, "--toxicity-label");
  }
  if (!options.quality_model.empty()) {
    quality_model.emplace(options.quality_model);
    quality_label = score_label(*quality_model, options.quality_label, options.quality_model, "--quality-label");
  }
  if (!options.url_lists.empty()) urls.emplace(options.url_lists);
}

// The funnel counts by reason, so a rule must not take the name of a filter.
static void check_rule_names(const Policy& policy, const std::string& file) {
  std::vector<std::string_view> taken = {
      "exact-duplicate", "near-duplicate",       "url-list",           "language", "contamination", "pii", "c4-lines",
      "duplicate-lines", "duplicate-paragraphs", "duplicate-passages", "bad-line"};
  for (const Filter& filter : filter_table) taken.push_back(std::string_view(filter.option).substr(2));
  for (const Policy::Rule& rule : policy.rules)
    if (std::find(taken.begin(), taken.end(), rule.reason) != taken.end())
      throw UsageError(
          cat(file, ": a rule is named '", rule.reason, "', which is the reason of a filter; name it otherwise"));
}

Measurer::Impl::Impl(const CleanOptions& options, bool keep_text, bool keep_words, Report& report)
    : options(options),
      keep_text(keep_text),
      keep_words(keep_words),
      limits(ds::limits(options.limits, options.presets)) {
  groups = groups_of(limits);
  if (!options.rules.empty()) {
    policy = read_policy(options.rules);
    check_rule_names(*policy, options.rules);
    groups |= policy->groups;
  }
  if (!options.min_lang_score.empty()) min_lang_score = share_option("--min-lang-score", options.min_lang_score, 0);
  if (min_lang_score || !options.languages.empty()) groups = groups | SignalGroup::language;
  const double contamination = share_option("--contamination", options.contamination, 0.5);
  if (contamination == 0) throw UsageError("--contamination must be above 0");
  pii = pii_action(options.pii);
  pii_kinds = parse_pii_kinds("--pii-kinds", options.pii_kinds);
  if (pii != PiiAction::off) groups = groups | SignalGroup::pii;
  if (!options.url_lists.empty()) groups = groups | SignalGroup::url;
  if (!options.benchmarks.empty()) groups = groups | SignalGroup::contamination;
  if (!options.toxicity_model.empty()) groups = groups | SignalGroup::toxicity_model;
  if (!options.quality_model.empty()) groups = groups | SignalGroup::quality_model;
  const auto& presets = options.presets;
  c4_lines = options.c4_lines || std::find(presets.begin(), presets.end(), "c4") != presets.end();
  if (c4_lines) groups = groups | SignalGroup::c4;
  if (options.annotate || !options.explain.empty()) {
    groups = groups | SignalGroup::length | (SignalGroup::words | SignalGroup::repetition) |
             (SignalGroup::gopher_repetition | SignalGroup::gopher_quality) | (SignalGroup::c4 | SignalGroup::fineweb) |
             (SignalGroup::ratios | SignalGroup::language) | (SignalGroup::pii | SignalGroup::toxicity) |
             SignalGroup::answer;
    if (!options.tokenizer.empty()) groups = groups | SignalGroup::tokens;
  }
  check_options(options, groups);
  read_models();
  if (!options.benchmarks.empty())
    decontaminator = std::make_unique<Decontaminator>(
        DecontaminateOptions{options.benchmarks, options.benchmark_fields, options.contamination_words, contamination,
                             options.stream.max_record_bytes},
        &report);
}

// The text that is judged: the named field; where none is named, "text", or else what a question and its answer say.
void Measurer::Impl::read_text(const Record& record, Measured& m) const {
  const std::string& field = text_field();
  const bool needed = keep_text || groups != 0;
  if (record.has(field) || !options.text_field.empty()) {
    if (needed)
      m.text = record.required_string(field);
    else
      record.require_string(field);
    return;
  }
  const auto pair = question_answer(record, options.prompt_field, options.completion_field);
  if (!pair) {
    record.required_string(field);  // says that there is none
    return;
  }
  if (needed) m.text = pair->question + "\n" + pair->answer;
}

void Measurer::Impl::measure_question(const Record& record, Measured& m) const {
  const auto pair = question_answer(record, options.prompt_field, options.completion_field);
  if (!pair) return;
  measure_answer(pair->question, pair->answer, m.signals);
  const auto language = [&](const std::string& text) {
    return language_model ? detect_language(text, *language_model) : detect_language(text);
  };
  const Language question = language(pair->question), answer = language(pair->answer);
  if (question.code != "un" && answer.code != "un")
    m.signals[Signal::answer_foreign] = question.code != answer.code ? 1 : 0;
}

void Measurer::Impl::measure_models(Measured& m) const {
  Signals& s = m.signals;
  if (wants(SignalGroup::tokens)) s[Signal::tokens] = static_cast<double>(tokenizer->encode(m.text, false).size());
  if (wants(SignalGroup::language)) {
    const Language found = language_model ? detect_language(m.text, *language_model) : detect_language(m.text);
    s.lang = found.code;
    s[Signal::lang_score] = found.score;
  }
  if (toxicity_model) s[Signal::toxicity_score] = toxicity_model->predict(m.text)[toxicity_label];
  if (quality_model) s[Signal::quality_score] = quality_model->predict(m.text)[quality_label];
}

void Measurer::Impl::measure_groups(const Record& record, Measured& m) const {
  Signals& s = m.signals;
  const bool counts_units = wants(SignalGroup::words) || wants(SignalGroup::repetition) || wants(SignalGroup::toxicity);
  if (keep_words || counts_units) m.words = word_hashes(m.text);
  if (counts_units) {
    // Units are words where there is no CJK character.
    const bool same = !may_have_cjk(m.text);
    const std::vector<uint64_t> divided = same ? std::vector<uint64_t>() : unit_hashes(m.text);
    const std::vector<uint64_t>& units = same ? m.words : divided;
    if (wants(SignalGroup::words)) s[Signal::words] = static_cast<double>(units.size());
    if (wants(SignalGroup::repetition)) s[Signal::repetition] = repetition_ratio(units);
    if (wants(SignalGroup::toxicity)) s[Signal::toxicity] = lexicon_share(units, *lexicon);
  }
  measure_models(m);
  if (urls) {
    const auto url = record.string(options.url_field);
    s[Signal::url_listed] = url && urls->contains(*url) ? 1 : 0;
  }
  if (decontaminator) {
    m.contamination = decontaminator->measure(m.text);
    s[Signal::contamination] = m.contamination.share;
    s[Signal::contamination_run] = m.contamination.run;
  }
  if (wants(SignalGroup::answer)) measure_question(record, m);
}

// FineWeb looks at what C4 leaves where C4's lines are all that stays, and else at the text itself.
void Measurer::Impl::measure_quality(Measured& m, std::string& c4_text) const {
  const auto fineweb = static_cast<uint32_t>(SignalGroup::fineweb);
  if (c4_lines || !wants(SignalGroup::c4) || !wants(SignalGroup::fineweb))
    return measure_text(m.text, groups, m.signals, c4_lines ? &c4_text : nullptr);
  measure_text(m.text, groups & ~fineweb, m.signals, nullptr);
  measure_text(m.text, fineweb, m.signals, nullptr);
}

static constexpr Signal pii_signals[pii_kind_count] = {Signal::pii_email, Signal::pii_phone, Signal::pii_ip,
                                                       Signal::pii_iban,  Signal::pii_card,  Signal::pii_key};

// What C4 leaves of the text, and the personal data in that: where they are, and the text without.
void Measurer::Impl::find_edits(const Record& record, Measured& m, std::string c4_text,
                                std::vector<TextEdit>& redactions) const {
  if (c4_lines && c4_text != m.text) {
    m.edited = std::move(c4_text);
    m.has_edits = true;
  }
  if (!wants(SignalGroup::pii)) return;
  const auto set_counts = [&](const std::array<uint64_t, pii_kind_count>& counts) {
    for (size_t kind = 0; kind < pii_kind_count; ++kind)
      if (pii_kinds & pii_bit(static_cast<PiiKind>(kind)))
        m.signals[pii_signals[kind]] = static_cast<double>(counts[kind]);
  };
  if (!record.has(text_field()))
    return set_counts(
        count_pii(record, conversation_fields(record, options.prompt_field, options.completion_field), pii_kinds));
  thread_local std::vector<PiiMatch> matches;
  find_pii(m.current_text(), pii_kinds, matches);
  std::array<uint64_t, pii_kind_count> counts{};
  for (const PiiMatch& match : matches) ++counts[static_cast<size_t>(match.kind)];
  set_counts(counts);
  if (pii != PiiAction::redact) return;
  for (const PiiMatch& match : matches)
    redactions.push_back({match.begin, match.end, std::string(pii_replacement(match.kind))});
}

void Measurer::Impl::edit(Record& record, Measured& m, const std::vector<TextEdit>& redactions) const {
  const std::string& field = text_field();
  if (!record.has(field)) {
    if (m.has_edits)
      fail(record.where(), ": C4's lines are those of a text field; name it by --text-field, for example completion");
    const auto fields = conversation_fields(record, options.prompt_field, options.completion_field);
    if (pii != PiiAction::redact || !redact_pii(record, fields, pii_kinds)) return;
    std::vector<PiiMatch> matches;
    find_pii(m.text, pii_kinds, matches);
    m.edited = redact_pii(m.text, matches);
    m.has_edits = true;
    return;
  }
  if (m.has_edits) record.set(field, json_string(m.edited));
  if (redactions.empty()) return;
  record.splice(field, redactions);
  m.edited = apply_edits(m.current_text(), redactions);
  m.has_edits = true;
}

static bool any_pii(const Signals& signals) {
  return std::any_of(std::begin(pii_signals), std::end(pii_signals), [&](Signal s) { return signals[s] > 0; });
}

// The first filter that drops the record: address, language, the limits, benchmarks, personal data, the policy.
void Measurer::Impl::judge(const Record& record, Measured& m) const {
  const Signals& s = m.signals;
  const auto drop = [&](std::string_view reason, JsonWriter& details) {
    m.reason = reason;
    m.details = details.close().text;
  };
  if (urls && s[Signal::url_listed] > 0) {
    JsonWriter details = begin_details("url-list");
    details.key("url").raw(record.raw_value(options.url_field));
    return drop("url-list", details);
  }
  const bool listed = options.languages.empty() ||
                      std::find(options.languages.begin(), options.languages.end(), s.lang) != options.languages.end();
  if (!listed || (min_lang_score && s[Signal::lang_score] < *min_lang_score)) {
    JsonWriter details = begin_details("language");
    details.field("lang", s.lang).field("lang_score", s[Signal::lang_score]);
    return drop("language", details);
  }
  if (const Limit* limit = first_failed(limits, s)) {
    JsonWriter details = begin_details(limit->reason());
    const double value = s[limit->filter->signal];
    const SignalInfo& signal = info(limit->filter->signal);
    if (signal.kind == SignalKind::count)
      details.field(signal.name, static_cast<uint64_t>(value));
    else
      details.field(signal.name, value);
    return drop(limit->reason(), details);
  }
  if (!m.contamination.hits.empty()) {
    JsonWriter details = begin_details("contamination");
    decontaminator->describe(m.contamination, details);
    return drop("contamination", details);
  }
  if (pii == PiiAction::drop && any_pii(s)) {
    JsonWriter details = begin_details("pii");
    for (const Signal signal : pii_signals)
      if (s[signal] > 0) details.field(info(signal).name, static_cast<uint64_t>(s[signal]));
    return drop("pii", details);
  }
  if (policy) {
    if (const Policy::Rule* rule = policy->first_match(s, record)) {
      JsonWriter details = begin_details(rule->reason);
      return drop(rule->reason, details);
    }
  }
  if (m.has_edits && m.edited.empty() && !m.text.empty()) {
    JsonWriter details = begin_details("c4-lines");
    drop("c4-lines", details);
  }
}

Measurer::Measurer(const CleanOptions& options, bool keep_text, bool keep_words, Report& report)
    : impl_(std::make_unique<Impl>(options, keep_text, keep_words, report)) {}
Measurer::~Measurer() = default;

Measured Measurer::read(const Record& record) const {
  Measured m;
  impl_->read_text(record, m);
  if (impl_->keep_words) m.words = word_hashes(m.text);
  return m;
}

Measured Measurer::measure(Record& record) const {
  Measured m;
  m.bytes = record.raw().size() + 1;
  impl_->read_text(record, m);
  if (!impl_->keep_text && impl_->groups == 0 && !impl_->policy) return m;
  impl_->measure_groups(record, m);
  std::string c4_text;
  impl_->measure_quality(m, c4_text);
  std::vector<TextEdit> redactions;
  impl_->find_edits(record, m, std::move(c4_text), redactions);
  impl_->judge(record, m);
  if (m.reason.empty() && !impl_->options.annotate) impl_->edit(record, m, redactions);
  return m;
}

uint32_t Measurer::groups() const { return impl_->groups; }
Decontaminator* Measurer::decontaminator() const { return impl_->decontaminator.get(); }

std::vector<std::string> Measurer::reasons() const {
  std::vector<std::string> reasons;
  if (impl_->urls) reasons.push_back("url-list");
  if (impl_->min_lang_score || !impl_->options.languages.empty()) reasons.push_back("language");
  for (const Limit& limit : impl_->limits) reasons.push_back(limit.reason());
  if (impl_->decontaminator) reasons.push_back("contamination");
  if (impl_->pii == PiiAction::drop) reasons.push_back("pii");
  if (impl_->policy)
    for (const Policy::Rule& rule : impl_->policy->rules) reasons.push_back(rule.reason);
  if (impl_->c4_lines) reasons.push_back("c4-lines");
  return reasons;
}

std::string Measurer::rules_json() const {
  JsonWriter w;
  w.open('{');
  const auto list = [&](const char* key, const std::vector<std::string>& values) {
    if (values.empty()) return;
    w.open('[', key);
    for (const std::string& value : values) w.value(value);
    w.close();
  };
  list("url-list", impl_->options.url_lists);
  list("language", impl_->options.languages);
  if (impl_->min_lang_score) w.field("min-lang-score", *impl_->min_lang_score);
  for (const Limit& limit : impl_->limits) w.field(limit.reason(), limit.value);
  if (impl_->decontaminator)
    w.field("contamination", share_option("--contamination", impl_->options.contamination, 0.5));
  if (impl_->pii != PiiAction::off) w.field("pii", impl_->options.pii);
  std::vector<std::string> names;
  if (impl_->policy)
    for (const Policy::Rule& rule : impl_->policy->rules) names.push_back(rule.reason);
  list("policy", names);
  if (impl_->c4_lines) w.field("c4-lines", true);
  return w.close().text;
}

std::vector<std::pair<Signal, std::string>> Measurer::notes(const Signals& signals) const {
  std::vector<std::pair<Signal, std::string>> notes;
  for (const Limit& limit : impl_->limits) {
    const double value = signals[limit.filter->signal];
    const bool drops = limit.filter->below ? value < limit.value : value > limit.value;
    notes.emplace_back(limit.filter->signal,
                       cat(drops ? "DROPPED by " : "passes ", limit.filter->option, " ", limit.value));
  }
  return notes;
}

bool Measurer::tags() const { return impl_->pii == PiiAction::tag; }

std::string Measurer::tag(const Measured& measured) const {
  JsonWriter w;
  w.open('{');
  for (const Signal signal : pii_signals)
    if (measured.signals.has(signal)) w.field(info(signal).name, static_cast<uint64_t>(measured.signals[signal]));
  return w.close().text;
}

std::string Measurer::annotation(const Measured& measured, const std::string& duplicate) const {
  JsonWriter w;
  w.open('{');
  if (!measured.reason.empty()) w.field("reason", measured.reason);
  if (!duplicate.empty()) w.key("duplicate").raw(duplicate);
  if (!measured.signals.lang.empty()) w.field("lang", measured.signals.lang);
  for (size_t i = 0; i < signal_count; ++i) {
    const auto signal = static_cast<Signal>(i);
    const double value = measured.signals[signal];
    if (!measured.signals.has(signal)) continue;
    if (info(signal).kind == SignalKind::count)
      w.field(info(signal).name, static_cast<uint64_t>(value));
    else
      w.field(info(signal).name, value);
  }
  return w.close().text;
}

}  // namespace ds
