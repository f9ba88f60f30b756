// The options of ds-clean that judge a record by itself: by limits, models, lists, benchmarks and rules.
#include "base/error.h"
#include "clean/filters.h"
#include "ds-clean/verbs.h"

namespace ds {

void declare_judges(Options& o, CleanOptions& c) {
  o.group("Language, addresses, personal data, models and benchmarks");
  o.option("--tokenizer", c.tokenizer, "counts tokens for --min-tokens and --max-tokens: tokenizer.json or a model",
           "FILE");
  o.option("--language", c.languages, "keep these languages only (ISO 639: en,zh)", "CODE").commas();
  o.option("--min-lang-score", c.min_lang_score, "drop where the language is less sure than this, from 0 to 1", "S");
  o.option("--language-model", c.language_model, "a fastText model such as lid.176.bin instead of CLD2", "FILE");
  o.option("--url-list", c.url_lists, "drop records from these domains and addresses, one a line", "FILE");
  o.option("--url-field", c.url_field, "the field with the record's address", "NAME");
  o.option("--pii", c.pii,
           "personal data: redact (a tag takes its place), tag (counts in \"clean\"), drop (the record) or off",
           "WHAT");
  o.option("--pii-kinds", c.pii_kinds, "which: all, or of email,phone,ip,iban,card,key", "KINDS");
  o.option("--lexicon", c.lexicon,
           "entries of --toxicity, one a line, # begins a comment; without it a built-in English and Chinese list",
           "FILE");
  o.option("--toxicity-model", c.toxicity_model, "a classifier of ds-clean learn, for --max-toxicity-score", "FILE");
  o.option("--toxicity-label", c.toxicity_label, "its label; without it the one that it was trained for", "LABEL");
  o.option("--quality-model", c.quality_model, "a classifier of ds-clean learn, for --min-quality-score", "FILE");
  o.option("--quality-label", c.quality_label, "its label; without it the one that it was trained for", "LABEL");
  o.option("--benchmark", c.benchmarks,
           "drop records that hold an item of this file (JSONL of any shape): 13 words in a row, a short item, or a "
           "diluted copy. Memory: about 30 bytes a word of it",
           "FILE");
  o.option("--benchmark-field", c.benchmark_fields, "only these fields of the items", "NAME").commas();
  o.option("--contamination", c.contamination, "so much of an item in a record is contamination, from 0 to 1", "SHARE");
  o.option("--contamination-words", c.contamination_words, "so many words in a row always are", "N").range(5, 100);
  o.option("--prompt-field", c.prompt_field, "the question of a pair, where the record has no usual form", "NAME");
  o.option("--completion-field", c.completion_field, "its answer", "NAME");
  o.option("--rules", c.rules, "a TOML file of expressions over signals and fields; see RULES in ds-clean(1)", "FILE");
}

void declare_limits(Options& o, CleanOptions& c) {
  o.group("Filters by a limit (off unless asked for; \"off\" takes one out of a preset)");
  std::string names;
  for (const std::string& name : clean_presets()) names += (names.empty() ? "" : ", ") + name;
  o.option("--preset", c.presets,
           cat("limits that go together: ", names,
               "; pretrain is --exact --near 0.8 --repetition 0.8 --min-words 50, instruct the same with 50 to 512 "
               "tokens, the others are published"),
           "NAME")
      .commas();
  o.flag("--c4-lines", c.c4_lines, "take out the lines that C4 does not keep (part of --preset c4)");
  c.limits.resize(filter_table.size());
  const char* group = "";
  for (size_t i = 0; i < filter_table.size(); ++i) {
    const Filter& filter = filter_table[i];
    if (std::string_view(group) != filter.group) o.group(group = filter.group);
    std::string help = cat("drop where ", filter.below ? "less" : "more", " than this: ", info(filter.signal).meaning);
    if (filter.family) help += cat(" (", filter.family, ": ", filter.threshold, ")");
    o.option(filter.option, c.limits[i], help, "X");
  }
}

}  // namespace ds
