#include "train/data_stream.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>

#include "base/error.h"
#include "base/hash.h"

namespace ds {

namespace {

// Documents that are packed and shuffled together.
struct Window {
  Documents documents;
  PackedRows packed;
  uint64_t first_line;      // of the files together, from 0
  bool last;                // the files end with it
};
using WindowPointer = std::shared_ptr<const Window>;

bool has_targets(const Documents& documents) {
  for (size_t d = 0; d < documents.count(); ++d)
    if (documents.offsets[d + 1] - documents.offsets[d] >= 2) return true;
  return false;
}

// The next window that has rows; null where the files end without one.
WindowPointer read_window(DocumentReader& reader, size_t bytes, int64_t sequence_length, const std::atomic<bool>* cancel) {
  while (!reader.at_end() && !(cancel && *cancel)) {
    const uint64_t first_line = reader.lines();
    Documents documents = reader.read(bytes, cancel);
    if (!has_targets(documents)) continue;
    PackedRows packed = pack_rows(documents, sequence_length);
    return std::make_shared<const Window>(Window{std::move(documents), std::move(packed), first_line, reader.at_end()});
  }
  return nullptr;
}

bool all_regular(const std::vector<std::string>& files) {
  return std::all_of(files.begin(), files.end(), [](const std::string& f) { return f != "-" && std::filesystem::is_regular_file(f); });
}
size_t window_bytes(const DataStreamSpec& spec, const Domain& domain) {
  return all_regular(domain.data.files) ? spec.window_bytes : SIZE_MAX;
}

void hash_files(const std::vector<std::string>& files, std::vector<LineReader::InputSummary>& summaries) {
  for (const std::string& file : files) {
    const MappedFile mapped(file);
    summaries.push_back({file, mapped.bytes().size(), 0, hash128(mapped.bytes())});
  }
}

void add(DataCounts& counts, const Window& w) {
  counts.documents += w.documents.count();
  counts.tokens += w.documents.ids.size();
  counts.text_bytes += w.documents.text_bytes;
  counts.rows += w.packed.count();
  counts.targets += w.packed.targets;
}

[[noreturn]] void no_documents(const Domain& domain) {
  fail(domain.data.files.front(), ": the training data", domain.name.empty() ? "" : " of " + domain.name,
       " has no document of at least two tokens");
}

}  // namespace

std::string position_json(const DataPosition& position) {
  JsonWriter w;
  w.open('{').field("step", position.step).open('[', "domains");
  for (const auto& d : position.domains) {
    w.open('{').field("epoch", d.epoch).field("first_line", d.first_line).field("row", d.row).field("targets", d.targets);
    w.field("order_step", d.order_step).close();
  }
  w.close().close();
  return w.text;
}

DataPosition parse_position(const Json& json, const std::string& where) {
  const auto number = [&](const Json& of, const char* key) {
    const Json* value = of.find(key);
    require(value != nullptr, where, ": has no \"", key, "\"");
    const int64_t n = value->as_int(cat(where, ": ", key));
    require(n >= 0, where, ": ", key, " is negative");
    return n;
  };
  DataPosition position;
  position.step = number(json, "step");
  const Json* domains = json.find("domains");
  require(domains && domains->type == Json::Type::array, where, ": has no list \"domains\"");
  for (const Json& d : domains->items) {
    position.domains.push_back({static_cast<uint64_t>(number(d, "epoch")), static_cast<uint64_t>(number(d, "first_line")),
                                static_cast<uint64_t>(number(d, "row")), static_cast<uint64_t>(number(d, "targets")),
                                number(d, "order_step")});
  }
  return position;
}

DataCounts count_data(const DataStreamSpec& spec, const Tokenizer* tokenizer, int64_t vocab_size) {
  DataCounts counts;
  for (const Domain& domain : spec.domains) {
    DocumentReader reader(domain.data, tokenizer, vocab_size);
    const uint64_t before = counts.rows;
    while (const WindowPointer window = read_window(reader, window_bytes(spec, domain), spec.sequence_length, nullptr)) {
      counts.whole = counts.whole && window->first_line == 0 && window->last;
      add(counts, *window);
    }
    if (counts.rows == before) no_documents(domain);
  }
  return counts;
}

std::optional<std::vector<LineReader::InputSummary>> hash_inputs(const DataStreamSpec& spec) {
  std::vector<LineReader::InputSummary> summaries;
  for (const Domain& domain : spec.domains) {
    if (!all_regular(domain.data.files)) return {};
    hash_files(domain.data.files, summaries);
  }
  return summaries;
}

// One domain: its window, the order of its rows, and the next window on its way. Only the producer uses it once it is made.
struct DataStream::DomainStream {
  const DataStreamSpec& spec;
  const Domain& domain;
  const Tokenizer* tokenizer;
  int64_t vocab_size;
  size_t number;
  std::unique_ptr<DocumentReader> reader;
  WindowPointer window;
  std::vector<uint32_t> order;
  DataPosition::DomainPosition at;
  std::atomic<bool> cancel = false;
  std::future<WindowPointer> next;         // last: it is destroyed, and waits, first

  DomainStream(const DataStreamSpec& s, size_t n, const Tokenizer* t, int64_t v, const DataPosition::DomainPosition& from)
      : spec(s), domain(s.domains[n]), tokenizer(t), vocab_size(v), number(n), at(from) {
    reader = std::make_unique<DocumentReader>(domain.data, tokenizer, vocab_size, at.first_line);
    window = read_window(*reader, bytes(), spec.sequence_length, nullptr);
    if (!window) no_documents(domain);
    at.first_line = window->first_line;
    set_order();
    require(at.row <= order.size(), domain.data.files.front(), ": the data is not what training had read; has it changed since?");
  }
  ~DomainStream() { cancel = true; }

  size_t bytes() const { return window_bytes(spec, domain); }
  bool whole() const { return window->last && window->first_line == 0; }

  // The order is a function of the seed and of at.{epoch, first_line, order_step} alone.
  void set_order() {
    std::vector<double> weights(window->packed.count(), 1.0);
    const Documents& documents = window->documents;
    if (spec.weight_use == DataStreamSpec::WeightUse::sampling && !documents.weights.empty()) {
      const double power = weight_power(spec, at.order_step);
      for (size_t r = 0; r < weights.size(); ++r) {
        double sum = 0, targets = 0;
        for (const Piece& piece : window->packed.row(r)) {
          sum += annealed_weight(documents.weights[piece.document], power) * piece.length;
          targets += piece.length;
        }
        weights[r] = sum / targets;
      }
    }
    const uint64_t stream = hash64(cat("ds-train shuffle ", number, " ", at.first_line), at.epoch);
    order = row_order(weights, Rng{spec.seed, stream}, spec.shuffle);
  }

  void read_ahead() {
    if (whole()) return;
    next = std::async(std::launch::async, [this] {
      if (reader->at_end()) reader = std::make_unique<DocumentReader>(domain.data, tokenizer, vocab_size);
      WindowPointer found = read_window(*reader, bytes(), spec.sequence_length, &cancel);
      if (found || cancel) return found;
      reader = std::make_unique<DocumentReader>(domain.data, tokenizer, vocab_size);
      return read_window(*reader, bytes(), spec.sequence_length, &cancel);
    });
  }

  // The next row, as a number in `window`.
  size_t take_row(int64_t step) {
    while (at.row == order.size()) {
      if (!whole()) {
        if (!next.valid()) read_ahead();
        WindowPointer following = next.get();
        if (cancel) return 0;
        require(following != nullptr, domain.data.files.front(), ": the data ended early; has it changed since?");
        if (following->first_line <= window->first_line) ++at.epoch;
        window = std::move(following);
        read_ahead();
      } else {
        ++at.epoch;
      }
      at.first_line = window->first_line, at.row = 0, at.order_step = step;
      set_order();
    }
    const size_t row = order[at.row++];
    for (const Piece& piece : window->packed.row(row)) at.targets += static_cast<uint64_t>(piece.length);
    return row;
  }

  static double weight_power(const DataStreamSpec& spec, int64_t step) {
    const double progress = std::min(1.0, static_cast<double>(step) / static_cast<double>(spec.steps));
    return spec.weight_power_begin + (spec.weight_power_end - spec.weight_power_begin) * progress;
  }
};

DataStream::DataStream(const DataStreamSpec& spec, const Tokenizer* tokenizer, int64_t vocab_size, const DataPosition& from)
    : spec_(spec), step_(from.step) {
  require(!spec.domains.empty() && spec.rows_per_step >= 1 && spec.micro_batch_size >= 1 && spec.steps >= 1, "a stream of no data");
  require(from.domains.empty() || from.domains.size() == spec.domains.size(), "the position of ", from.domains.size(),
          " domains for data of ", spec.domains.size());
  for (size_t d = 0; d < spec_.domains.size(); ++d) {
    domains_.push_back(std::make_unique<DomainStream>(spec_, d, tokenizer, vocab_size,
                                                      from.domains.empty() ? DataPosition::DomainPosition{} : from.domains[d]));
    DomainStream& domain = *domains_.back();
    add(counts_, *domain.window);
    counts_.whole = counts_.whole && domain.whole();
    if (domain.whole()) {
      for (auto& input : domain.reader->inputs()) inputs_.push_back(std::move(input));
    } else {
      hash_files(spec_.domains[d].data.files, inputs_);
    }
    domain.read_ahead();
  }
  producer_ = std::thread([this] { produce(); });
}

DataStream::~DataStream() {
  for (auto& domain : domains_) domain->cancel = true;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  producer_.join();
}

DataStream::Step DataStream::assemble() {
  Step out;
  const double power = spec_.weight_use == DataStreamSpec::WeightUse::loss ? DomainStream::weight_power(spec_, step_) : 0;
  for (int64_t i = 0; i < spec_.rows_per_step; ++i) {
    uint64_t drawn = 0;
    for (const auto& d : domains_) drawn += d->at.targets;
    DomainStream* chosen = domains_[0].get();
    double furthest = 0;
    for (const auto& d : domains_) {
      const double behind = d->domain.share * static_cast<double>(drawn) - static_cast<double>(d->at.targets);
      if (d == domains_[0] || behind > furthest) chosen = d.get(), furthest = behind;
    }
    const size_t row = chosen->take_row(step_);
    if (chosen->cancel) return out;
    if (i % spec_.micro_batch_size == 0) out.batches.emplace_back();
    append_row(out.batches.back(), chosen->window->documents, chosen->window->packed, row, power);
  }
  out.after.step = ++step_;
  for (const auto& d : domains_) out.after.domains.push_back(d->at);
  return out;
}

void DataStream::produce() {
  constexpr size_t kAhead = 2;
  try {
    for (;;) {
      Step step = assemble();
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || ready_.size() < kAhead; });
      if (stop_) return;
      ready_.push_back(std::move(step));
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

DataStream::Step DataStream::next() {
  std::unique_lock lock(mutex_);
  const auto start = std::chrono::steady_clock::now();
  changed_.wait(lock, [&] { return !ready_.empty() || error_; });
  seconds_waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (ready_.empty()) std::rethrow_exception(error_);
  Step step = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return step;
}

}  // namespace ds
