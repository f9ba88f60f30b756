#include "clean/shards.h"

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

static bool exists(const std::string& path) {
  std::error_code failed;
  const bool there = fs::exists(path, failed);
  require(!failed, path, ": ", failed.message());
  return there;
}

// Whether an output of a shard would replace what it reads.
static bool replaces_input(const StreamOptions& stream) {
  std::error_code absent;  // then they are not the same
  return fs::equivalent(stream.inputs[0], stream.output, absent) ||
         (!stream.rejects.empty() && fs::equivalent(stream.inputs[0], stream.rejects, absent));
}

static void check_options(const CleanOptions& options, bool dedups) {
  if (dedups && options.index.empty())
    throw UsageError(
        "--output-dir with --exact or --near (pretrain and instruct are both) needs --index DIR, which remembers what "
        "the "
        "finished inputs held");
  const bool passages = !options.duplicate_passages.empty() && options.duplicate_passages != "off";
  if (options.duplicate_lines || options.duplicate_paragraphs || passages)
    throw UsageError(
        "--output-dir does not go with the removal of duplicate lines, paragraphs or passages, which remembers all "
        "inputs");
  if (options.stream.output != "-") throw UsageError("give either --output-dir or --output");
}

std::vector<InputShard> input_shards(const CleanOptions& options, bool dedups) {
  check_options(options, dedups);
  std::vector<InputShard> shards;
  std::set<std::string> names;
  const Shard dealt = options.stream.shard;
  for (size_t i = 0; i < options.stream.inputs.size(); ++i) {
    const std::string& input = options.stream.inputs[i];
    if (input == "-") throw UsageError("--output-dir needs named inputs, not standard input");
    const std::string name = output_name(fs::path(input).filename());
    if (!names.insert(name).second) throw UsageError(cat("--output-dir: two inputs would be written to ", name));
    if (i % dealt.count + 1 != dealt.index) continue;
    InputShard shard{"", options.stream};
    shard.stream.inputs = {input};
    shard.stream.shard = {};
    shard.stream.output = (fs::path(options.output_folder) / name).string();
    if (!options.stream.rejects.empty()) shard.stream.rejects = (fs::path(options.stream.rejects) / name).string();
    if (replaces_input(shard.stream))
      throw UsageError(cat("--output-dir: ", input, " would be replaced by its own output; name another folder"));
    std::error_code failed;
    const auto size = fs::file_size(input, failed);
    require(!failed, input, ": ", failed.message());
    shard.name = cat(fs::absolute(shard.stream.output).lexically_normal().string(), " ", size);
    shards.push_back(std::move(shard));
  }
  return shards;
}

static void make_folder(const std::string& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  require(!failed, folder, ": cannot be made: ", failed.message());
}

void open_output_folder(const CleanOptions& options, const std::vector<InputShard>& shards,
                        const std::string& options_json) {
  make_folder(options.output_folder);
  if (!options.stream.rejects.empty()) make_folder(options.stream.rejects);
  const std::string file = options.output_folder + "/.ds-clean";
  if (!exists(file)) {
    for (const InputShard& shard : shards)
      require(!exists(shard.stream.output), shard.stream.output,
              ": is there already, and not from a run of --output-dir (", file,
              " is not there); name another folder or remove it");
    return write_file(file, options_json + "\n");
  }
  const std::string before = read_file(file);
  require(before == options_json + "\n", options.output_folder, ": was written with other options (", file,
          "); use the same ones or another folder");
}

bool finished(const InputShard& shard, const IndexFolder* index) {
  const StreamOptions& stream = shard.stream;
  if (!index) return exists(stream.output) && (stream.rejects.empty() || exists(stream.rejects));
  if (!index->finished(shard.name)) return false;
  for (const std::string& path : {stream.output, stream.rejects})
    require(path.empty() || exists(path), path,
            ": is not there, but by the index its input was finished; without a new "
            "index it cannot be made again");
  return true;
}

}  // namespace ds
