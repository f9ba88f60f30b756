// ds-augment: new records from old ones.
#include "augment/augment.h"
#include "cli/app.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-augment", "Embed, expand, grade and split records.");
  AugmentOptions o;
  const auto verb = [&](const char* name, const char* summary, const char* example,
                        void (*work)(const AugmentOptions&, Report&)) {
    Options declared = app.verb(name, summary, {example}, [&o, work](const CommonOptions& common, Report& report) {
      o.seed = common.seed;
      work(o, report);
      return 0;
    });
    declared.group("Input and output");
    declared.option("FILE", o.inputs, "JSONL records, plain, .gz or .zst; - is standard input", "FILE");
    declared.option("-o,--output", o.output, "records in the order of the input; NAME.zst is compressed", "FILE");
    declared.option("--text-field", o.text_field, "the field that is worked on", "NAME");
    declared.option("--id-field", o.id_field, "the field that names a record", "NAME");
    declared.bytes("--max-record-bytes", o.max_record_bytes, "a longer line is an error");
    return declared;
  };
  const auto embedding = [&](Options declared) {
    declared.group("Embedding (held in memory: each record twice, its features at 8 bytes, and 4 bytes a coordinate)");
    declared.option("--dimension", o.dimension, "coordinates of a vector, 8 to 4096", "N");
    return declared;
  };

  embedding(verb("embed", "add a vector to each record: TF-IDF of words and word pairs, projected at random",
                 R"(printf '{"id": 1, "text": "a b c"}\n' | ds-augment embed --dimension 8)", embed));

  embedding(verb("neighbors", "add each record's nearest others by cosine",
                 R"(printf '{"id": 1, "text": "a b c"}\n{"id": 2, "text": "b c d"}\n' | ds-augment neighbors)", neighbors))
      .option("--neighbors", o.neighbors, "nearest others of a record, at most 1000", "N");

  Options expanding = embedding(verb(
      "expand", "append to a text a paraphrase of its nearest neighbour, if that is near enough",
      R"(printf '{"id": 1, "text": "One is here. Two."}\n{"id": 2, "text": "One is here. Three."}\n' | ds-augment expand --threshold 0.2)", expand));
  expanding.option("--neighbors", o.neighbors, "nearest others that are looked at, at most 1000", "N")
      .option("--threshold", o.threshold, "cosine that a neighbour must exceed", "C")
      .option("--max-neighbors", o.max_neighbors, "neighbours appended at most", "N")
      .option("--keep", o.keep, "share of a neighbour's sentences that its paraphrase keeps", "SHARE");

  verb("grade", "add difficulty, grade and training weight to each record",
       R"(printf '{"id": 1, "text": "a b c"}\n{"id": 2, "text": "b c d"}\n' | ds-augment grade)", grade)
      .group("Grades (held in memory: each record twice, and at most 2 GB of counts)")
      .option("--reference", o.reference,
              "records that the order-5 byte model is fitted on; without it, each half of the input (by id) is judged "
              "by the other half", "FILE")
      .option("--spread", o.spread, "weights run from 1 - S/2 to 1 + S/2 with difficulty", "S");

  verb("split", "send a share of the records, by hash of the id, to another file",
       R"(printf '{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n' | ds-augment split --held-out 0.5 --held-out-file held.jsonl)", split)
      .group("Shares (a record is in the same one whatever else is in the input)")
      .option("--held-out", o.held_out, "share of the ids", "SHARE")
      .option("--held-out-file", o.held_out_file, "where they go; the others go to -o", "FILE")
      .required();
  return app.run(argc, argv);
}
