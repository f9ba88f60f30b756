// Documents cut and packed into rows, the order of the rows, and rows made ready for the decoder.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/decoder.h"
#include "train/documents.h"

namespace ds {

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

// The numbers 0 .. weights.size()-1, shuffled by `rng` or ascending. With weights that differ, row r stands there
// floor(c) or floor(c) + 1 times, c = weights[r] / their mean on average: rare rows are not lost, and as many rows come as
// there are, but for chance. Weights that are all zero are an Error.
std::vector<uint32_t> row_order(std::span<const double> weights, const Rng& rng, bool shuffle);

// w to the power by which weights are annealed: w at 1, 1 at 0; 0 stays 0 above 0.
double annealed_weight(double w, double power);

// Rows made ready for the decoder. Each piece is a sequence, numbered from 0 within the batch.
struct TrainingBatch {
  TokenBatch batch;
  std::vector<int32_t> targets;
  std::vector<float> weights;               // of each target's loss
  std::vector<int32_t> lengths;             // of each sequence
  std::vector<std::string> records;         // of each sequence, "FILE:LINE": for messages
};
// Adds a row. Its targets weigh what their document does, to the power `weight_power`.
void append_row(TrainingBatch& batch, const Documents& documents, const PackedRows& packed, size_t row, double weight_power);
// The rows given, `micro_batch_size` of them in a batch (the last one may have fewer).
std::vector<TrainingBatch> make_batches(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows,
                                        int64_t micro_batch_size);

}  // namespace ds
