#include "run/answer_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "run/finished_output.h"
#include "run/params.h"

namespace ds {

namespace {

struct Trailer {
  LineKind kind = LineKind::answer;
  uint64_t index = 0, hash = 0;                  // of the input's line
};
constexpr size_t kLongLine = size_t{256} << 20;  // is read in parts
constexpr char kBegin[] = "{\"version\":";         // of the first line
constexpr size_t kHash = 16;                     // digits
constexpr size_t kTrailer = 64;                  // longer than any: "\ta " + 20 digits + " " + hash + " " + hash

std::string hash_text(uint64_t hash) {
  char digits[kHash + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

// The trailer of a line without the hash at its end, which is that of all before it: half of XXH3-128.
std::string trailer_text(const Trailer& t) { return cat('\t', static_cast<char>(t.kind), ' ', t.index, ' ', hash_text(t.hash), ' '); }

bool read_hash(std::string_view digits, uint64_t& hash) {
  const auto [last, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), hash, 16);
  return digits.size() == kHash && bad == std::errc() && last == digits.data() + digits.size();
}

// The trailer of a whole line, where it begins, and its last hash; nothing where it has none.
std::optional<Trailer> trailer_of(std::string_view line, size_t& begin, uint64_t& check) {
  begin = line.rfind('\t');
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view text = line.substr(begin + 1);
  if (text.size() < 4 || std::string_view("aer").find(text[0]) == std::string_view::npos || text[1] != ' ') return std::nullopt;
  Trailer t{static_cast<LineKind>(text[0]), 0, 0};
  const char* const end = text.data() + text.size();
  const auto [space, bad_index] = std::from_chars(text.data() + 2, end, t.index);
  if (bad_index != std::errc() || end - space != 2 * (kHash + 1) || space[0] != ' ' || space[kHash + 1] != ' ') return std::nullopt;
  if (!read_hash({space + 1, kHash}, t.hash) || !read_hash({space + kHash + 2, kHash}, check)) return std::nullopt;
  return t;
}

// Reads the lines of an unfinished file after its first one.
class StoredLines {
 public:
  explicit StoredLines(LineReader& reader) : reader_(reader) {}
  enum class Found : uint8_t { end, good, damaged };
  // The next line. take(bytes, kind) gets what stands before its trailer; of a line that is longer than memory in pieces,
  // all but the last before the trailer is known (no kind), so that what `damaged` says comes too late for them.
  template <class Take>
  Found next(Take take) {
    Hasher hasher;
    held_.clear();
    size = 0;
    for (Line line;;) {
      const LineReader::Part part = reader_.next_part(line);
      if (part == LineReader::Part::end) return Found::end;
      number = line.number;
      held_ += line.text, size += line.text.size();
      if (part == LineReader::Part::more) {
        const std::string_view ready = std::string_view(held_).substr(0, held_.size() - std::min(held_.size(), kTrailer));
        hasher.update(ready.data(), ready.size());
        take(ready, std::optional<LineKind>());
        held_.erase(0, ready.size());
        continue;
      }
      ++size;  // the newline
      size_t begin;
      uint64_t check;
      const auto found = trailer_of(held_, begin, check);
      if (!found) return Found::damaged;
      hasher.update(held_.data(), held_.size() - kHash);
      if (hasher.digest().low != check) return Found::damaged;
      trailer = *found;
      take(std::string_view(held_).substr(0, begin), std::optional(trailer.kind));
      return Found::good;
    }
  }
  Trailer trailer;                 // of the line that was read last; its bytes and number in the file
  uint64_t size = 0, number = 0;

 private:
  LineReader& reader_;
  std::string held_;
};

std::string identity_line(const Identity& identity) {
  JsonWriter w;
  w.open('{');
  for (const auto& [name, value] : identity) w.key(name).raw(value);
  return w.close().text;
}

bool is_file(const std::string& path) {
  if (path.empty() || path == "-") return false;
  struct stat found;
  return stat(path.c_str(), &found) != 0 || S_ISREG(found.st_mode);
}

// The file that a path leads to, "-" to `standard`; false: none.
bool find(const std::string& path, int standard, struct stat& found) {
  return path == "-" ? fstat(standard, &found) == 0 : !path.empty() && stat(path.c_str(), &found) == 0;
}

}  // namespace

std::string differences(const Json& begun, const Identity& identity) {
  const Json now = parse_json(identity_line(identity), "identity");
  std::string names;
  const auto add = [&](const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
  for (const auto& [name, value] : now.members)
    if (const Json* const before = begun.find(name); !before || json_text(*before) != json_text(value)) add(name);
  for (const auto& [name, value] : begun.members)
    if (!now.find(name)) add(name);
  return names;
}

void check_outputs(const StreamOptions& options) {
  struct stat input, output;
  for (const std::string& in : options.inputs) {
    if (!find(in, STDIN_FILENO, input) || !S_ISREG(input.st_mode)) continue;
    for (const auto& [name, out] : {std::pair{"-o", options.output.empty() ? "-" : options.output}, {"--rejects", options.rejects}}) {
      if (!find(out, STDOUT_FILENO, output) || input.st_dev != output.st_dev || input.st_ino != output.st_ino) continue;
      if (out == "-" && output.st_size == 0) continue;  // nothing of it can be lost, and nothing is read from it
      throw UsageError(cat(in == "-" ? "<stdin>" : in, " is an input, and ", out == "-" ? "standard output" : cat(name, " ", out),
                           " is the same file: give the answers another name"));
    }
  }
  check_files(options);
  if (is_file(options.rejects)) OutputFile{options.rejects};  // what is wrong with its folder is not found out at the end only
}

struct AnswerFile::Impl {
  StreamOptions options;
  std::string partial;                        // "": lines go to the outputs at once
  int fd = -1;
  std::string buffer;
  Hasher line_hash;                           // of the line that is being written
  std::optional<OutputFile> output, rejects;
  std::vector<Trailer> earlier;               // by index
  size_t next_earlier = 0;
  uint64_t answers = 0, errors = 0, rejected = 0;

  void count(LineKind kind) { ++(kind == LineKind::answer ? answers : kind == LineKind::error ? errors : rejected); }

  void open_outputs() {
    output.emplace(options.output);
    if (!options.rejects.empty()) rejects.emplace(options.rejects);
  }
  OutputFile& output_of(LineKind kind) { return kind == LineKind::reject ? *rejects : *output; }

  void store(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) system_fail(partial, ": cannot write: ", std::strerror(errno));
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }

  void cut(uint64_t size) {
    if (ftruncate(fd, static_cast<off_t>(size)) != 0 || lseek(fd, 0, SEEK_END) < 0) system_fail(partial, ": ", std::strerror(errno));
  }

  // Opens the unfinished file and takes a lock on it that ends with the process. A link is not followed, and what some other
  // file of this name holds is not touched.
  void open_partial() {
    fd = open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (fd < 0 && errno == ELOOP) fail(partial, ": is a link: unfinished answers are kept under this name; remove it");
    require(fd >= 0, partial, ": cannot create it: ", std::strerror(errno));
    struct stat own;
    if (fstat(fd, &own) != 0) system_fail(partial, ": ", std::strerror(errno));
    require(S_ISREG(own.st_mode), partial, ": not a regular file: unfinished answers are kept under this name");
    const auto is_own = [&](const std::string& path) {
      struct stat other;
      return path == partial || (path != "-" && !path.empty() && stat(path.c_str(), &other) == 0 && other.st_dev == own.st_dev && other.st_ino == own.st_ino);
    };
    for (const std::string& input : options.inputs)
      if (is_own(input)) throw UsageError(cat(input, " is an input, and the name under which unfinished answers are kept: give -o another name"));
    if (is_own(options.rejects)) throw UsageError(cat("--rejects ", options.rejects, " is the name under which unfinished answers are kept: give another"));
    char begin[sizeof kBegin];
    const ssize_t got = pread(fd, begin, sizeof kBegin - 1, 0);
    require(own.st_size == 0 || (got > 0 && std::string_view(kBegin).starts_with({begin, static_cast<size_t>(got)})), partial,
            ": is not an unfinished file of ds-run, and unfinished answers are kept under this name: move it away");
    require(flock(fd, LOCK_EX | LOCK_NB) == 0, partial, ": another run is writing this file");
  }

  // Cuts off what follows the last newline; the size that is left.
  uint64_t cut_torn_line() {
    struct stat found;
    if (fstat(fd, &found) != 0) system_fail(partial, ": ", std::strerror(errno));
    auto size = static_cast<uint64_t>(found.st_size);
    char block[4096];
    while (size > 0) {
      const uint64_t begin = (size - 1) / sizeof block * sizeof block;
      const ssize_t got = pread(fd, block, static_cast<size_t>(size - begin), static_cast<off_t>(begin));
      if (got != static_cast<ssize_t>(size - begin)) system_fail(partial, ": cannot read it");
      const std::string_view text(block, static_cast<size_t>(got));
      const size_t newline = text.rfind('\n');
      size = newline == std::string_view::npos ? begin : begin + newline + 1;
      if (newline != std::string_view::npos) break;
    }
    cut(size);
    return size;
  }

  void check_identity(std::string_view line, const Identity& identity) const {
    const std::string differs = differences(parse_json(line, partial + ": its first line"), identity);
    require(differs.empty(), partial, ": the run that began it differs from this one in: ", differs,
            ". --resume needs the same; without it all is begun anew");
  }

  // Reads what an earlier run left. False: it did not get as far as its first line.
  bool load(const Identity& identity, bool in_order) {
    if (cut_torn_line() == 0) return false;
    LineReader reader({partial}, kLongLine);
    Line line;
    reader.next(line);
    check_identity(line.text, identity);
    uint64_t good = line.text.size() + 1;
    StoredLines lines(reader);
    for (StoredLines::Found found; (found = lines.next([](std::string_view, std::optional<LineKind>) {})) != StoredLines::Found::end;) {
      const Trailer& trailer = lines.trailer;
      // A disk may have lost some of its bits, a machine without power may have left what was never written so.
      if (found == StoredLines::Found::damaged || (in_order && trailer.index != earlier.size()) || (trailer.kind == LineKind::reject && options.rejects.empty())) {
        warn(partial, ":", lines.number, ": is damaged: this answer and all that were written after it are computed anew");
        break;
      }
      earlier.push_back(trailer);
      count(trailer.kind);
      good += lines.size;
    }
    cut(good);
    std::sort(earlier.begin(), earlier.end(), [](const Trailer& a, const Trailer& b) { return a.index < b.index; });
    return true;
  }

  // Deals the lines of the unfinished file to output and rejects.
  void deal() {
    const LineKind long_lines = options.rejects.empty() ? LineKind::error : LineKind::reject;
    LineReader reader({partial}, kLongLine);
    Line line;
    reader.next(line);
    StoredLines lines(reader);
    for (StoredLines::Found found;;) {
      found = lines.next([&](std::string_view bytes, std::optional<LineKind> kind) { output_of(kind.value_or(long_lines)).write(bytes); });
      if (found == StoredLines::Found::end) return;
      require(found == StoredLines::Found::good, partial, ":", lines.number, ": is damaged; --resume computes what is missing");
      output_of(lines.trailer.kind).write("\n");
    }
  }

  void finish(Report& report) {
    output->finish();
    if (rejects) rejects->finish();
    output->commit();
    report.outputs.push_back({output->path(), output->bytes(), answers + errors, output->hash()});
    if (rejects) {
      rejects->commit();
      report.outputs.push_back({rejects->path(), rejects->bytes(), rejected, rejects->hash()});
    }
    report.read = answers + errors + rejected;
    report.kept = answers;
    report.bad = errors + rejected;
  }
};

AnswerFile::AnswerFile(const StreamOptions& options, const Identity& identity, bool resume, bool in_order) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.options = options;
  if (!is_file(options.output)) {
    if (resume) throw UsageError("--resume needs -o FILE: only a file can be gone on with");
    impl.open_outputs();
    return;
  }
  impl.partial = options.output + ".partial";
  impl.open_partial();
  if (resume && impl.load(identity, in_order)) return;
  if (const uint64_t size = impl.cut_torn_line(); size > 0)
    warn(impl.partial, ": what an earlier run answered is thrown away; --resume would have gone on with it");
  impl.cut(0);
  impl.store(identity_line(identity) + "\n");
}

AnswerFile::~AnswerFile() {
  const Impl& impl = *impl_;
  if (impl.fd < 0) return;
  if (lines() == 0) unlink(impl.partial.c_str());  // there is nothing to go on with
  close(impl.fd);
}

std::optional<LineKind> AnswerFile::dealt_with(uint64_t index, uint64_t hash) {
  Impl& impl = *impl_;
  while (impl.next_earlier < impl.earlier.size() && impl.earlier[impl.next_earlier].index < index) ++impl.next_earlier;
  if (impl.next_earlier == impl.earlier.size() || impl.earlier[impl.next_earlier].index != index) return std::nullopt;
  const Trailer& found = impl.earlier[impl.next_earlier];
  require(found.hash == hash, impl.partial, ": line ", index + 1, " of the input is another one than when it was answered: --resume needs the same input, or start again without it");
  return found.kind;
}

void AnswerFile::write(std::string_view bytes, LineKind kind) {
  if (impl_->partial.empty()) return impl_->output_of(kind).write(bytes);
  impl_->line_hash.update(bytes.data(), bytes.size());
  impl_->buffer += bytes;
  if (impl_->buffer.size() > (size_t{1} << 20)) flush();
}

void AnswerFile::end_line(uint64_t index, uint64_t hash, LineKind kind) {
  impl_->count(kind);
  if (impl_->partial.empty()) return impl_->output_of(kind).write("\n");
  const std::string trailer = trailer_text({kind, index, hash});
  impl_->line_hash.update(trailer.data(), trailer.size());
  impl_->buffer += trailer + hash_text(impl_->line_hash.digest().low) + "\n";
  impl_->line_hash = Hasher();
}

void AnswerFile::flush() {
  if (impl_->partial.empty()) return;
  impl_->store(impl_->buffer);
  impl_->buffer.clear();
}

const std::string& AnswerFile::partial() const { return impl_->partial; }
uint64_t AnswerFile::lines() const { return impl_->answers + impl_->errors + impl_->rejected; }

void AnswerFile::commit(const Identity& identity, std::span<const LineReader::InputSummary> inputs, Report& report) {
  Impl& impl = *impl_;
  if (!impl.partial.empty()) {
    flush();
    impl.open_outputs();
    impl.deal();
  }
  impl.finish(report);
  if (!impl.partial.empty()) {
    mark_finished(impl.options, identity, inputs, report);  // first: a run between the two goes on with the unfinished file
    if (unlink(impl.partial.c_str()) != 0) system_fail(impl.partial, ": cannot remove it: ", std::strerror(errno));
    close(std::exchange(impl.fd, -1));
  }
}

}  // namespace ds
