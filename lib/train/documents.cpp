#include "train/documents.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
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

std::string Documents::where(size_t document) const {
  const Place& place = places.at(document);
  return cat(files.at(place.file), ":", place.line);
}

namespace {

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

// Some hundred KiB of lines, so that a thread's share of work outweighs its hand-over.
constexpr size_t kBatchBytes = size_t{256} << 10;

}  // namespace

struct DocumentReader::LineBatch : Batch {
  struct Text {
    std::string raw, file;
    uint64_t number;
  };
  std::vector<Text> lines;
  std::vector<std::vector<int32_t>> ids;
  std::vector<float> weights;
  uint64_t text_bytes = 0;
  size_t bytes = 0;
};

DocumentReader::DocumentReader(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size, uint64_t skip_lines)
    : options_(options), tokenizer_(tokenizer), vocab_size_(vocab_size), reader_(options.files, options.max_record_bytes) {
  require(!options.files.empty(), "no training data: give --data FILE.jsonl");
  Line line;
  for (; lines_ < skip_lines; ++lines_) {
    require(reader_.next(line), options.files.back(), ": the data has ", lines_, " lines, and training had read ", skip_lines,
            "; has it changed since?");
  }
}

std::unique_ptr<DocumentReader::LineBatch> DocumentReader::next_lines() {
  auto batch = std::make_unique<LineBatch>();
  Line line;
  while (batch->bytes < kBatchBytes) {
    if (!reader_.next(line)) {
      at_end_ = true;
      break;
    }
    ++lines_;
    batch->lines.push_back({std::string(line.text), *line.file, line.number});
    batch->bytes += line.text.size();
  }
  return batch;
}

void DocumentReader::tokenize(LineBatch& batch) const {
  for (auto& line : batch.lines) {
    const Record record(std::move(line.raw), line.file, line.number);
    batch.ids.push_back(record_ids(record, options_, tokenizer_, vocab_size_, batch.text_bytes));
    if (!options_.weight_field.empty()) batch.weights.push_back(record_weight(record, options_.weight_field));
  }
}

void DocumentReader::append(LineBatch& batch, Documents& documents) {
  for (size_t i = 0; i < batch.lines.size(); ++i) {
    if (documents.files.empty() || documents.files.back() != batch.lines[i].file) documents.files.push_back(batch.lines[i].file);
    documents.places.push_back({static_cast<uint32_t>(documents.files.size() - 1), batch.lines[i].number});
    documents.ids.append(batch.ids[i]);
    documents.offsets.push_back(documents.ids.size());
  }
  documents.weights.insert(documents.weights.end(), batch.weights.begin(), batch.weights.end());
  documents.text_bytes += batch.text_bytes;
}

Documents DocumentReader::read(size_t window_bytes, const std::atomic<bool>* cancel) {
  Documents documents(vocab_size_);
  size_t bytes = 0;
  if (cancel) {
    while (bytes < window_bytes && !at_end_ && !*cancel) {
      const auto batch = next_lines();
      bytes += batch->bytes;
      tokenize(*batch);
      append(*batch, documents);
    }
    return documents;
  }
  const auto produce = [&]() -> std::unique_ptr<Batch> {
    throw_if_stopped();
    if (bytes >= window_bytes || at_end_) return nullptr;
    auto batch = next_lines();
    bytes += batch->bytes;
    if (batch->lines.empty()) return nullptr;
    return batch;
  };
  const auto work = [&](Batch& b) { tokenize(static_cast<LineBatch&>(b)); };
  const auto consume = [&](Batch& b) {
    append(static_cast<LineBatch&>(b), documents);
    progress({"tokenize", "B", reader_.bytes_read(), reader_.bytes_total(), ""});
  };
  ordered_map(produce, work, consume);
  return documents;
}

Documents load_documents(const DataOptions& options, const Tokenizer* tokenizer, int64_t vocab_size) {
  return DocumentReader(options, tokenizer, vocab_size).read(SIZE_MAX);
}

}  // namespace ds
