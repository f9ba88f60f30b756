#include "io/jsonl.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "io/base64.h"
#include "io/block_reader.h"
#include "io/json.h"
#include "io/json_scan.h"

namespace ds {

namespace {

struct Item {
  std::string_view text;  // the line, in the batch's block
  uint64_t number;
  LineReader::Part part;  // more, last: part of a line over the limit
  Record record;          // of no use where `error` is not empty
  std::string error;
  std::shared_ptr<void> result;  // let go when the item is used again: on any thread, not in the ordered half
};

struct Lines : Batch {
  Block block;
  std::vector<Item> items;  // those of the shard
  std::exception_ptr end;   // what ended the reading in place of a block
};

using Work = std::function<std::shared_ptr<void>(Record&)>;

// "FILE:LINE: message", where the message does not begin so already.
std::string placed(const std::string& file, const Item& item, std::string_view message) {
  const std::string where = cat(file, ":", item.number, ": ");
  return message.starts_with(where) ? std::string(message) : where + std::string(message);
}

// Reads blocks as batches. Blocks and items of a batch that is done are used again: new memory costs as much as
// parsing.
class Source {
 public:
  Source(const std::vector<std::string>& inputs, size_t max_record_bytes, Shard shard = {})
      : shard_(shard), reader_(inputs_of(inputs, shard), max_record_bytes) {
    if (inputs.size() >= shard.count) shard_ = {};
  }

  std::unique_ptr<Batch> read() {
    throw_if_stopped();
    if (ended_) return nullptr;
    auto batch = take_spare();
    try {
      if (!reader_.next(batch->block)) return nullptr;
    } catch (const Error&) {  // the batches before it come first, whatever the threads do
      ended_ = true;
      batch->end = std::current_exception();
      return batch;
    }
    fill(*batch);
    progress({"read", "bytes", reader_.bytes_read(), reader_.bytes_total(), ""});
    return batch;
  }

  void give_back(Lines& batch) {
    batch.block.bytes.reset();
    auto spare = std::make_unique<Lines>();
    std::swap(spare->block, batch.block);
    std::swap(spare->items, batch.items);
    const std::lock_guard lock(mutex_);
    spares_.push_back(std::move(spare));
  }

  void add_inputs(Report& report) const {
    for (const auto& input : reader_.inputs())
      report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
  }

 private:
  static std::vector<std::string> inputs_of(const std::vector<std::string>& inputs, Shard shard) {
    if (inputs.size() < shard.count) return inputs;
    std::vector<std::string> dealt;
    for (size_t k = shard.index - 1; k < inputs.size(); k += shard.count) dealt.push_back(inputs[k]);
    return dealt;
  }

  std::unique_ptr<Lines> take_spare() {
    const std::lock_guard lock(mutex_);
    if (spares_.empty()) return std::make_unique<Lines>();
    auto spare = std::move(spares_.back());
    spares_.pop_back();
    return spare;
  }

  void fill(Lines& batch) const {
    const Block& block = batch.block;
    size_t used = 0;
    for (size_t i = 0; i < block.lines.size(); ++i) {
      if ((block.index + i) % shard_.count != shard_.index - 1) continue;
      if (used == batch.items.size()) batch.items.emplace_back();
      Item& item = batch.items[used++];
      item.text = block.lines[i];
      item.number = block.number + i;
      item.part = block.part;
      item.error.clear();
      if (block.part == LineReader::Part::line && item.text.size() > reader_.max_line_bytes())
        item.part = LineReader::Part::last;
      if (item.part != LineReader::Part::line)
        item.error = cat("the line is longer than ", reader_.max_line_bytes(), " bytes");
    }
    batch.items.resize(used);
  }

  Shard shard_;
  BlockReader reader_;
  bool ended_ = false;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lines>> spares_;
};

void parse_batch(Lines& batch, const Work& work) {
  const bool utf8 = batch.block.part == LineReader::Part::line && valid_utf8(batch.block.text);
  for (Item& item : batch.items) {
    item.result.reset();
    if (!item.error.empty()) continue;
    try {
      item.record.refer({item.text, batch.block.file, item.number}, utf8);
      if (work) item.result = work(item.record);
    } catch (const UsageError&) {
      throw;
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      item.error = error.what();
    }
  }
}

// Where kept, dropped and bad lines go. Called by one thread at a time, in input order.
class Writer {
 public:
  Writer(const StreamOptions& options, Report& report) : report_(report), output_(options.output) {
    if (!options.rejects.empty()) rejects_.emplace(options.rejects);
  }

  void bad(const Block& block, const Item& item) {
    const bool begins = item.part == LineReader::Part::line || !inside_long_line_;
    const bool ends = item.part != LineReader::Part::more;
    if (!rejects_) throw Error(placed(*block.file, item, item.error));
    if (begins) {
      ++report_.read, ++report_.bad;
      ++rejected_;
      reject_line(block, item);
    }
    report_.bad_bytes += item.text.size() + ends;
    if (item.part != LineReader::Part::line) long_line(item.text, ends);
    inside_long_line_ = !ends;
  }

  void keep(const Block& block, const Record& record) {
    ++report_.read, ++report_.kept;
    const std::string_view line = record.raw();
    if (record.owns()) {
      flush();
      output_.write(line);
      output_.write("\n");
      return;
    }
    // Lines that follow each other in the block are written at once, with their newlines.
    if (run_.data() + run_.size() != line.data()) flush();
    const bool newline = line.data() + line.size() != block.text.data() + block.text.size();
    run_ = {run_.empty() ? line.data() : run_.data(), run_.size() + line.size() + newline};
    if (newline) return;
    flush();
    output_.write("\n");
  }

  // Writes what keep() has put off; it refers to the block, so call it before the block goes.
  void flush() { output_.write(std::exchange(run_, {})); }

  void drop(const Block& block, Item& item, const Verdict& verdict) {
    ++report_.read, ++report_.dropped, ++report_.reasons[verdict.reason];
    if (!rejects_) return;
    ++rejected_;
    // The record as it came: what `work` made of it is of no use to whoever looks at the rejects.
    if (item.record.owns()) item.record.refer({item.text, block.file, item.number});
    if (!verdict.owner_key.empty()) item.record.set(verdict.owner_key, verdict.details);
    rejects_->write(item.record.raw());
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
  void reject_line(const Block& block, const Item& item) {
    if (item.part != LineReader::Part::line) rejects_->write(begin_long_bad_line(*block.file, item.number, placed(*block.file, item, item.error)));
    else rejects_->write(bad_line(*block.file, item.number, placed(*block.file, item, item.error), item.text) + "\n");
  }

  void long_line(std::string_view text, bool ends) {
    std::string base64;
    long_line_.add(base64, text);
    if (ends) long_line_.finish(base64), base64 += "\"}\n";
    rejects_->write(base64);
  }

  Report& report_;
  OutputFile output_;
  std::optional<OutputFile> rejects_;
  uint64_t rejected_ = 0;
  std::string_view run_;  // kept lines that are not written yet
  bool inside_long_line_ = false;
  Base64Encoder long_line_;
};

bool is_standard(const std::string& path) { return path.empty() || path == "-"; }

// The regular file that a path or, for "-", a descriptor leads to.
bool regular(const std::string& path, int standard, struct stat& found) {
  const bool exists = (is_standard(path) ? fstat(standard, &found) : stat(path.c_str(), &found)) == 0;
  return exists && S_ISREG(found.st_mode);
}

bool same(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

}  // namespace

static JsonWriter begin_bad_line(const std::string& file, uint64_t number, const std::string& error) {
  JsonWriter w;
  w.open('{').field("line", number).field("file", file).field("error", error);
  return w;
}

std::string bad_line(const std::string& file, uint64_t number, const std::string& error, std::string_view text) {
  JsonWriter w = begin_bad_line(file, number, error);
  if (valid_utf8(text)) return w.field("raw", text).close().text;
  std::string base64;
  append_base64(base64, text);
  return w.field("raw_base64", base64).close().text;
}

std::string begin_long_bad_line(const std::string& file, uint64_t number, const std::string& error) {
  return begin_bad_line(file, number, error).text + ", \"raw_base64\": \"";
}

void check_files(const StreamOptions& options) {
  const std::string &output = options.output, &rejects = options.rejects;
  struct stat out, other;
  const bool file = regular(output, STDOUT_FILENO, out);
  bool twice = false;
  if (is_standard(output) || is_standard(rejects)) {
    twice = is_standard(output) && rejects == "-";
    if (file && !rejects.empty() && regular(rejects, STDOUT_FILENO, other)) twice = same(out, other);
  } else if (file || stat(output.c_str(), &out) != 0) {  // no device: that may be both
    std::error_code unknown;
    const auto resolved = [&](const std::string& path) {
      return std::filesystem::weakly_canonical(std::filesystem::absolute(path, unknown), unknown);
    };
    twice = resolved(output) == resolved(rejects);
  }
  if (twice) throw UsageError(cat("the output and --rejects are the same file, '", rejects, "'"));
  if (!file || !is_standard(output)) return;  // a file that is named replaces its input when all is done
  for (const std::string& input : options.inputs)
    if (regular(input, STDIN_FILENO, other) && same(out, other) && other.st_size > 0)
      fail(input == "-" ? "<stdin>" : input, ": is both input and standard output; name it with -o to replace it");
}

Shard parse_shard(std::string_view text) {
  Shard shard{0, 0};
  const char* const end = text.data() + text.size();
  const auto [slash, bad_index] = std::from_chars(text.data(), end, shard.index);
  if (bad_index == std::errc() && slash != end && *slash == '/') {
    const auto [last, bad_count] = std::from_chars(slash + 1, end, shard.count);
    if (bad_count == std::errc() && last == end && shard.index >= 1 && shard.index <= shard.count &&
        shard.count <= 1000000)
      return shard;
  }
  throw UsageError(cat("--shard must be I/N with 1 <= I <= N <= 1000000, such as 2/8, not '", text, "'"));
}

void process_records(const StreamOptions& options, Report& report, const Work& work,
                     const std::function<Verdict(Record&, void* result)>& decide, const std::function<void()>& at_end) {
  check_files(options);
  Source source(options.inputs, options.max_record_bytes, options.shard);
  Writer writer(options, report);
  const auto settle = [&](const Block& block, Item& item) {
    Verdict verdict;
    if (item.error.empty() && decide) {
      try {
        verdict = decide(item.record, item.result.get());
      } catch (const UsageError&) {
        throw;
      } catch (const SystemError&) {
        throw;
      } catch (const Error& error) {
        item.error = error.what();
      }
    }
    if (!item.error.empty())
      writer.bad(block, item);
    else if (verdict.kind == Verdict::Kind::keep)
      writer.keep(block, item.record);
    else
      writer.drop(block, item, verdict);
  };
  ordered_map([&] { return source.read(); }, [&](Batch& batch) { parse_batch(static_cast<Lines&>(batch), work); },
              [&](Batch& batch) {
                auto& lines = static_cast<Lines&>(batch);
                if (lines.end) std::rethrow_exception(lines.end);
                for (Item& item : lines.items) settle(lines.block, item);
                writer.flush();
                source.give_back(lines);
              });
  if (at_end) at_end();
  writer.commit();
  source.add_inputs(report);
}

namespace {

// What was read and is not settled yet: a record of the group, or a line that is none.
struct Pending {
  size_t record;  // its index in the group; SIZE_MAX: none
  std::string text, error;
  const std::string* file;
  uint64_t number;
};

}  // namespace

void process_groups(const StreamOptions& options, Report& report, size_t max_records, size_t max_bytes,
                    const std::function<void(std::span<GroupedRecord>)>& work) {
  check_files(options);
  LineReader reader(options.inputs, options.max_record_bytes);
  Writer writer(options, report);
  std::vector<GroupedRecord> group;
  std::vector<Pending> pending;
  size_t bytes = 0;
  Block block;
  const auto bad = [&](const std::string* file, std::string_view text, uint64_t number, LineReader::Part part, const std::string& error) {
    block.file = file;
    writer.bad(block, {text, number, part, {}, error, {}});
  };
  const auto settle = [&] {
    if (!group.empty()) work(group);
    for (const Pending& each : pending) {
      const GroupedRecord* const good = each.record == SIZE_MAX ? nullptr : &group[each.record];
      if (good && good->error.empty()) writer.keep(block, good->record);
      else bad(each.file, good ? good->record.raw() : each.text, each.number, LineReader::Part::line, good ? good->error : each.error);
    }
    group.clear();
    pending.clear();
    bytes = 0;
    progress({"read", "bytes", reader.bytes_read(), reader.bytes_total(), ""});
  };
  Line line;
  for (LineReader::Part part; (part = reader.next_part(line)) != LineReader::Part::end;) {
    throw_if_stopped();
    if (part != LineReader::Part::line) {  // may be longer than memory: it is not kept, so what was before it goes first
      settle();
      bad(line.file, line.text, line.number, part, cat("the line is longer than ", options.max_record_bytes, " bytes"));
      continue;
    }
    try {
      group.push_back({Record(line), ""});
      pending.push_back({group.size() - 1, "", "", line.file, line.number});
    } catch (const Error& error) {
      pending.push_back({SIZE_MAX, std::string(line.text), error.what(), line.file, line.number});
      if (options.rejects.empty()) settle();  // ends the run, with what is wrong before it, if there is anything
    }
    bytes += line.text.size();
    if (pending.size() == max_records || bytes >= max_bytes) settle();
  }
  settle();
  writer.commit();
  for (const auto& input : reader.inputs()) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
}

void for_each_record(const std::vector<std::string>& inputs, size_t max_record_bytes, Report* report,
                     const std::function<void(Record&&)>& take) {
  Source source(inputs, max_record_bytes);
  ordered_map([&] { return source.read(); }, [&](Batch& batch) { parse_batch(static_cast<Lines&>(batch), {}); },
              [&](Batch& batch) {
                auto& lines = static_cast<Lines&>(batch);
                if (lines.end) std::rethrow_exception(lines.end);
                for (Item& item : lines.items) {
                  if (!item.error.empty()) throw Error(placed(*lines.block.file, item, item.error));
                  if (report) ++report->read;
                  take(Record(item.record));  // a copy owns its bytes
                }
                source.give_back(lines);
              });
  if (report) source.add_inputs(*report);
}

}  // namespace ds
