// Provenance inside a model file: the chain of ds.history, one entry a run, of what decides the bytes of the weights:
// tool version, hashes of the inputs, options. Never paths, threads or times.
#pragma once
#include <map>
#include <string>

namespace ds {

// The metadata with `entry` (a JSON object) at the end of its ds.history.
std::map<std::string, std::string> append_history(std::map<std::string, std::string> metadata, const std::string& entry);

// The history of a model file, or nothing where there is no such file.
std::string stored_history(const std::string& path);

// The Error of a run that cannot be gone on with, since `stored`, the history of what is at `where`, is not `wanted`.
// Names the first option in which they differ.
[[noreturn]] void refuse_resume(const std::string& where, const std::string& stored, const std::string& wanted);

}  // namespace ds
