// The options of ds-clean without a verb: what is read, the filters, the edits and what is said of it.
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
  o.option(
      "--near", c.near,
      "drop where the Jaccard index of the shingle sets with an earlier record is at least T, 0 < T <= 1. MinHash "
      "bands propose (a pair at T is missed with probability 0.0005), the sets decide. Memory: at most 200 bytes a "
      "text at T >= 0.75, 12 a band and 24 below; on disk, in TMPDIR or the index, the text and id and 12 bytes",
      "T");
  o.option(
      "--shingle", c.shingle,
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
  declare_limits(o, options);
  declare_judges(o, options);
  o.group("Looking");
  o.flag("--annotate", options.annotate,
         "drop and edit nothing: every record gets its signals and reason as \"clean\"");
  o.option("--explain", options.explain, "print every signal of the record with this id, and end", "ID");
}

}  // namespace ds
