// Levels of precision of one model: a folder may hold model folders high/, medium/ and low/ (say, in BF16, INT8 and 4 bits).
#pragma once
#include <string>

namespace ds {

// What is loaded for a model folder (or .gguf, or tokenizer.json) and the level that is asked for: "high", "medium", "low", or
// "" for none; then it is the folder itself, or its high/ where it has no config.json of its own. A level that is not there
// is an Error that lists those that are.
std::string precision_folder(const std::string& model, const std::string& level);

}  // namespace ds
