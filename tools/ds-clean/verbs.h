// The verbs of ds-clean whose options are declared in files of their own.
#pragma once
#include "clean/clean.h"
#include "clean/learn.h"
#include "clean/sample.h"
#include "clean/signatures.h"
#include "cli/app.h"

namespace ds {

void declare_filter_verb(App& app, CleanOptions& options);

}  // namespace ds
