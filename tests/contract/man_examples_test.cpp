// What the pages show works: the EXAMPLES of ds-clean and ds-augment are run, in order and in one folder, with the
// policy of ds-clean's RULES; and its page explains every signal.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "contract/process.h"
#include "contract/tools.h"

namespace ds::test {
namespace fs = std::filesystem;

// The lines of a section, without the macro that begins it.
std::vector<std::string> section(const std::string& page, const std::string& name) {
  std::vector<std::string> lines;
  std::istringstream all(page);
  std::string line;
  bool inside = false;
  while (std::getline(all, line)) {
    if (line.starts_with(".Sh "))
      inside = line == ".Sh " + name;
    else if (inside)
      lines.push_back(line);
  }
  return lines;
}

// What is printed for \e \& \(dq and "\ "; other escapes do not belong into commands and files.
std::string printed(const std::string& line) {
  std::string text;
  for (size_t at = 0; at < line.size(); ++at) {
    if (line[at] != '\\') {
      text += line[at];
      continue;
    }
    const std::string rest = line.substr(at + 1);
    if (rest.starts_with("(dq"))
      text += '"', at += 3;
    else if (rest.starts_with("e"))
      text += '\\', ++at;
    else if (rest.starts_with("&"))
      ++at;
    else if (rest.starts_with(" "))
      text += ' ', ++at;
    else
      ADD_FAILURE() << "what is \\" << rest << " in a line to paste?";
  }
  return text;
}

// The .Dl lines as commands: one that ends in a backslash goes on in the next.
std::vector<std::string> commands(const std::vector<std::string>& lines) {
  std::vector<std::string> found;
  bool open = false;
  for (const std::string& line : lines) {
    if (!line.starts_with(".Dl ")) continue;
    const std::string text = printed(line.substr(4));
    if (open)
      found.back() += "\n" + text;
    else
      found.push_back(text);
    open = text.ends_with("\\");
  }
  return found;
}

// The first literal display.
std::string display(const std::vector<std::string>& lines) {
  std::string text;
  bool inside = false;
  for (const std::string& line : lines) {
    if (line == ".Ed") break;
    if (inside) text += printed(line) + "\n";
    if (line.starts_with(".Bd -literal")) inside = true;
  }
  return text;
}

std::string record(const std::string& id, const std::string& text, const std::string& more = "") {
  return "{\"id\": \"" + id + "\", \"text\": \"" + text + "\"" + more + "}\n";
}

// Sentences that begin at word `at` of a small stock: different enough that no two texts are near duplicates.
std::string prose(size_t at, size_t sentences) {
  static const std::vector<std::string> stock = {
      "river", "mill",  "town",   "library", "teacher", "garden", "winter", "bridge", "letter", "market", "doctor",
      "ship",  "piano", "window", "summer",  "kitchen", "farmer", "forest", "street", "museum", "painter"};
  std::string text;
  for (size_t s = 0; s < sentences; ++s) {
    const auto word = [&](size_t k) {
      return stock[(at * 7919 + s * 104729 + k * 611953 + at * s * k) % stock.size()];
    };
    text += "The " + word(1) + " of the " + word(2) + " and the " + word(3) + " have number " +
            std::to_string(at * 31 + s * 17) + " with a " + word(4) + " that belongs to " + word(5) + ". ";
  }
  text.pop_back();
  return text;
}

const std::string item =
    "A train leaves the station at nine and travels at sixty miles an hour towards the coast of Wales.";
const std::string notice = "All rights reserved by the editors of this page, who ask you to share it.";

// 103 documents: 60 good ones, and what the examples are about.
std::string documents() {
  std::string all;
  for (size_t i = 0; i < 60; ++i) {
    const std::string id = "doc-" + std::to_string(i), licence = i % 3 ? "mit" : "cc0";
    const std::string text = i == 7 ? prose(i, 2) : i < 6 ? prose(i, 3) + "\\n" + notice : prose(i, 6);
    all += record(id, text, ", \"meta\": {\"licence\": \"" + licence + "\"}, \"tags\": [\"a\"]");
  }
  for (size_t i = 0; i < 10; ++i) {
    const std::string n = std::to_string(i), good = prose(i + 20, 6);
    all += record("exact-" + n, good);
    all += record("near-" + n, prose(i + 30, 6) + " One more word.", ", \"url\": \"https://ok.example/" + n + "\"");
    all += record("listed-" + n, prose(i + 100, 6), ", \"url\": \"https://www.spam.example/" + n + "\"");
    all += record("mail-" + n, prose(i + 200, 6) + " Write to jane.doe@corp.example for more.");
  }
  all +=
      record("french", "Le petit chat est assis sur la table de la cuisine et il regarde par la fenêtre de la maison.");
  all += record("rude", "You bastard, you bloody idiot, what the fuck is this shit that you have here?");
  all += record("bench", prose(300, 3) + " " + item + " " + prose(301, 3));
  return all;
}

std::string labelled() {
  std::string all;
  for (size_t i = 0; i < 200; ++i) {
    const bool toxic = i % 4 == 0;
    all += record(std::to_string(i),
                  prose(i, 2) + (toxic ? " What a rotten and hateful fool." : " What a kind and gentle soul."),
                  std::string(", \"toxic\": ") + (toxic ? "true" : "false"));
  }
  return all;
}

const char* const chat =
    R"({"id": "good", "prompt": "Where does the sun rise?", "completion": "It rises in the east."})"
    "\n"
    R"({"id": "refusal", "prompt": "Where does the sun rise?", "completion": "I'm sorry, but I can't help with that."})"
    "\n"
    R"({"id": "empty", "prompt": "Where does the sun rise?", "completion": ""})"
    "\n";

struct Checked {
  std::string begin;  // of the command after which
  std::string check;  // this command is run
  std::string output;
};
const std::vector<Checked> checks = {
    {"ds-clean --preset pretrain --rejects", "jq -r .clean.reason dropped.jsonl | sort | uniq -c | tr -s ' '",
     " 10 exact-duplicate\n 3 min-words\n 10 near-duplicate\n"},
    {"ds-eval report", "grep -c '</html>' page.html", "1\n"},
    {"zstdcat docs.jsonl.zst | ds-clean", "zstdcat kept.zst | wc -l", "93\n"},
    {"ds-clean --rules policy.toml", "wc -l < kept.jsonl", "54\n"},
    {"ds-clean --rules again.toml", "jq -r .id kept.jsonl | grep -c -e french -e rude -e 'doc-7$' || true", "0\n"},
    {"ds-clean --language",
     "jq -r .text kept.jsonl | grep -c 'Write to <EMAIL> for more'; grep -c spam.example kept.jsonl || true",
     "10\n0\n"},
    {"jq -c '[.id, .clean.item", "jq -r '[.id, .clean.item, .clean.run] | @tsv' hits.jsonl", "bench\tq/1\t19\n"},
    {"ds-clean --near 0.7 --keep longest", "jq -r .id longest.jsonl | grep -c near", "10\n"},
    {"ds-clean --duplicate-lines", "grep -c 'All rights reserved' kept.jsonl", "1\n"},
    {"ds-clean --exact --near 0.8 --index seen tue.jsonl", "jq -r .id new2.jsonl | sort -u | wc -l", "23\n"},
    {"ds-clean --preset pretrain --index known", "ls cleaned dropped",
     "cleaned:\na.jsonl.zst\nb.jsonl.zst\n\ndropped:\na.jsonl.zst\nb.jsonl.zst\n"},
    {"ds-clean cluster", "ds-clean -q --near 0.8 docs.jsonl | cmp - kept.jsonl && echo same", "same\n"},
    {"ds-clean learn", "test -s toxic.bin && echo made", "made\n"},
    {"ds-clean --preset answers", "jq -r .id kept.jsonl", "good\n"},
};

TEST(ManExamples, OfDsCleanWork) {
  for (const char* tool : {"ds-clean", "ds-eval"}) ASSERT_TRUE(exists(tool)) << tool << " is not built";
  const std::string page = slurp(fs::path(DS_SOURCE_DIR) / "man/ds-clean.1");
  const Scratch scratch;
  const auto sh = [&](const std::string& command) {
    return run({.words = {"sh", "-e", "-c", command},
                .directory = scratch.path,
                .environment = {{"PATH", std::string(DS_BUILD_DIR) + ":" + std::getenv("PATH")}, {"LC_ALL", "C"}}});
  };
  const std::string docs = documents();
  spill(scratch.path / "docs.jsonl", docs);
  spill(scratch.path / "labelled.jsonl", labelled());
  spill(scratch.path / "chat.jsonl", chat);
  spill(scratch.path / "bench.jsonl",
        "{\"task_id\": \"q/1\", \"question\": \"" + item + "\", \"answer\": \"at noon\"}\n");
  spill(scratch.path / "blocked.txt", "# lists of others\nspam.example\n");
  spill(scratch.path / "policy.toml", display(section(page, "RULES")));
  const Result made =
      sh("zstd -q docs.jsonl labelled.jsonl && mkdir crawl && head -n 60 docs.jsonl > mon.jsonl && tail -n 43 "
         "docs.jsonl > tue.jsonl"
         " && zstd -q mon.jsonl -o crawl/a.jsonl.zst && zstd -q tue.jsonl -o crawl/b.jsonl.zst");
  ASSERT_EQ(made.exit, 0) << made.err;

  std::vector<std::string> shown = commands(section(page, "EXAMPLES"));
  ASSERT_GE(shown.size(), 20u);
  std::vector<bool> done(checks.size());
  for (const std::string& command : shown) {
    const Result result = sh(command);
    EXPECT_EQ(result.exit, 0) << command << "\n" << result.err;
    for (size_t i = 0; i < checks.size(); ++i) {
      if (!command.starts_with(checks[i].begin)) continue;
      done[i] = true;
      const Result check = sh(checks[i].check);
      EXPECT_EQ(check.out, checks[i].output) << command << "\n" << check.err;
    }
  }
  for (size_t i = 0; i < checks.size(); ++i) EXPECT_TRUE(done[i]) << "no example begins with " << checks[i].begin;
}

TEST(ManExamples, OfDsAugmentWork) {
  ASSERT_TRUE(exists("ds-augment"));
  const Scratch scratch;
  spill(scratch.path / "docs.jsonl", documents());
  const auto shown = commands(section(slurp(fs::path(DS_SOURCE_DIR) / "man/ds-augment.1"), "EXAMPLES"));
  ASSERT_GE(shown.size(), 3u);
  for (const std::string& command : shown) {
    const Result result =
        run({.words = {"sh", "-e", "-c", command},
             .directory = scratch.path,
             .environment = {{"PATH", std::string(DS_BUILD_DIR) + ":" + std::getenv("PATH")}, {"LC_ALL", "C"}}});
    EXPECT_EQ(result.exit, 0) << command << "\n" << result.err;
  }
  EXPECT_NE(slurp(scratch.path / "graded.jsonl"), "");
}

TEST(ManExamples, EverySignalIsExplained) {
  const std::string lines = [] {
    std::string found;
    for (const std::string& line : section(slurp(fs::path(DS_SOURCE_DIR) / "man/ds-clean.1"), "SIGNALS"))
      if (line.starts_with(".It ")) found += line + " \n";
    return found;
  }();
  const Result all = run({.words = {executable("ds-clean"), "-q", "--annotate"}, .input = chat});
  ASSERT_EQ(all.exit, 0) << all.err;
  const Result keys = run({.words = {"jq", "-r", ".clean | keys[]"}, .input = all.out});
  std::istringstream names(keys.out);
  std::string name;
  size_t count = 0;
  for (; std::getline(names, name); ++count) {
    if (name == "reason" || name == "duplicate") continue;
    EXPECT_NE(lines.find("Va " + name + " "), std::string::npos) << name;
  }
  EXPECT_GT(count, 150u) << keys.err;
}

}  // namespace ds::test
