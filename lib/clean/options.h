// What a user can ask of ds-clean.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/jsonl.h"

namespace ds {

// What was typed. A filter is off where its string or list is empty and no preset asks for it, and where it is "off".
struct CleanOptions {
  StreamOptions stream;
  std::string shard;          // of stream.shard, as typed: "2/8"
  std::string output_folder;  // instead of stream.output: a file for each input
  std::string text_field;     // empty: "text", or question and answer of a record that has no such field
  std::string id_field = "id";

  std::vector<std::string> presets;
  std::vector<std::string> limits;  // by filter_table (filters.h)
  std::string tokenizer;            // of min-tokens and max-tokens: tokenizer.json or a model folder
  std::vector<std::string> languages;
  std::string min_lang_score, language_model;
  std::vector<std::string> url_lists;
  std::string url_field = "url";
  std::string pii, pii_kinds = "all";  // "", redact, tag or drop
  std::string lexicon;                 // empty: the built-in list
  std::string toxicity_model, toxicity_label, quality_model, quality_label;
  std::string prompt_field, completion_field;  // of answers; empty: by the forms of ds-jsonl(5)
  std::vector<std::string> benchmarks, benchmark_fields;
  std::string contamination = "0.5";
  uint64_t contamination_words = 13;
  std::string rules;  // file
  bool c4_lines = false;

  bool exact = false;
  std::string exact_on = "text";  // or words
  std::string near, shingle = "word:5";
  std::vector<std::string> against;
  std::string index;
  std::string keep = "first";  // longest, best:FIELD, none
  bool duplicate_lines = false, duplicate_paragraphs = false, whole_sentences = false;
  uint64_t duplicate_min_characters = 1;
  std::string duplicate_passages;  // bytes

  bool annotate = false;
  std::string explain;  // an id
  uint64_t seed = 0;
};

}  // namespace ds
