#include "clean/shards.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "io/output.h"

namespace ds {

namespace fs = std::filesystem;

// What is written compressed keeps or gets the ending .zst; gzip is read only.
static std::string output_name(const std::string& name) {
  return name.ends_with(".gz") ? name.substr(0, name.size() - 3) + ".zst" : name;
}

std::vector<InputShard> input_shards(const CleanOptions& options) {
  const auto on = [](const std::string& typed) { return !typed.empty() && typed != "off"; };
  const bool dedups = options.exact || on(options.near) ||
                      std::any_of(options.presets.begin(), options.presets.end(), [](const std::string& preset) {
                        return preset == "pretrain" || preset == "instruct";
                      });
  if (dedups && options.index.empty())
    throw UsageError(
        "--output-dir with --exact, --near or a preset that has them needs --index DIR, which remembers what the "
        "finished inputs held");
  if (options.duplicate_lines || options.duplicate_paragraphs || on(options.duplicate_passages))
    throw UsageError(
        "--output-dir does not go with the removal of duplicate lines, paragraphs or passages, which remembers all "
        "inputs");
  if (options.stream.output != "-") throw UsageError("give either --output-dir or --output");
  std::vector<InputShard> shards;
  std::set<std::string> names;
  const Shard dealt = options.stream.shard;
  for (size_t i = 0; i < options.stream.inputs.size(); ++i) {
    const std::string& input = options.stream.inputs[i];
    if (input == "-") throw UsageError("--output-dir needs named inputs, not standard input");
    const std::string name = fs::path(input).filename();
    if (!names.insert(output_name(name)).second)
      throw UsageError(cat("--output-dir: two inputs would be written to ", output_name(name)));
    if (i % dealt.count + 1 != dealt.index) continue;
    std::error_code failed;
    const auto size = fs::file_size(input, failed);
    require(!failed, input, ": ", failed.message());
    const fs::path output = fs::path(options.output_folder) / output_name(name);
    InputShard shard{cat(fs::absolute(output).lexically_normal().string(), " ", size), options.stream};
    shard.stream.inputs = {input};
    shard.stream.shard = {};
    shard.stream.output = output.string();
    if (!options.stream.rejects.empty())
      shard.stream.rejects = (fs::path(options.stream.rejects) / output_name(name)).string();
    shards.push_back(std::move(shard));
  }
  return shards;
}

static void make_folder(const std::string& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  require(!failed, folder, ": cannot be made: ", failed.message());
}

void open_output_folder(const CleanOptions& options, const std::string& options_json) {
  make_folder(options.output_folder);
  if (!options.stream.rejects.empty()) make_folder(options.stream.rejects);
  const std::string file = options.output_folder + "/.ds-clean";
  if (!fs::exists(file)) return write_file(file, options_json + "\n");
  const std::string before = read_file(file);
  require(before == options_json + "\n", options.output_folder, ": was written with other options (", file,
          "); use the same ones or another folder");
}

bool finished(const InputShard& shard, const IndexFolder* index) {
  const bool written =
      fs::exists(shard.stream.output) && (shard.stream.rejects.empty() || fs::exists(shard.stream.rejects));
  if (!index) return written;
  const bool done = index->finished(shard.name);
  require(
      !done || written, shard.stream.output,
      ": was finished by an earlier run, whose records the index knows, and is not there any more (or its rejects are "
      "not); begin again with another index and another folder");
  return done;
}

}  // namespace ds
