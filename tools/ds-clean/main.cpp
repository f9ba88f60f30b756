// ds-clean: filter and deduplicate a stream of records in one pass.
#include "clean/clean.h"
#include "cli/app.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-clean", "filter and deduplicate a stream of records in one pass");
  CleanOptions options;
  auto& stream = options.stream;
  auto o = app.verb(
      "", "filter and deduplicate a stream of records in one pass",
      {R"(printf '{"text": "a b c d"}\n{"text": "A, b: c d!"}\n' | ds-clean --near 0.8 --rejects dropped.jsonl)",
       R"(printf '{"id": 1, "text": "too short"}\n' | ds-clean --preset pretrain --report report.json)"},
      [&](const CommonOptions&, Report& report) {
        clean(options, report);
        return 0;
      });
  o.group("Input and output");
  o.option("FILE", stream.inputs, "JSONL records, plain, .gz or .zst; - is standard input", "FILE");
  o.option("-o,--output", stream.output, "kept records, byte for byte; NAME.zst is compressed", "FILE");
  o.option(
      "--rejects", stream.rejects,
      "dropped records with \"clean\": {\"reason\", ...}, and bad lines; without it the first bad line ends the run",
      "FILE");
  o.option("--text-field", options.text_field, "the field that is judged", "NAME");
  o.option("--id-field", options.id_field, "the field that names a record; FILE:LINE where it is absent", "NAME");
  o.bytes("--max-record-bytes", stream.max_record_bytes, "a longer line is a bad line");
  o.group(
      "Filters (each off unless asked for; \"off\" takes one out of a preset; first match gives the reason, in this "
      "order)");
  o.choice("--preset", options.preset, clean_presets(), "pretrain: --exact --near 0.8 --repetition 0.8 --min-words 50");
  o.flag("--exact", options.exact,
         "drop a text that stood in an earlier record (XXH3-128; about 100 bytes of memory a distinct text)");
  o.option("--near", options.near,
           "drop where the Jaccard index of the shingle sets with an earlier record, kept or dropped, is at least T, "
           "0 < T <= 1; exact, no pair is missed. Memory for each distinct set: 150 bytes and the id, and for each of "
           "its shingles 8 bytes and about 20 * (1 - T)",
           "T");
  o.option("--shingle", options.shingle,
           "what --near compares: word:N, N words (lower-case runs of letters, digits and _), or char:N, N characters "
           "(lower-case, runs of white space as one); shorter texts are one shingle",
           "KIND");
  o.option("--repetition", options.repetition,
           "drop where more than this share of the word 5-grams occurred before in the same text", "R");
  o.option("--min-words", options.min_words, "drop texts of fewer words", "N");
  o.option("--max-words", options.max_words, "drop texts of more words", "N");
  o.option("--toxicity", options.toxicity, "drop where more than this share of the words stands in the lexicon", "T");
  o.option("--lexicon", options.lexicon,
           "one word a line, # begins a comment; without it a short built-in English list", "FILE");
  return app.run(argc, argv);
}
