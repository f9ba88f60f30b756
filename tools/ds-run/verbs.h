// The verbs of ds-run whose options fill a file of their own.
#pragma once
#include "cli/app.h"
#include "run/chat_session.h"
#include "run/records.h"
#include "run/server.h"

namespace ds {

void declare_records(Options& o, RunOptions& options, const char* model_help, const char* rejects_help);
void declare_precision(Options& o, std::string& precision);
void declare_engine(Options& o, RunOptions& options);
void declare_cache(Options& o, RunOptions& options);
// The three penalties, --temperature, --top-k, --top-p and --min-p; in ChatOptions it is known whether they were given.
void declare_drawing(Options& o, Sampling& sampling);
void declare_drawing(Options& o, Sampling& sampling, std::optional<double>& temperature);  // a temperature that may not be given
void declare_drawing(Options& o, ChatOptions& options);
void declare_stop(Options& o, Sampling& sampling);
// --prompt-lookup, --draft-model
void declare_speculation(Options& o, RunOptions& options);
void declare_answer_cache(Options& o, RunOptions& options);
void declare_generate_verb(App& app, RunOptions& options);
void declare_serve_verb(App& app, ServeOptions& options);
void declare_chat_verb(App& app);
void declare_inspect_verb(App& app);

}  // namespace ds
