// ds-clean: decide which records of a stream stay, and what of their text.
#pragma once
#include "clean/options.h"
#include "io/report.h"

namespace ds {

// Runs the stream through the filters. Kept records keep their bytes but for what an edit takes out; a dropped one gets
// "clean": {"reason": ...}. Earlier records count for duplicates whether they were kept or dropped.
void clean(const CleanOptions& options, Report& report);

}  // namespace ds
