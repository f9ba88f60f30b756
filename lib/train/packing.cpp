#include "train/packing.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/math.h"

namespace ds {

PackedRows pack_rows(const Documents& documents, int64_t sequence_length) {
  require(sequence_length >= 1, "--sequence-length must be at least 1");
  const auto room = static_cast<size_t>(sequence_length);
  require(documents.count() < UINT32_MAX, "more than 2^32 documents");
  PackedRows packed;
  std::vector<Piece> pieces;
  for (size_t d = 0; d < documents.count(); ++d) {
    for (size_t begin = documents.offsets[d]; begin + 1 < documents.offsets[d + 1]; begin += room) {
      const size_t length = std::min(room, documents.offsets[d + 1] - begin - 1);
      pieces.push_back({begin, static_cast<int32_t>(length), static_cast<uint32_t>(d)});
      packed.targets += length;
    }
  }
  require(!pieces.empty(), "the training data has no document of at least two tokens");

  // Longest first; each piece goes where the least room is left that takes it, the earliest such row among equals.
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pieces[a].length > pieces[b].length; });
  std::vector<std::vector<size_t>> rows;
  std::set<std::pair<size_t, size_t>> open;  // (room left, row)
  for (const size_t p : order) {
    const auto length = static_cast<size_t>(pieces[p].length);
    const auto fit = open.lower_bound({length, 0});
    size_t left = room, row = rows.size();
    if (fit != open.end()) {
      std::tie(left, row) = *fit;
      open.erase(fit);
      rows[row].push_back(p);
    } else {
      rows.push_back({p});
    }
    if (left > length) open.insert({left - length, row});
  }
  for (auto& row : rows) std::sort(row.begin(), row.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.front() < b.front(); });
  packed.pieces.reserve(pieces.size());
  for (const auto& row : rows) {
    for (const size_t p : row) packed.pieces.push_back(pieces[p]);
    packed.row_begin.push_back(packed.pieces.size());
  }
  require(packed.count() < UINT32_MAX, "more than 2^32 rows of tokens");
  return packed;
}

std::vector<uint32_t> row_order(std::span<const double> weights, const Rng& rng, bool shuffle) {
  std::vector<uint32_t> order;
  if (std::all_of(weights.begin(), weights.end(), [&](double w) { return w == weights[0]; })) {
    require(!weights.empty() && weights[0] > 0, "every weight of the training data is zero");
    order.resize(weights.size());
    std::iota(order.begin(), order.end(), 0u);
  } else {
    require(*std::min_element(weights.begin(), weights.end()) >= 0, "a weight of the training data is negative");
    const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(weights.size());
    const Rng chance{rng.seed, ~rng.stream};
    for (size_t r = 0; r < weights.size(); ++r)
      order.insert(order.end(), static_cast<size_t>(std::floor(weights[r] / mean + chance.uniform(r))), static_cast<uint32_t>(r));
    if (order.empty()) order.push_back(static_cast<uint32_t>(std::max_element(weights.begin(), weights.end()) - weights.begin()));
  }
  if (!shuffle) return order;
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[rng.below(i, i + 1)]);
  return order;
}

double annealed_weight(double w, double power) {
  if (power == 1) return w;
  if (power == 0) return 1;
  return w <= 0 ? 0 : math::exp(power * math::log(w));
}

void append_row(TrainingBatch& out, const Documents& documents, const PackedRows& packed, size_t row, double weight_power) {
  for (const Piece& piece : packed.row(row)) {
    const auto sequence = static_cast<int32_t>(out.lengths.size());
    const double own = documents.weights.empty() ? 1.0 : documents.weights[piece.document];
    const auto weight = static_cast<float>(annealed_weight(own, weight_power));
    for (int32_t i = 0; i < piece.length; ++i) {
      out.batch.tokens.push_back(documents.ids[piece.begin + static_cast<size_t>(i)]);
      out.batch.sequences.push_back(sequence);
      out.batch.positions.push_back(i);
      out.targets.push_back(documents.ids[piece.begin + static_cast<size_t>(i) + 1]);
      out.weights.push_back(weight);
    }
    out.lengths.push_back(piece.length);
    out.records.push_back(documents.where(piece.document));
  }
}

std::vector<TrainingBatch> make_batches(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows,
                                        int64_t micro_batch_size) {
  require(micro_batch_size >= 1, "a micro-batch of ", micro_batch_size, " rows");
  std::vector<TrainingBatch> batches;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i % static_cast<size_t>(micro_batch_size) == 0) batches.emplace_back();
    append_row(batches.back(), documents, packed, rows[i], 1);
  }
  return batches;
}

}  // namespace ds
