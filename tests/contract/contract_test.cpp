// What every tool promises on its command line, checked on the real executables. A tool that is not built is skipped.
//
// To add a tool or verb, add a row to `rows` below: the smallest run that does real work. In its words {in} is a JSONL
// file of the fixtures (always the last word where it stands on its own, so that `--` can go before it), {out} what it
// writes (leave it out where the row writes standard output), {tokenizer} a tokenizer.json and {model} a model folder
// that ds-train makes for this test.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <regex>

#include "base/error.h"
#include "contract/process.h"
#include "contract/tools.h"
#include "io/json.h"

namespace ds::test {
namespace fs = std::filesystem;

struct Row {
  std::string tool, verb;  // verb "": the tool's own action
  std::vector<std::string> words;
  bool writes(const std::string& what) const { return std::find(words.begin(), words.end(), what) != words.end(); }
  bool to_stdout() const { return !writes("{out}"); }
};

const std::vector<Row> rows = {
    {"ds-clean", "", {"-q", "--exact", "--near", "0.8", "{in}"}},
    {"ds-clean",
     "",
     {"-q", "--annotate", "--exact", "--near", "0.99", "--preset", "gopher-quality,gopher-repetition,c4,fineweb,answers",
      "--min-gopher-words", "5", "--min-c4-sentences", "off", "--min-punctuated-lines", "off", "--max-short-lines", "off",
      "--max-top-2-gram", "off", "--max-top-3-gram", "off", "--max-top-4-gram", "off", "--c4-lines", "--pii", "tag",
      "--toxicity", "0.5", "--min-lang-score", "0", "--duplicate-lines", "--duplicate-paragraphs", "--duplicate-passages",
      "200", "{in}"}},
    {"ds-clean",
     "",
     {"-q", "--exact", "--near", "0.9", "--repetition", "0.9", "--min-words", "3", "--pii", "redact", "--duplicate-lines",
      "--duplicate-paragraphs", "--duplicate-passages", "200", "{in}"}},
    {"ds-clean", "", {"-q", "--exact", "--near", "0.9", "--keep", "longest", "-o", "{out}", "{in}"}},
    {"ds-clean", "signatures", {"-q", "--near", "0.7", "{in}"}},
    {"ds-augment", "embed", {"--dimension", "8", "{in}"}},
    {"ds-augment", "grade", {"{in}"}},
    {"ds-train", "tokenizer", {"--vocab-size", "300", "--pretokenizer", "gpt2", "-o", "{out}", "{in}"}},
    {"ds-run", "tokenize", {"--model", "{tokenizer}", "{in}"}},
    {"ds-run", "score", {"--model", "{model}", "{in}"}},
    {"ds-run", "embed", {"--model", "{model}", "{in}"}},
    {"ds-run", "generate", {"--model", "{model}", "--prompt-field", "text", "--max-tokens", "2", "{in}"}},
    {"ds-quantize", "", {"--method", "rtn", "--group-size", "64", "-o", "{out}", "{model}"}},
    {"ds-eval", "baseline", {"--training", "{in}", "-o", "{out}", "--data", "{in}"}},
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.tool << " " << row.verb; }

std::string label(const Row& row) {
  std::string text = row.tool.substr(3) + (row.verb.empty() ? "" : "_" + row.verb);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

// A tokenizer.json of the 256 bytes and no merges, with GPT-2's letters for the bytes: printable ones stand for
// themselves, the others for the code points from 256 on.
std::string byte_tokenizer() {
  std::string vocabulary;
  int other = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    char letter[8];
    std::snprintf(letter, sizeof letter, "\\u%04x", printable ? byte : other++);
    vocabulary += (byte ? ", \"" : "\"") + std::string(letter) + "\": " + std::to_string(byte);
  }
  return R"({"version": "1.0", "added_tokens": [], "normalizer": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
 "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
           "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {)" +
         vocabulary + R"(}, "merges": []}})";
}

// Files that rows read, made once.
struct Fixtures {
  Scratch scratch;
  fs::path in = scratch.path / "in.jsonl", tokenizer = scratch.path / "tokenizer.json", model = scratch.path / "model";
  std::string trouble;  // why the model could not be made

  Fixtures() {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += "{\"id\": \"r" + std::to_string(i) + "\", \"text\": \"record number " + std::to_string(i % 30) +
              " tells of ships and shores and of the wind that blows between them\"}\n";
    spill(in, text);
    spill(tokenizer, byte_tokenizer());
    spill(scratch.path / "config.json",
          R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256, "hidden_size": 64,
              "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
              "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": false})");
    const Result made = run(
        {.words = {executable("ds-train"), "pretrain", "--init", scratch.path / "config.json", "--tokenizer", tokenizer,
                   "--data", in, "--steps", "1", "--batch-size", "1", "--sequence-length", "16", "-o", model}});
    if (made.exit != 0) trouble = "ds-train pretrain: " + made.err;
  }
};
const Fixtures& fixtures() {
  static const Fixtures instance;
  return instance;
}

std::vector<std::string> command(const Row& row, const std::vector<std::string>& options, const std::string& in,
                                 const std::string& out, bool dashes = false) {
  std::vector<std::string> words = {executable(row.tool)};
  if (!row.verb.empty()) words.push_back(row.verb);
  words.insert(words.end(), options.begin(), options.end());
  for (size_t i = 0; i < row.words.size(); ++i) {
    if (dashes && i + 1 == row.words.size()) words.push_back("--");
    const std::string& word = row.words[i];
    words.push_back(word == "{in}"          ? in
                    : word == "{out}"       ? out
                    : word == "{tokenizer}" ? fixtures().tokenizer.string()
                    : word == "{model}"     ? fixtures().model.string()
                                            : word);
  }
  return words;
}

// A file's bytes, or all files of a folder with their names; without what the contract leaves out of the comparison.
std::string contents(const fs::path& path) {
  if (!fs::is_directory(path)) return slurp(path);
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), path)] = slurp(entry.path());
  std::string all;
  for (const auto& [name, bytes] : files) all += name + "\n" + bytes;
  return all;
}

// One line, "ds-x: error: ...", on standard error and nothing else.
void expect_one_error(const Result& result, const std::string& tool, const std::string& naming) {
  EXPECT_TRUE(result.err.starts_with(tool + ": error: ")) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_NE(result.err.find(naming), std::string::npos) << result.err;
}

class EveryTool : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!exists(GetParam())) FAIL() << GetParam() << " is not built";
  }
  Result tool(std::vector<std::string> words) {
    words.insert(words.begin(), executable(GetParam()));
    return run({.words = words});
  }
};

TEST_P(EveryTool, HelpMentionsEveryOption) {
  std::map<std::string, Result> help;
  help["-"] = tool({"--help"});
  for (const DumpedOption& o : dump_options(GetParam())) {
    if (!help.count(o.verb)) help[o.verb] = tool({o.verb, "--help"});
    const Result& shown = help[o.verb];
    for (const std::string& name : o.names) EXPECT_NE(shown.out.find(name), std::string::npos) << o.verb << " " << name;
    if (!o.default_text.empty()) {
      EXPECT_NE(shown.out.find("default"), std::string::npos) << o.verb << " " << o.names[0];
    }
  }
  for (const auto& [verb, shown] : help) {
    EXPECT_EQ(shown.exit, 0) << verb;
    EXPECT_EQ(shown.err, "") << verb;
    EXPECT_NE(shown.out.find("Examples:\n  "), std::string::npos) << verb << " has no examples";
  }
}

TEST_P(EveryTool, Version) {
  const Result shown = tool({"--version"});
  EXPECT_EQ(shown.exit, 0);
  EXPECT_TRUE(
      std::regex_match(shown.out, std::regex(GetParam() + " \\d+\\.\\d+\\.\\d+ \\(simd \\w+, cuda (yes|no)\\)\n")))
      << shown.out;
}

TEST_P(EveryTool, UnknownOptionIsWrongUsage) {
  const Result result = tool({"--no-such-option"});
  EXPECT_EQ(result.exit, 2);
  expect_one_error(result, GetParam(), "--no-such-option");
}

TEST_P(EveryTool, ErrorsAsJson) {
  const Result result = tool({"--log-format", "json", "--no-such-option"});
  EXPECT_EQ(result.exit, 2);
  const Json line = parse_json(result.err, "stderr");
  EXPECT_EQ(line.find("tool")->text, GetParam());
  EXPECT_EQ(line.find("level")->text, "error");
}

TEST_P(EveryTool, FullStandardOutput) {
  const Result result = run({.words = {executable(GetParam()), "--help"}, .output = "/dev/full"});
  EXPECT_EQ(result.exit, 1);
  expect_one_error(result, GetParam(), "No space left on device");
}

TEST_P(EveryTool, Completions) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Result result = tool({"--completions", shell});
    EXPECT_EQ(result.exit, 0) << result.err;
    EXPECT_NE(result.out.find("threads"), std::string::npos);
    if (std::string(shell) == "bash") {
      EXPECT_EQ(run({.words = {"bash", "-n"}, .input = result.out}).exit, 0) << result.out;
    }
  }
}
TEST_P(EveryTool, AnOldProcessorGetsASentence) {
  if (run({.words = {"sh", "-c", "command -v qemu-x86_64"}}).exit != 0) GTEST_SKIP() << "qemu-user is not installed";
  const Result result = run({.words = {"qemu-x86_64", "-cpu", "Nehalem", executable(GetParam()), "--version"}});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("lacks AVX2"), std::string::npos) << result.err;
}
INSTANTIATE_TEST_SUITE_P(Contract, EveryTool, testing::ValuesIn(tools),
                         [](const auto& info) { return info.param.substr(3); });

class EveryRow : public testing::TestWithParam<Row> {
 protected:
  void SetUp() override {
    if (!exists(row.tool)) FAIL() << row.tool << " is not built";
    if (row.writes("{model}")) {
      ASSERT_EQ(fixtures().trouble, "");
    }
  }
  const Row& row = GetParam();
  Scratch scratch;
  const std::string out = (scratch.path / "out").string();
};

TEST_P(EveryRow, SameBytesForAnyThreads) {
  std::vector<std::string> seen;
  for (const char* threads : {"-j1", "-j2", "-j5"}) {
    const std::string to = out + threads;
    const Result result = run({.words = command(row, {threads}, fixtures().in, to)});
    ASSERT_EQ(result.exit, 0) << result.err;
    EXPECT_EQ(result.err, "");
    seen.push_back(row.to_stdout() ? result.out : result.out + contents(to));
  }
  EXPECT_FALSE(seen[0].empty());
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST_P(EveryRow, MissingInputIsNamed) {
  Row absent = row;
  const std::string name = (scratch.path / "absent").string();
  std::replace(absent.words.begin(), absent.words.end(), std::string("{model}"), name);
  const Result result = run({.words = command(absent, {}, name, out)});
  EXPECT_EQ(result.exit, 1);
  expect_one_error(result, row.tool, name);
  EXPECT_FALSE(fs::exists(out));
}

TEST_P(EveryRow, DoubleDashEndsTheOptions) {
  const bool model = row.words.back() == "{model}";
  fs::create_symlink(model ? fixtures().model : fixtures().in, scratch.path / "-odd");
  Row odd = row;
  odd.words.back() = "-odd";
  const bool operand = odd.words.size() < 2 || !odd.words[odd.words.size() - 2].starts_with("-");
  if (!operand) GTEST_SKIP() << "the row has no operand";
  const Result result = run({.words = command(odd, {}, fixtures().in, out, true), .directory = scratch.path});
  EXPECT_EQ(result.exit, 0) << result.err;
}

TEST_P(EveryRow, ReportIsJson) {
  const fs::path report = scratch.path / "report.json";
  const Result result = run({.words = command(row, {"--seed", "7", "--report", report}, fixtures().in, out)});
  ASSERT_EQ(result.exit, 0) << result.err;
  const Json json = parse_json(slurp(report), "report");
  ASSERT_NE(json.find("tool"), nullptr);
  EXPECT_EQ(json.find("tool")->text, row.tool);
  ASSERT_NE(json.find("options"), nullptr);
  ASSERT_NE(json.find("options")->find("seed"), nullptr) << slurp(report);
  EXPECT_EQ(json.find("options")->find("seed")->text, "7");
}

TEST_P(EveryRow, ConfigFile) {
  const fs::path config = scratch.path / "config.toml", report = scratch.path / "report.json";
  spill(config, "seed = 11\nthreads = 2\n");
  const Result good = run({.words = command(row, {"--config", config, "--report", report}, fixtures().in, out)});
  ASSERT_EQ(good.exit, 0) << good.err;
  EXPECT_EQ(parse_json(slurp(report), "report").find("options")->find("seed")->text, "11");
  spill(config, "seeed = 11\n");
  const Result bad = run({.words = command(row, {"--config", config}, fixtures().in, out + "2")});
  EXPECT_EQ(bad.exit, 2);
  expect_one_error(bad, row.tool, "did you mean 'seed'");
}

TEST_P(EveryRow, FullDevice) {
  if (!row.to_stdout()) GTEST_SKIP() << "the row writes a named file";
  const Result result = run({.words = command(row, {}, fixtures().in, out), .output = "/dev/full"});
  EXPECT_EQ(result.exit, 1);
  expect_one_error(result, row.tool, "No space left on device");
}

TEST_P(EveryRow, ClosedPipeEndsQuietly) {
  if (!row.to_stdout()) GTEST_SKIP() << "the row writes a named file";
  const Result result = run({.words = command(row, {}, fixtures().in, out), .closed_pipe = true});
  EXPECT_EQ(result.signal, SIGPIPE) << result.exit;
  EXPECT_EQ(result.err, "");
}

// The input is a FIFO that gives one record and then stays open, so that the signal finds the tool at work. What a second
// run goes on with (--resume) may stay.
TEST_P(EveryRow, SignalLeavesNothing) {
  if (!row.writes("{in}")) GTEST_SKIP() << "the row reads no stream";
  for (const int signal : {SIGINT, SIGTERM}) {
    const Scratch folder;
    const fs::path fifo = folder.path / "fifo", results = folder.path / "results";
    fs::create_directory(results);
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    const int writer = open(fifo.c_str(), O_RDWR);
    ASSERT_GE(writer, 0);
    Row named = row;
    if (row.to_stdout()) named.words.insert(named.words.begin(), {"-o", "{out}"});
    Running running({.words = command(named, {}, fifo, results / "out"), .limit_seconds = 20});
    const std::string line = "{\"id\": \"a\", \"text\": \"one record\"}\n";
    ASSERT_EQ(write(writer, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    kill(running.pid(), signal);
    const Result result = running.finish();
    close(writer);
    EXPECT_FALSE(result.late) << "did not end within 20 seconds of the signal";
    EXPECT_EQ(result.signal, signal) << "exit " << result.exit << ": " << result.err;
    for (const auto& left : fs::directory_iterator(results)) {
      const bool resumable = row.tool == "ds-run" && row.verb == "generate";
      EXPECT_TRUE(resumable && left.path().filename().string().starts_with("out.partial")) << left.path();
    }
  }
}
// The rows of one tool and verb are numbered from the second on.
std::string numbered(size_t row) {
  const std::string name = label(rows[row]);
  const auto before = std::count_if(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(row),
                                    [&](const Row& other) { return label(other) == name; });
  return before == 0 ? name : name + "_" + std::to_string(before + 1);
}
INSTANTIATE_TEST_SUITE_P(Contract, EveryRow, testing::ValuesIn(rows),
                         [](const auto& info) { return numbered(info.index); });

TEST(Rows, EveryToolHasOne) {
  for (const std::string& tool : tools)
    EXPECT_TRUE(!exists(tool) || std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
      return row.tool == tool;
    })) << tool;
}

}  // namespace ds::test
