// The verbs of ds-train whose options fill a file of their own.
#pragma once
#include "cli/app.h"
#include "train/pretrain.h"

namespace ds {

void declare_pretrain_verb(App& app, PretrainOptions& options);

}  // namespace ds
