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
#include "run/params.h"

namespace ds {

namespace {

struct Trailer {
  LineKind kind;
  uint64_t index, hash;
};
constexpr size_t kLongLine = size_t{256} << 20;  // is read in parts
constexpr char kBegin[] = "{\"version\":";         // of the first line
constexpr size_t kTrailer = 48;  // longer than any: "\ta " + 20 digits + " " + 16 digits

std::string trailer_text(const Trailer& t) {
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(t.hash));
  return cat('\t', static_cast<char>(t.kind), ' ', t.index, ' ', hash);
}

// The trailer of a whole line, and where it begins; nothing where it has none.
std::optional<Trailer> trailer_of(std::string_view line, size_t& begin) {
  begin = line.rfind('\t');
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view text = line.substr(begin + 1);
  if (text.size() < 4 || std::string_view("aer").find(text[0]) == std::string_view::npos || text[1] != ' ') return std::nullopt;
  Trailer t{static_cast<LineKind>(text[0]), 0, 0};
  const char* const end = text.data() + text.size();
  const auto [space, bad_index] = std::from_chars(text.data() + 2, end, t.index);
  if (bad_index != std::errc() || space == end || *space != ' ' || end - space != 17) return std::nullopt;
  const auto [last, bad_hash] = std::from_chars(space + 1, end, t.hash, 16);
  if (bad_hash != std::errc() || last != end) return std::nullopt;
  return t;
}

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

}  // namespace

struct AnswerFile::Impl {
  StreamOptions options;
  std::string partial;                        // "": lines go to the outputs at once
  int fd = -1;
  std::string buffer;
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
    const std::string where = partial + ": its first line";
    const Json begun = parse_json(line, where);
    const Json now = parse_json(identity_line(identity), where);
    std::string differs;
    for (const auto& [name, value] : identity) {
      const Json* const before = begun.find(name);
      if (!before || json_text(*before) != json_text(*now.find(name))) differs += (differs.empty() ? "" : ", ") + name;
    }
    for (const auto& [name, value] : begun.members)
      if (!now.find(name)) differs += (differs.empty() ? "" : ", ") + name;
    require(differs.empty(), partial, ": was begun with another ", differs, ": --resume needs the same, or start again without it");
  }

  // Reads what an earlier run left. False: it did not get as far as its first line.
  bool load(const Identity& identity, bool in_order) {
    if (cut_torn_line() == 0) return false;
    LineReader reader({partial}, kLongLine);
    Line line;
    uint64_t good = 0, size = 0;
    std::string end;  // of the line, at least its trailer
    bool first = true;
    for (LineReader::Part part; (part = reader.next_part(line)) != LineReader::Part::end;) {
      size += line.text.size();
      end += first ? line.text : line.text.substr(line.text.size() - std::min(line.text.size(), kTrailer));
      if (part == LineReader::Part::more) continue;
      if (first) {
        check_identity(end, identity);
      } else {
        size_t begin;
        const auto trailer = trailer_of(end, begin);
        // A machine that lost its power may leave what was never written so; whatever follows is done again.
        if (!trailer || (in_order && trailer->index != earlier.size()) || (trailer->kind == LineKind::reject && options.rejects.empty())) break;
        earlier.push_back(*trailer);
        count(trailer->kind);
      }
      first = false;
      end.clear();
      good += std::exchange(size, 0) + 1;
    }
    cut(good);
    std::sort(earlier.begin(), earlier.end(), [](const Trailer& a, const Trailer& b) { return a.index < b.index; });
    return true;
  }

  // Deals the lines of the unfinished file to output and rejects. A line may be longer than memory: it comes in parts then.
  void deal() {
    const LineKind long_lines = options.rejects.empty() ? LineKind::error : LineKind::reject;
    LineReader reader({partial}, kLongLine);
    Line line;
    std::string held;
    bool first = true;
    for (LineReader::Part part; (part = reader.next_part(line)) != LineReader::Part::end;) {
      if (std::exchange(first, false)) continue;
      if (part == LineReader::Part::more) {
        held += line.text;
        const size_t ready = held.size() > kTrailer ? held.size() - kTrailer : 0;
        output_of(long_lines).write(std::string_view(held).substr(0, ready));
        held.erase(0, ready);
        continue;
      }
      held += line.text;
      size_t begin;
      const auto trailer = trailer_of(held, begin);
      require(trailer.has_value(), partial, ":", line.number, ": is damaged");
      OutputFile& out = output_of(trailer->kind);
      out.write(std::string_view(held).substr(0, begin));
      out.write("\n");
      held.clear();
    }
  }

  void finish(Report& report) {
    output->finish();
    if (rejects) rejects->finish();
    output->commit();
    report.outputs.push_back({output->path(), output->bytes(), answers + errors, output->hash()});
    if (!rejects) return;
    rejects->commit();
    report.outputs.push_back({rejects->path(), rejects->bytes(), rejected, rejects->hash()});
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
  impl_->buffer += bytes;
  if (impl_->buffer.size() > (size_t{1} << 20)) flush();
}

void AnswerFile::end_line(uint64_t index, uint64_t hash, LineKind kind) {
  impl_->count(kind);
  if (impl_->partial.empty()) impl_->output_of(kind).write("\n");
  else impl_->buffer += trailer_text({kind, index, hash}) + "\n";
}

void AnswerFile::flush() {
  if (impl_->partial.empty()) return;
  impl_->store(impl_->buffer);
  impl_->buffer.clear();
}

const std::string& AnswerFile::partial() const { return impl_->partial; }
uint64_t AnswerFile::lines() const { return impl_->answers + impl_->errors + impl_->rejected; }

void AnswerFile::commit(Report& report) {
  Impl& impl = *impl_;
  if (!impl.partial.empty()) {
    flush();
    impl.open_outputs();
    impl.deal();
  }
  impl.finish(report);
  if (!impl.partial.empty()) {
    if (unlink(impl.partial.c_str()) != 0) system_fail(impl.partial, ": cannot remove it: ", std::strerror(errno));
    close(std::exchange(impl.fd, -1));
  }
  report.read = impl.answers + impl.errors + impl.rejected;
  report.kept = impl.answers;
  report.bad = impl.errors + impl.rejected;
}

}  // namespace ds
