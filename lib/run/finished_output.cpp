#include "run/finished_output.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/stop.h"

namespace ds {

namespace {

constexpr char kAttribute[] = "user.ds-run.generate";
constexpr size_t kMostBytes = 4096;  // more than ext4 holds
constexpr char kOtherwise[] = ": move it away, or leave out --resume to answer all again";

std::string inputs_hash(std::span<const LineReader::InputSummary> inputs) {
  std::string all;
  for (const auto& input : inputs) all += hex(input.hash);
  return hex(hash128(all));
}

// Values may be long (a grammar); their hashes fit.
Identity hashed(const Identity& identity) {
  Identity list;
  for (const auto& [name, value] : identity) list.emplace_back(name, cat('"', hex(hash128(value)).substr(0, 16), '"'));
  return list;
}

bool is_regular(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

// A file of the mark, into the report. Error where it is another one now.
void check_file(const Json& mark, const char* name, const std::string& path, uint64_t records, Report& report) {
  const Json* const hash = mark.find(name);
  require(hash && is_regular(path), path, ": is no more what the finished run wrote", kOtherwise);
  const MappedFile file(path);
  Hasher hasher;
  constexpr size_t kPiece = size_t{16} << 20;
  for (size_t at = 0; at < file.bytes().size(); at += kPiece) {
    const std::string_view piece = file.bytes().substr(at, kPiece);
    hasher.update(piece.data(), piece.size());
    let_go(piece);
  }
  const Hash128 now = hasher.digest();
  require(hex(now) == hash->text, path, ": has changed since it was finished", kOtherwise);
  report.outputs.push_back({path, file.bytes().size(), records, now});
}

}  // namespace

void mark_finished(const StreamOptions& options, const Identity& identity, std::span<const LineReader::InputSummary> inputs, const Report& report) {
  JsonWriter w;
  w.open('{').open('{', "identity");
  for (const auto& [name, value] : hashed(identity)) w.key(name).raw(value);
  w.close().field("inputs", inputs_hash(inputs)).field("output", hex(report.outputs[0].hash));
  if (!options.rejects.empty()) w.field("rejects", hex(report.outputs[1].hash));
  w.field("read", report.read).field("kept", report.kept).field("bad", report.bad).close();
  setxattr(options.output.c_str(), kAttribute, w.text.data(), w.text.size(), 0);  // where it fails nothing is known, which find_finished() says
}

bool find_finished(const StreamOptions& options, const Identity& identity, Report& report) {
  const std::string& output = options.output;
  struct stat partial;
  if (!is_regular(output) || lstat((output + ".partial").c_str(), &partial) == 0) return false;
  std::string text(kMostBytes, '\0');
  const ssize_t size = getxattr(output.c_str(), kAttribute, text.data(), text.size());
  require(size >= 0, output, ": is there already, with nothing that tells what it was made from", kOtherwise);
  const Json mark = parse_json(std::string_view(text).substr(0, static_cast<size_t>(size)), cat(output, ": its attribute ", kAttribute));
  const Json* const made = mark.find("identity");
  require(made && mark.find("inputs") && mark.find("output") && mark.find("read") && mark.find("kept") && mark.find("bad"), output,
          ": is there already, and what its attribute ", kAttribute, " says is not understood", kOtherwise);
  const std::string differs = differences(*made, hashed(identity));
  require(differs.empty(), output, ": is finished, but the run that made it differs from this one in: ", differs, kOtherwise);
  LineReader reader(options.inputs, options.max_record_bytes);
  Line line;
  while (reader.next_part(line) != LineReader::Part::end) throw_if_stopped();
  const auto inputs = reader.inputs();
  require(inputs_hash(inputs) == mark.find("inputs")->text, output, ": is finished, but the input is another one now", kOtherwise);
  const auto count = [&](const char* name) { return static_cast<uint64_t>(mark.find(name)->as_int(name)); };
  report.read = count("read"), report.kept = count("kept"), report.bad = count("bad");
  const uint64_t rejected = options.rejects.empty() ? 0 : report.bad;
  check_file(mark, "output", output, report.read - rejected, report);
  if (!options.rejects.empty()) check_file(mark, "rejects", options.rejects, rejected, report);
  for (const auto& input : inputs) report.inputs.push_back({input.file, input.bytes, input.lines, input.hash});
  return true;
}

}  // namespace ds
