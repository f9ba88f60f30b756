// ds-clean without a verb has many options: they are declared in files of their own.
#pragma once
#include "clean/clean.h"
#include "clean/duplicates/signatures.h"
#include "clean/learn.h"
#include "clean/sample.h"
#include "cli/app.h"

namespace ds {

void declare_filter_verb(App& app, CleanOptions& options);
void declare_limits(Options& o, CleanOptions& options);
void declare_judges(Options& o, CleanOptions& options);

}  // namespace ds
