// Training data as documents of token ids: records read and tokenised, a window of the files at a time.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/input.h"

namespace ds {

class Tokenizer;

// Token ids one after the other: 2 bytes an id where the vocabulary allows it, else 4.
class TokenStore {
 public:
  explicit TokenStore(int64_t vocab_size) : narrow_(vocab_size <= 65536) {}
  void append(std::span<const int32_t> ids);
  int32_t operator[](size_t i) const { return narrow_ ? ids16_[i] : ids32_[i]; }
  size_t size() const { return narrow_ ? ids16_.size() : ids32_.size(); }

 private:
  bool narrow_;
  std::vector<uint16_t> ids16_;
  std::vector<int32_t> ids32_;
};

// Where a record came from.
struct Place {
  uint32_t file = 0;                      // an index into the files' names
  uint64_t line = 0;                      // from 1
};

// Documents, in the order of their records. A record is a document, and a document is a sequence of its own: its rows see
// nothing of their neighbours.
struct Documents {
  explicit Documents(int64_t vocab_size) : ids(vocab_size) {}
  TokenStore ids;
  std::vector<size_t> offsets = {0};      // document d is ids[offsets[d] .. offsets[d + 1])
  std::vector<float> weights;             // of each document; empty: 1
  std::vector<Place> places;              // of each document
  std::vector<std::string> files;         // what places count
  uint64_t text_bytes = 0;                // UTF-8 of the `text` records
  size_t count() const { return offsets.size() - 1; }
  std::string where(size_t document) const;  // "FILE:LINE"
};

struct DataOptions {
  std::vector<std::string> files;
  std::string text_field = "text";
  std::string weight_field;               // "augment.weight": a number >= 0; empty: every document weighs 1
  size_t max_record_bytes = size_t{64} << 20;
  int32_t bos_id = -1, eos_id = -1;       // put around each text; -1: none
};

// Reads every record: `tokens` (ids, used as they are), else the text field by the tokenizer (which may be null where
// all records hold ids) between BOS and EOS (EOS in BOS's place where there is none, as ds-eval begins a text). A record
// with neither, an id outside of [0, vocab_size) or a bad weight is an Error with FILE:LINE. Order is the files' order
// for any -j.
class DocumentReader {
 public:
  // Begins behind the first `skip_lines` lines of the files together.
  DocumentReader(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size, uint64_t skip_lines = 0);

  // The next documents: of some `window_bytes` bytes of lines (the same ones for any -j), or all to the data's end.
  // On all threads, and a signal ends it with Stopped; with `cancel`, on this thread alone, while others train: a signal
  // is theirs to heed, and it ends early, its result of no use, when *cancel is set.
  Documents read(size_t window_bytes, const std::atomic<bool>* cancel = nullptr);
  bool at_end() const { return at_end_; }
  uint64_t lines() const { return lines_; }                                     // read or skipped so far
  std::vector<LineReader::InputSummary> inputs() const { return reader_.inputs(); }  // complete at the end, with skip_lines = 0

 private:
  struct LineBatch;
  std::unique_ptr<LineBatch> next_lines();
  void tokenize(LineBatch& batch) const;
  static void append(LineBatch& batch, Documents& documents);
  DataOptions options_;
  const Tokenizer* tokenizer_;
  int64_t vocab_size_;
  LineReader reader_;
  uint64_t lines_ = 0;
  bool at_end_ = false;
};

// All documents of the files at once.
Documents load_documents(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size);

}  // namespace ds
