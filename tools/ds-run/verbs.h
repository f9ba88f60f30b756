// The verbs of ds-run whose options fill a file of their own.
#pragma once
#include "cli/app.h"
#include "run/records.h"
#include "run/server.h"

namespace ds {

void declare_records(Options& o, RunOptions& options, const char* model_help, const char* rejects_help);
void declare_precision(Options& o, std::string& precision);
void declare_engine(Options& o, RunOptions& options);
void declare_cache(Options& o, RunOptions& options);
void declare_generate_verb(App& app, RunOptions& options);
void declare_serve_verb(App& app, ServeOptions& options);
void declare_chat_verb(App& app);
void declare_inspect_verb(App& app);

}  // namespace ds
