// ds-clean: filter and deduplicate a stream of records in one pass.
#include "ds-clean/verbs.h"

using namespace ds;

static void declare_records(Options& o, SignatureOptions& s) {
  o.group("Input and output");
  o.option("FILE", s.stream.inputs, "JSONL records, plain, .gz or .zst; - is standard input", "FILE");
  o.option("--text-field", s.text_field,
           "the field that is compared; where none is named \"text\", or else question and answer", "NAME");
  o.option("--id-field", s.id_field, "the field that names a record; FILE:LINE where it is absent", "NAME");
  o.option("--rejects", s.stream.rejects,
           "where bad lines (and duplicates) go; without it the first bad line ends the run", "FILE");
  o.bytes("--max-record-bytes", s.stream.max_record_bytes, "a longer line is a bad line");
  o.group("Near duplicates (the same in both halves)");
  o.option("--near", s.near, "the Jaccard index of near duplicates, above 0 and at most 1", "T");
  o.option("--shingle", s.shingle, "what is compared: word:N, unit:N or char:N", "KIND");
}

static void declare_halves(App& app, SignatureOptions& signatures, ClusterOptions& cluster_options) {
  auto map = app.verb("signatures", "the keys of each record, for another program to sort (the first half of --near)",
                      {R"(printf '{"id": 1, "text": "a b c d"}\n' | ds-clean signatures | sort | head -n 2)"},
                      [&](const CommonOptions& common, Report& report) {
                        signatures.seed = common.seed;
                        write_signatures(signatures, report);
                        return 0;
                      });
  declare_records(map, signatures);
  map.option("-o,--output", signatures.stream.output, "lines KEY, tab, ID; NAME.zst is compressed", "FILE");
  auto join = app.verb(
      "cluster", "drop near duplicates by their sorted keys (the second half)",
      {"ds-clean signatures docs.jsonl | LC_ALL=C sort | ds-clean cluster --signatures - docs.jsonl > kept.jsonl"},
      [&](const CommonOptions& common, Report& report) {
        cluster_options.records.seed = common.seed;
        cluster(cluster_options, report);
        return 0;
      });
  declare_records(join, cluster_options.records);
  join.option("-o,--output", cluster_options.records.stream.output, "records that stay, byte for byte", "FILE");
  join.option("--signatures", cluster_options.signatures, "the lines of the first half, those of equal keys together",
              "FILE");
}

static void declare_sample(App& app, SampleOptions& s) {
  auto o = app.verb(
      "sample", "show dropped records to read",
      {R"(printf '{"text": "a b"}\n' | ds-clean --min-words 3 --rejects dropped.jsonl; ds-clean sample dropped.jsonl)"},
      [&](const CommonOptions& common, Report& report) {
        s.seed = common.seed;
        sample_rejects(s, report);
        return 0;
      });
  o.group("Input and output");
  o.option("FILE", s.inputs, "rejects of ds-clean; - is standard input", "FILE");
  o.option("-o,--output", s.output, "text to read", "FILE");
  o.flag("--json", s.json, "the rejects themselves instead, a line each");
  o.option("--text-field", s.text_field, "the field that is shown", "NAME");
  o.option("--id-field", s.id_field, "the field that names a record", "NAME");
  o.bytes("--max-record-bytes", s.max_record_bytes, "a longer line is a bad line");
  o.group("Which");
  o.option("--reason", s.reasons, "only records that were dropped for these; bad-line: lines that were no records",
           "REASON")
      .commas();
  o.option("-n,--count", s.n, "so many, chosen at random by --seed", "N");
  o.option("--max-chars", s.max_chars, "of a text show at most so many characters, its beginning and its end; 0: all",
           "N");
}

static void declare_learn(App& app, LearnOptions& l) {
  auto o = app.verb("learn", "train a text classifier on labelled records and measure it",
                    {"ds-clean learn --label-field toxic labelled.jsonl.zst -o toxic.bin"},
                    [&](const CommonOptions& common, Report& report) {
                      l.training.seed = static_cast<uint32_t>(common.seed);
                      OutputFile out("-");
                      out.write(learn(l, report).json() + "\n");
                      out.commit();
                      return 0;
                    });
  o.group("Input and output");
  o.option("FILE", l.inputs, "JSONL records with a text and a label; - is standard input", "FILE");
  o.option("-o,--output", l.output, "the model, in fastText's format; NAME.ftz is quantized", "FILE").required();
  o.option("--text-field", l.text_field, "the field with the text", "NAME");
  o.option("--label-field", l.label_field, "the field with the label: a string, a boolean or a number", "NAME");
  o.option("--positive", l.positive,
           "the label that precision, recall and AUC are about; true where the labels are true and false", "LABEL");
  o.option("--held-out", l.held_out, "share of the distinct texts that is measured on and not trained on", "SHARE");
  o.bytes("--max-record-bytes", l.max_record_bytes, "a longer line is an error");
  o.group("Training (fastText)");
  auto& t = l.training;
  o.option("--epochs", t.epochs, "times that each record is seen", "N").range(1, 10000);
  o.option("--learning-rate", t.learning_rate, "at the start", "R");
  o.option("--dim", t.dim, "numbers of a word's vector", "N").range(1, 1024);
  o.option("--word-ngrams", t.word_ngrams, "the longest run of words with a vector; 1: words alone", "N").range(1, 10);
  o.option("--min-count", t.min_count, "rarer words have no vector of their own", "N");
  o.option("--min-characters", t.min_characters, "the shortest piece of a word with a vector", "N").range(0, 32);
  o.option("--max-characters", t.max_characters, "the longest; 0: none", "N").range(0, 32);
  o.option("--buckets", t.buckets, "vectors that runs and pieces share; each takes 4 bytes a number", "N");
}

int main(int argc, char** argv) {
  App app("ds-clean", "filter and deduplicate a stream of records in one pass");
  CleanOptions clean_options;
  SignatureOptions signatures;
  ClusterOptions cluster_options;
  LearnOptions learn_options;
  SampleOptions sample;
  declare_filter_verb(app, clean_options);
  declare_halves(app, signatures, cluster_options);
  declare_learn(app, learn_options);
  declare_sample(app, sample);
  return app.run(argc, argv);
}
