// The options of ds-clean without a verb: what is read, the filters, the edits and what is said of it.
#include "base/error.h"
#include "clean/filters.h"
#include "ds-clean/verbs.h"

namespace ds {

static void declare_input(Options& o, CleanOptions& c) {
  auto& stream = c.stream;
  o.group("Input and output");
  o.option("FILE", stream.inputs, "JSONL records, plain, .gz or .zst; - is standard input", "FILE");
  o.option("-o,--output", stream.output, "kept records, byte for byte; NAME.zst is compressed", "FILE");
  o.option("--output-dir", c.output_folder,
           "an output for each input, under its name; inputs that an earlier run finished are skipped (--rejects is a "
           "folder then)",
           "DIR");
  o.option(
      "--rejects", stream.rejects,
      "dropped records with \"clean\": {\"reason\", ...}, and bad lines; without it the first bad line ends the run",
      "FILE");
  o.option("--text-field", c.text_field,
           "the field that is judged; where none is named \"text\", or else the question and the answer of a record "
           "that has these",
           "NAME");
  o.option("--id-field", c.id_field, "the field that names a record; FILE:LINE where it is absent", "NAME");
  o.option("--shard", c.shard,
           "only the I-th of N parts, from 1: whole inputs where there are at least N, else every N-th record", "I/N");
  o.bytes("--max-record-bytes", stream.max_record_bytes, "a longer line is a bad line");
}

static void declare_dedup(Options& o, CleanOptions& c) {
  o.group("Duplicates (earlier records count whether they were kept or dropped)");
  o.flag("--exact", c.exact,
         "drop a text that stood in an earlier record (XXH3-128). Memory: at most 31 bytes a distinct text; its id on "
         "disk");
  o.choice("--exact-on", c.exact_on, {"text", "words"}, "what --exact compares: the bytes, or the lower-case words");
  o.option("--near", c.near,
           "drop where the Jaccard index of the shingle sets with an earlier record is at least T, 0 < T <= 1. MinHash "
           "bands propose (a pair at T is missed with probability 0.0005), the sets decide. Memory: at most 200 bytes a "
           "text at T >= 0.75, 10 a band and 24 below; on disk, in TMPDIR or the index, the text and id and 12 bytes",
           "T");
  o.option("--shingle", c.shingle,
           "what --near compares: word:N, N words (lower-case runs of letters, digits and _), unit:N, the same with each "
           "Chinese, Japanese or Korean character a word, or char:N, N characters (lower-case, runs of white space as "
           "one); shorter texts are one shingle",
           "KIND");
  o.option("--against", c.against,
           "records that were seen before: files, or folders of --index; their duplicates are dropped", "PATH");
  o.option("--index", c.index,
           "keep the index in this folder, on disk; the next run goes on with it. On disk besides: 24 bytes a text of "
           "--exact, 24 and 4 a band of --near",
           "DIR");
  o.option("--keep", c.keep,
           "of a cluster of duplicates: first (in one pass), longest, best:FIELD (the largest number there) or none "
           "(two passes; 28 bytes a record more)",
           "WHICH");
  o.flag("--duplicate-paragraphs", c.duplicate_paragraphs,
         "take out paragraphs that stood before in a kept record (12.5 bytes a distinct one)");
  o.flag("--duplicate-lines", c.duplicate_lines,
         "take out lines that stood before in a kept record (12.5 bytes a distinct one)");
  o.option("--duplicate-min-characters", c.duplicate_min_characters,
           "shorter lines and paragraphs are left alone by these two", "N");
  o.option("--duplicate-passages", c.duplicate_passages,
           "take out passages of at least N bytes that stood before in a kept record, 200 say (about 34 bytes a N "
           "bytes of text; on disk the texts)",
           "N");
  o.flag("--whole-sentences", c.whole_sentences, "of such passages take out whole sentences only");
}

static void declare_judges(Options& o, CleanOptions& c) {
  o.group("Language, addresses, personal data, models and benchmarks");
  o.option("--tokenizer", c.tokenizer, "counts tokens for --min-tokens and --max-tokens: tokenizer.json or a model", "FILE");
  o.option("--language", c.languages, "keep these languages only (ISO 639: en,zh)", "CODE").commas();
  o.option("--min-lang-score", c.min_lang_score, "drop where the language is less sure than this, from 0 to 1", "S");
  o.option("--language-model", c.language_model, "a fastText model such as lid.176.bin instead of CLD2", "FILE");
  o.option("--url-list", c.url_lists, "drop records from these domains and addresses, one a line", "FILE");
  o.option("--url-field", c.url_field, "the field with the record's address", "NAME");
  o.option("--pii", c.pii,
           "personal data: redact (a tag takes its place), tag (counts in \"clean\"), drop (the record) or off", "WHAT");
  o.option("--pii-kinds", c.pii_kinds, "which: all, or of email,phone,ip,iban,card,key", "KINDS");
  o.option("--lexicon", c.lexicon,
           "entries of --toxicity, one a line, # begins a comment; without it a built-in English and Chinese list", "FILE");
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

static void declare_filters(Options& o, CleanOptions& c) {
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

void declare_filter_verb(App& app, CleanOptions& options) {
  auto o = app.verb(
      "", "filter and deduplicate a stream of records in one pass",
      {R"(printf '{"text": "a b c d"}\n{"text": "A, b: c d!"}\n' | ds-clean --near 0.8 --rejects dropped.jsonl)",
       R"(printf '{"id": 1, "text": "too short"}\n' | ds-clean --preset pretrain --report report.json)"},
      [&](const CommonOptions& common, Report& report) {
        options.seed = common.seed;
        if (!options.shard.empty()) options.stream.shard = parse_shard(options.shard);
        clean(options, report);
        return 0;
      });
  declare_input(o, options);
  declare_dedup(o, options);
  declare_filters(o, options);
  declare_judges(o, options);
  o.group("Looking");
  o.flag("--annotate", options.annotate, "drop and edit nothing: every record gets its signals and reason as \"clean\"");
  o.option("--explain", options.explain, "print every signal of the record with this id, and end", "ID");
}

}  // namespace ds
