// What a finished output was made from, so that a run which would make it again can tell that nothing is left to do.
#pragma once
#include <optional>
#include <span>

#include "run/answer_file.h"

namespace ds {

// Keeps with the output, as its extended attribute user.ds-run.generate, the hashes of identity, inputs, output and rejects, and
// how many records there were. report.outputs are output and rejects. Not every file system has such attributes, and copies of a
// file seldom do: find_finished() says then that it cannot know.
void mark_finished(const StreamOptions& options, const Identity& identity, std::span<const LineReader::InputSummary> inputs, const Report& report);

// For --resume: whether the output is finished. False where there is none, or an unfinished file to go on with. True where it was
// made from these inputs by a run of this identity, and is still what that run wrote: the report gets inputs, outputs and
// counts. Error for any other file of this name, which says what is not the same, or that nobody knows. Reads the inputs.
bool find_finished(const StreamOptions& options, const Identity& identity, Report& report);

}  // namespace ds
