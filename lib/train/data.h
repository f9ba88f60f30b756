// Training data: records to token ids once at the start, cut and packed into rows, shuffled, handed out as batches.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/input.h"
#include "model/decoder.h"

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

// The documents of the data files. A record is a document, and a document is a sequence of its own: its rows see
// nothing of their neighbours.
struct Documents {
  explicit Documents(int64_t vocab_size) : ids(vocab_size) {}
  TokenStore ids;
  std::vector<size_t> offsets = {0};      // document d is ids[offsets[d] .. offsets[d + 1])
  std::vector<float> weights;             // of each document's loss; empty: 1
  std::vector<LineReader::InputSummary> inputs;
  uint64_t text_bytes = 0;                // UTF-8 of the `text` records
  size_t count() const { return offsets.size() - 1; }
};

struct DataOptions {
  std::vector<std::string> files;
  std::string text_field = "text";
  std::string weight_field;               // "augment.weight": a number > 0 or 0; empty: every document weighs 1
  size_t max_record_bytes = size_t{64} << 20;
  int32_t bos_id = -1, eos_id = -1;       // put around each text; -1: none
};
// Reads every record: `tokens` (ids, used as they are), else the text field by the tokenizer (which may be null where
// all records hold ids) between BOS and EOS (EOS in BOS's place where there is none, as ds-eval begins a text). A record
// with neither, an id outside of [0, vocab_size) or a bad weight is an Error with FILE:LINE. Order is the files' order
// for any -j.
Documents load_documents(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size);

// A part of a document: `length` inputs from ids[begin] on; each one's target is the id after it.
struct Piece {
  size_t begin;
  int32_t length;
  uint32_t document;
};

// Rows of at most `sequence_length` inputs. A document longer than that is cut into full pieces and a rest; rests and
// short documents share rows by best-fit decreasing. Rows stand in the order of their earliest piece, so documents of
// sequence_length + 1 ids are the rows, in order. Documents of fewer than two ids have nothing to predict.
struct PackedRows {
  std::vector<Piece> pieces;                // row r is pieces[row_begin[r] .. row_begin[r + 1])
  std::vector<size_t> row_begin = {0};
  uint64_t targets = 0;                     // tokens to predict in one epoch
  size_t count() const { return row_begin.size() - 1; }
  std::span<const Piece> row(size_t r) const {
    return std::span(pieces).subspan(row_begin[r], row_begin[r + 1] - row_begin[r]);
  }
};
PackedRows pack_rows(const Documents& documents, int64_t sequence_length);

// Which row comes when: row `position` of the endless stream of epochs. Each epoch is a permutation of its own by
// (seed, epoch), or the rows' order without shuffle.
class RowOrder {
 public:
  RowOrder(size_t rows, uint64_t seed, bool shuffle) : rows_(rows), seed_(seed), shuffle_(shuffle) {}
  size_t at(uint64_t position);

 private:
  size_t rows_;
  uint64_t seed_;
  bool shuffle_;
  uint64_t epoch_ = ~uint64_t{0};
  std::vector<uint32_t> permutation_;
};

// Rows made ready for the decoder. Each piece is a sequence, numbered from 0 within the batch.
struct TrainingBatch {
  TokenBatch batch;
  std::vector<int32_t> targets;
  std::vector<float> weights;               // of each target's loss: its document's
  std::vector<int32_t> lengths;             // of each sequence
};
TrainingBatch make_batch(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows);
// The rows of a step, `micro_batch_size` of them in a batch (the last one may have fewer).
std::vector<TrainingBatch> make_batches(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows,
                                        int64_t micro_batch_size);

}  // namespace ds
