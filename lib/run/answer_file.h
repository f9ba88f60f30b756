// Where the lines of a batch go: to the outputs as they come, or, where they are files, first to one file beside the output
// that outlives kill -9, so that another run can go on with it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"
#include "io/jsonl.h"

namespace ds {

// What a line is: a record with its answer, one with an error in its place in the output, a line of the rejects.
enum class LineKind : char { answer = 'a', error = 'e', reject = 'r' };

// What decides the bytes of the answers, as names and JSON values.
using Identity = std::vector<std::pair<std::string, std::string>>;
// The names of what is not the same in an object of such names and values, with ", " between them.
std::string differences(const Json& begun, const Identity& identity);

// What can be said of the files before there are answers: UsageError where the output or the rejects are an input, or one
// file; Error where the rejects cannot be written.
void check_outputs(const StreamOptions& options);

// The unfinished file is OUTPUT.partial: a line with the identity, then a line for each line of the input that was dealt
// with: the line as it will stand in the output or the rejects, a tab, and "KIND INDEX HASH CHECK": the place and XXH3 of
// the input's line, and XXH3-128's lower half of all that stands before it on this line. commit() makes output and rejects of
// it; one without such lines does not stay.
class AnswerFile {
 public:
  // Begins an unfinished file (one that is there is overwritten), or with `resume` goes on with one: a torn line at its end
  // is cut off, and so are, with a warning, a damaged one and what follows it; an identity that differs is an Error that
  // names what does. `in_order`: lines come by their index.
  // UsageError where there is nothing to resume to: the output is no file. Another run at the same file is an Error.
  AnswerFile(const StreamOptions& options, const Identity& identity, bool resume, bool in_order);
  ~AnswerFile();
  // Whether a line of the input was dealt with by an earlier run, and how. Error where it is not the same line any more.
  // 24 bytes a line are kept for this. Ask with rising indices.
  std::optional<LineKind> dealt_with(uint64_t index, uint64_t hash);

  // A line, in pieces of any size, without its newline; then end_line().
  void write(std::string_view bytes, LineKind kind);
  void end_line(uint64_t index, uint64_t hash, LineKind kind);
  void flush();                    // what was ended cannot be lost any more by this process's death
  const std::string& partial() const;  // the unfinished file's name; "" where there is none
  uint64_t lines() const;          // dealt with, by this run and earlier ones
  // Makes the final files, marked as finished (mark_finished); counts records and adds files to the report. Call exactly once.
  void commit(const Identity& identity, std::span<const LineReader::InputSummary> inputs, Report& report);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
