// New records from old ones: what each verb of ds-augment does.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace ds {

struct Report;

struct AugmentOptions {
  std::vector<std::string> inputs = {"-"};
  std::string output = "-";
  std::string text_field = "text", id_field = "id";
  size_t max_record_bytes = size_t{64} << 20;
  uint64_t seed = 0;
  // embed, neighbors, expand
  int64_t dimension = 256;
  int64_t neighbors = 5;
  // expand
  double threshold = 0.9;        // cosine above which a neighbour is used
  int64_t max_neighbors = 1;     // of those, the nearest so many
  double keep = 0.5;             // share of a neighbour's sentences that its paraphrase keeps
  // grade
  std::vector<std::string> reference;  // texts that the byte model is fitted on; empty: the other half of the stream
  double spread = 0.5;           // weights run from 1 - spread / 2 to 1 + spread / 2
  // split
  double held_out = 0.05;        // share of the ids
  std::string held_out_file;
};

// Each reads all records of the inputs (bad lines are Errors) and writes them in order; nothing else of them changes.
// embed: "augment": {"embedding": [dimension numbers, of norm 1]}.
void embed(const AugmentOptions& options, Report& report);
// neighbors: "augment": {"neighbors": [{"id", "cosine"}, ...]}, nearest first, equal ones in the order of the stream.
void neighbors(const AugmentOptions& options, Report& report);
// expand: the text of a record with a neighbour above the threshold goes on with a paraphrase of that neighbour, and
// "augment": {"expanded_with": [ids], "cosine": [...]}; other records stay byte for byte.
void expand(const AugmentOptions& options, Report& report);
// grade: "augment": {"bits_per_byte", "complexity", "difficulty", "grade", "weight"}; see grade.h.
void grade(const AugmentOptions& options, Report& report);
// split: records whose id hashes into the share go to held_out_file, the others to output. Streams; needs no memory.
void split(const AugmentOptions& options, Report& report);

}  // namespace ds
