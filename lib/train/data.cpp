#include "train/data.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/stop.h"
#include "io/json.h"
#include "io/record.h"
#include "text/tokenizer.h"

namespace ds {

void TokenStore::append(std::span<const int32_t> ids) {
  if (narrow_) {
    ids16_.insert(ids16_.end(), ids.begin(), ids.end());
  } else {
    ids32_.insert(ids32_.end(), ids.begin(), ids.end());
  }
}

namespace {

// Some hundred KiB of lines, so that a thread's share of work outweighs its hand-over.
struct LineBatch : Batch {
  struct Text {
    std::string raw, file;
    uint64_t number;
  };
  std::vector<Text> lines;
  std::vector<std::vector<int32_t>> ids;
  std::vector<float> weights;
  uint64_t text_bytes = 0;
};
constexpr size_t kBatchBytes = size_t{256} << 10;

// The number at a path of keys ("augment.weight").
float record_weight(const Record& record, const std::string& path) {
  const size_t dot = path.find('.');
  const std::string top = path.substr(0, dot);
  const std::string_view raw = record.raw_value(top);
  require(!raw.empty(), record.where(), ": no field \"", top, "\" to weight the record by (--weight-field ", path, ")");
  const Json json = parse_json(raw, record.where());
  const Json* value = &json;
  for (size_t begin = dot; begin != std::string::npos && value;) {
    const size_t end = path.find('.', begin + 1);
    value = value->find(path.substr(begin + 1, end == std::string::npos ? end : end - begin - 1));
    begin = end;
  }
  require(value != nullptr, record.where(), ": no field \"", path, "\" to weight the record by");
  const double weight = value->as_double(cat(record.where(), ": ", path));
  require(weight >= 0 && weight <= 1e6, record.where(), ": ", path, " is ", weight, ", expected 0 to 1e6");
  return static_cast<float>(weight);
}

std::vector<int32_t> record_ids(const Record& record, const DataOptions& options, const Tokenizer* tokenizer,
                                int64_t vocab_size, uint64_t& text_bytes) {
  std::vector<int32_t> ids;
  if (record.has("tokens")) {
    const auto tokens = record.integers("tokens");
    require(tokens.has_value(), record.where(), ": \"tokens\" is no array of integers");
    ids.reserve(tokens->size());
    for (const int64_t id : *tokens) {
      require(id >= 0 && id < vocab_size, record.where(), ": token id ", id, " is outside of the vocabulary of ", vocab_size);
      ids.push_back(static_cast<int32_t>(id));
    }
    return ids;
  }
  const std::string text = record.required_string(options.text_field);
  require(tokenizer != nullptr, record.where(), ": a text needs a tokenizer (--tokenizer)");
  text_bytes += text.size();
  const int32_t first = options.bos_id >= 0 ? options.bos_id : options.eos_id;
  if (first >= 0) ids.push_back(first);
  const std::vector<int32_t> own = tokenizer->encode(text, false);
  ids.insert(ids.end(), own.begin(), own.end());
  if (options.eos_id >= 0) ids.push_back(options.eos_id);
  for (const int32_t id : ids) {
    require(id >= 0 && id < vocab_size, record.where(), ": the tokenizer gives id ", id, ", outside of the vocabulary of ", vocab_size);
  }
  return ids;
}

}  // namespace

Documents load_documents(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size) {
  require(!options.files.empty(), "no training data: give --data FILE.jsonl");
  Documents documents(vocab_size);
  LineReader reader(options.files, options.max_record_bytes);
  const auto produce = [&]() -> std::unique_ptr<Batch> {
    throw_if_stopped();
    auto batch = std::make_unique<LineBatch>();
    size_t bytes = 0;
    Line line;
    while (bytes < kBatchBytes && reader.next(line)) {
      batch->lines.push_back({std::string(line.text), *line.file, line.number});
      bytes += line.text.size();
    }
    if (batch->lines.empty()) return nullptr;
    return batch;
  };
  const auto work = [&](Batch& b) {
    auto& batch = static_cast<LineBatch&>(b);
    for (auto& line : batch.lines) {
      const Record record(std::move(line.raw), std::move(line.file), line.number);
      batch.ids.push_back(record_ids(record, options, tokenizer, vocab_size, batch.text_bytes));
      if (!options.weight_field.empty()) batch.weights.push_back(record_weight(record, options.weight_field));
    }
  };
  const auto consume = [&](Batch& b) {
    auto& batch = static_cast<LineBatch&>(b);
    for (const auto& ids : batch.ids) {
      documents.ids.append(ids);
      documents.offsets.push_back(documents.ids.size());
    }
    documents.weights.insert(documents.weights.end(), batch.weights.begin(), batch.weights.end());
    documents.text_bytes += batch.text_bytes;
    progress({"tokenize", "B", reader.bytes_read(), reader.bytes_total(), ""});
  };
  ordered_map(produce, work, consume);
  documents.inputs = reader.inputs();
  return documents;
}

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

size_t RowOrder::at(uint64_t position) {
  const uint64_t epoch = position / rows_, within = position % rows_;
  if (!shuffle_) return within;
  if (epoch != epoch_) {
    permutation_.resize(rows_);
    std::iota(permutation_.begin(), permutation_.end(), 0u);
    const Rng rng{seed_, hash64("ds-train shuffle", epoch)};
    for (size_t i = rows_ - 1; i > 0; --i) std::swap(permutation_[i], permutation_[rng.below(i, i + 1)]);
    epoch_ = epoch;
  }
  return permutation_[within];
}

TrainingBatch make_batch(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows) {
  TrainingBatch out;
  for (const size_t r : rows) {
    for (const Piece& piece : packed.row(r)) {
      const auto sequence = static_cast<int32_t>(out.lengths.size());
      const float weight = documents.weights.empty() ? 1.0f : documents.weights[piece.document];
      for (int32_t i = 0; i < piece.length; ++i) {
        out.batch.tokens.push_back(documents.ids[piece.begin + i]);
        out.batch.sequences.push_back(sequence);
        out.batch.positions.push_back(i);
        out.targets.push_back(documents.ids[piece.begin + i + 1]);
        out.weights.push_back(weight);
      }
      out.lengths.push_back(piece.length);
    }
  }
  return out;
}

std::vector<TrainingBatch> make_batches(const Documents& documents, const PackedRows& packed, std::span<const size_t> rows,
                                        int64_t micro_batch_size) {
  require(micro_batch_size >= 1, "a micro-batch of ", micro_batch_size, " rows");
  const auto micro = static_cast<size_t>(micro_batch_size);
  std::vector<TrainingBatch> batches;
  for (size_t begin = 0; begin < rows.size(); begin += micro)
    batches.push_back(make_batch(documents, packed, rows.subspan(begin, std::min(micro, rows.size() - begin))));
  return batches;
}

}  // namespace ds
