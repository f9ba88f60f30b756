#include "io/jsonl.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "io/json.h"
#include "io/json_scan.h"

namespace ds {

// A batch is about this many bytes or lines, whichever is first.
static constexpr size_t kBatchBytes = size_t{1} << 20, kBatchLines = 256;

namespace {

struct Item {
  size_t begin, size;           // of the line in the batch's bytes
  const std::string* file;
  uint64_t number;
  LineReader::Part part;        // more, last: part of a line over the limit
  std::optional<Record> record; // empty where `error` says why not
  std::string error;
  std::shared_ptr<void> result;
};

struct Lines : Batch {
  std::string bytes;
  std::vector<Item> items;
  std::string_view text(const Item& item) const { return std::string_view(bytes).substr(item.begin, item.size); }
};

using Work = std::function<std::shared_ptr<void>(Record&)>;

// "FILE:LINE: message", where the message does not begin so already.
std::string placed(const Item& item, std::string_view message) {
  const std::string where = cat(*item.file, ":", item.number, ": ");
  return message.starts_with(where) ? std::string(message) : where + std::string(message);
}

std::unique_ptr<Batch> read_batch(LineReader& reader, size_t max_record_bytes) {
  throw_if_stopped();
  auto batch = std::make_unique<Lines>();
  Line line;
  while (batch->bytes.size() < kBatchBytes && batch->items.size() < kBatchLines) {
    const LineReader::Part part = reader.next_part(line);
    if (part == LineReader::Part::end) break;
    if (batch->items.empty()) batch->items.reserve(kBatchLines);
    batch->items.push_back({batch->bytes.size(), line.text.size(), line.file, line.number, part, {}, {}, {}});
    batch->bytes += line.text;
    if (part != LineReader::Part::line) batch->items.back().error = cat("the line is longer than ", max_record_bytes, " bytes");
  }
  progress({"read", "bytes", reader.bytes_read(), reader.bytes_total(), ""});
  if (batch->items.empty()) return nullptr;
  return batch;
}

void parse_batch(Lines& batch, const Work& work) {
  for (Item& item : batch.items) {
    if (!item.error.empty()) continue;
    try {
      Line line{batch.text(item), item.file, item.number};
      item.record.emplace(line);
      if (work) item.result = work(*item.record);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      item.record.reset();
      item.error = error.what();
    }
  }
}

void add_inputs(const LineReader& reader, Report& report) {
  for (const auto& input : reader.inputs()) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out.push_back(k <= have ? digits[three >> (18 - 6 * k) & 63] : '=');
  }
}

// Where kept, dropped and bad lines go. Called by one thread at a time, in input order.
class Writer {
 public:
  Writer(const StreamOptions& options, Report& report) : report_(report), output_(options.output) {
    if (!options.rejects.empty()) rejects_.emplace(options.rejects);
  }

  void bad(const Lines& batch, const Item& item) {
    const bool begins = item.part == LineReader::Part::line || !inside_long_line_;
    const bool ends = item.part != LineReader::Part::more;
    if (!rejects_) throw Error(placed(item, item.error));
    if (begins) {
      ++report_.read, ++report_.bad;
      ++rejected_;
      reject_line(batch.text(item), item);
    }
    if (item.part != LineReader::Part::line) long_line(batch.text(item), ends);
    inside_long_line_ = !ends;
  }

  void keep(const Record& record) {
    ++report_.read, ++report_.kept;
    output_.write(record.raw());
    output_.write("\n");
  }

  void drop(const Lines& batch, const Item& item, const Verdict& verdict) {
    ++report_.read, ++report_.dropped, ++report_.reasons[verdict.reason];
    if (!rejects_) return;
    ++rejected_;
    // The record as it came: what `work` made of it is of no use to whoever looks at the rejects.
    Record original({batch.text(item), item.file, item.number});
    if (!verdict.owner_key.empty()) original.set(verdict.owner_key, verdict.details);
    rejects_->write(original.raw());
    rejects_->write("\n");
  }

  void commit() {
    output_.finish();
    if (rejects_) rejects_->finish();
    output_.commit();
    report_.outputs.push_back({output_.path(), output_.bytes(), report_.kept, output_.hash()});
    if (!rejects_) return;
    rejects_->commit();
    report_.outputs.push_back({rejects_->path(), rejects_->bytes(), rejected_, rejects_->hash()});
  }

 private:
  // A bad line as JSON. Bytes that are not UTF-8, and lines too long to be looked at whole, are kept as base64.
  void reject_line(std::string_view text, const Item& item) {
    JsonWriter w;
    w.open('{').field("line", item.number).field("file", *item.file).field("error", placed(item, item.error));
    if (item.part != LineReader::Part::line) {
      w.text += ", \"raw_base64\": \"";
    } else if (valid_utf8(text)) {
      w.field("raw", text).close().text += '\n';
    } else {
      std::string base64;
      append_base64(base64, text);
      w.field("raw_base64", base64).close().text += '\n';
    }
    rejects_->write(w.text);
  }

  // Base64 of a line that comes in parts: three bytes at a time, the rest waits for the next part.
  void long_line(std::string_view text, bool ends) {
    std::string bytes = std::move(pending_);
    bytes += text;
    const size_t whole = ends ? bytes.size() : bytes.size() / 3 * 3;
    std::string base64;
    append_base64(base64, std::string_view(bytes).substr(0, whole));
    if (ends) base64 += "\"}\n";
    rejects_->write(base64);
    pending_ = bytes.substr(whole);
  }

  Report& report_;
  OutputFile output_;
  std::optional<OutputFile> rejects_;
  uint64_t rejected_ = 0;
  bool inside_long_line_ = false;
  std::string pending_;
};

}  // namespace

void process_records(const StreamOptions& options, Report& report, const Work& work,
                     const std::function<Verdict(Record&, void* result)>& decide) {
  LineReader reader(options.inputs, options.max_record_bytes);
  Writer writer(options, report);
  const auto settle = [&](Lines& batch, Item& item) {
    Verdict verdict;
    if (item.error.empty() && decide) {
      try {
        verdict = decide(*item.record, item.result.get());
      } catch (const UsageError&) {
        throw;
      } catch (const Error& error) {
        item.error = error.what();
      }
    }
    if (!item.error.empty())
      writer.bad(batch, item);
    else if (verdict.kind == Verdict::Kind::keep)
      writer.keep(*item.record);
    else
      writer.drop(batch, item, verdict);
  };
  ordered_map([&] { return read_batch(reader, options.max_record_bytes); },
              [&](Batch& batch) { parse_batch(static_cast<Lines&>(batch), work); },
              [&](Batch& batch) {
                auto& lines = static_cast<Lines&>(batch);
                for (Item& item : lines.items) settle(lines, item);
              });
  writer.commit();
  add_inputs(reader, report);
}

void for_each_record(const std::vector<std::string>& inputs, size_t max_record_bytes, Report* report,
                     const std::function<void(Record&&)>& take) {
  LineReader reader(inputs, max_record_bytes);
  ordered_map([&] { return read_batch(reader, max_record_bytes); },
              [&](Batch& batch) { parse_batch(static_cast<Lines&>(batch), {}); },
              [&](Batch& batch) {
                for (Item& item : static_cast<Lines&>(batch).items) {
                  if (!item.error.empty()) throw Error(placed(item, item.error));
                  if (report) ++report->read;
                  take(std::move(*item.record));
                }
              });
  if (report) add_inputs(reader, *report);
}

}  // namespace ds
