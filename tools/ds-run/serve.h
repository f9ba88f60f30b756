// The options of `ds-run serve`, in a file of their own.
#pragma once
#include "cli/app.h"
#include "run/server.h"

namespace ds {

void declare_engine(Options& o, RunOptions& r);   // main.cpp
void declare_serve(App& app, ServeOptions& s);

}  // namespace ds
