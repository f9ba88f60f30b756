#include "io/jsonl.h"

#include <mutex>
#include <thread>

#include "base/parallel.h"
#include "base/rng.h"
#include "base/stop.h"
#include "compress.h"
#include "io/json.h"
#include "scratch.h"

namespace ds {

// Records whose bytes a careless tool would change: long numbers, odd spacing, escapes, equal keys, a CR at the end.
static std::string odd_records(size_t count) {
  const Rng rng{5, 0};
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text += cat("{ \"id\" :", i, ",\"n\":123456789012345678901234567890.10,  \"t\": \"\\u00e9\\/", std::string(rng.below(i, 400), 'x'),
                "\",\"t\":1E5 }", i % 3 == 0 ? "\r" : "", "\n");
  return text;
}

struct Result {
  std::string error, output, rejects;
  Report report;
};

static Result run(const Scratch& s, const std::string& input, bool with_rejects,
                  const std::function<std::shared_ptr<void>(Record&)>& work,
                  const std::function<Verdict(Record&, void*)>& decide, size_t limit = 1 << 20) {
  Result r;
  put(s / "in", input);
  std::filesystem::remove(s / "out");
  StreamOptions options{{s / "in"}, s / "out", with_rejects ? s / "rejects" : "", limit};
  r.error = error_of([&] { process_records(options, r.report, work, decide); });
  if (std::filesystem::exists(s / "out")) r.output = get(s / "out");
  if (with_rejects) r.rejects = get(s / "rejects");
  return r;
}

static Verdict keep(Record&, void*) { return {}; }

class ThreadCounts : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(0); }
};
INSTANTIATE_TEST_SUITE_P(Jsonl, ThreadCounts, testing::Values(1, 2, 5));

TEST_P(ThreadCounts, RecordsPassThroughByteForByteInOrder) {
  Scratch s;
  const std::string text = odd_records(20000);
  // Batches take different times, so that a pipeline that did not restore the order would show.
  const auto work = [](Record& record) -> std::shared_ptr<void> {
    if (record.line() % 512 < 8) std::this_thread::sleep_for(std::chrono::microseconds(200));
    return std::make_shared<uint64_t>(record.line());
  };
  uint64_t last = 0;
  bool ordered = true;
  const auto decide = [&](Record& record, void* result) {
    ordered = ordered && record.line() == last + 1 && *static_cast<uint64_t*>(result) == record.line();
    last = record.line();
    return Verdict{};
  };
  const Result r = run(s, text, false, work, decide);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.output, text);
  EXPECT_TRUE(ordered);
  EXPECT_EQ(r.report.read, 20000u);
  EXPECT_EQ(r.report.kept, 20000u);
  ASSERT_EQ(r.report.inputs.size(), 1u);
  ASSERT_EQ(r.report.outputs.size(), 1u);
  EXPECT_EQ(r.report.inputs[0].hash, r.report.outputs[0].hash);
  EXPECT_EQ(r.report.outputs[0].records, 20000u);
}

TEST_P(ThreadCounts, InputIsOutputAndRejects) {
  Scratch s;
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    if (i % 10 == 3) text += "{\"id\": " + std::to_string(i) + ", \"broken\"}\n";
    else if (i % 100 == 4) text += "\n";
    else if (i % 100 == 5) text += "{\"id\": \"\xff\"}\n";
    else text += "{\"id\":" + std::to_string(i) + ",\"text\":\"t\"}\n";
  }
  text.pop_back();  // a last line without newline
  std::vector<std::string> input_lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) input_lines.push_back(line);
  const auto work = [](Record& record) -> std::shared_ptr<void> {
    record.set("text", "\"edited\"");
    return nullptr;
  };
  const auto decide = [](Record& record, void*) {
    const auto id = record.number("id");
    if (id && static_cast<int>(*id) % 7 == 0) return Verdict{Verdict::Kind::drop, "seven", "clean", "{\"reason\": \"seven\"}"};
    if (id && static_cast<int>(*id) == 16) fail("no sixteen");
    return Verdict{};
  };
  const Result r = run(s, text, true, work, decide);
  EXPECT_EQ(r.error, "");
  uint64_t outputs = 0, dropped = 0, bad = 0;
  std::vector<int> seen(3000);
  const auto lines = [](const std::string& all, const std::function<void(const Record&)>& take) {
    std::istringstream in(all);
    for (std::string line; std::getline(in, line);) take(Record(line, "f", 1));
  };
  lines(r.output, [&](const Record& record) {
    ++outputs;
    EXPECT_EQ(record.required_string("text"), "edited");
    ++seen[static_cast<size_t>(*record.number("id"))];
  });
  lines(r.rejects, [&](const Record& record) {
    if (record.has("clean")) {
      ++dropped;
      const int id = static_cast<int>(*record.number("id"));
      ++seen[static_cast<size_t>(id)];
      EXPECT_EQ(record.raw(), cat("{\"id\":", id, ",\"text\":\"t\", \"clean\": {\"reason\": \"seven\"}}"));
      return;
    }
    ++bad;
    const size_t line = static_cast<size_t>(*record.number("line"));
    ++seen[line - 1];
    EXPECT_EQ(record.required_string("file"), s / "in");
    EXPECT_TRUE(record.required_string("error").starts_with(cat(s / "in", ":", line, ": ")));
    if (line - 1 == 16) {
      EXPECT_CONTAINS(record.required_string("error"), "no sixteen");
    }
    if ((line - 1) % 100 == 5) {
      EXPECT_EQ(record.required_string("raw_base64"), "eyJpZCI6ICL/In0=");
    } else {
      EXPECT_EQ(record.required_string("raw"), input_lines[line - 1]);
    }
  });
  EXPECT_EQ(seen, std::vector<int>(3000, 1));
  EXPECT_EQ(r.report.read, 3000u);
  EXPECT_EQ(r.report.kept, outputs);
  EXPECT_EQ(r.report.dropped, dropped);
  EXPECT_EQ(r.report.bad, bad);
  EXPECT_EQ(r.report.reasons.at("seven"), dropped);
  EXPECT_EQ(outputs + dropped + bad, 3000u);
  ASSERT_EQ(r.report.outputs.size(), 2u);
  EXPECT_EQ(r.report.outputs[1].records, dropped + bad);
}

TEST_P(ThreadCounts, TheFirstBadLineEndsTheRun) {
  Scratch s;
  std::string text = odd_records(5000);
  text += "{\"a\":1,}\n" + odd_records(3000) + "also bad\n";
  const Result r = run(s, text, false, {}, keep);
  EXPECT_EQ(r.error, (s / "in") + ":5001: expected a key in double quotes at byte 8");
  EXPECT_EQ(s.files(), 1u);  // the input
}

// Kept as it came, kept edited, dropped and bad lines in every order, with lines longer than a block, and copies of
// records that are kept for later.
TEST_P(ThreadCounts, RunsOfKeptLinesAndEditsMix) {
  Scratch s;
  const Rng rng{21, 0};
  uint64_t at = 0;
  for (int round = 0; round < 6; ++round) {
    std::string input, expected, rejects;
    std::vector<std::string> copies;
    for (int i = 0; i < 1500; ++i) {
      const size_t size = rng.below(at++, 300) == 0 ? rng.below(at++, 600000) : rng.below(at++, 200);
      const uint64_t what = rng.below(at++, 8);
      const std::string line =
          cat("{\"what\":", what, ", \"t\":\"", std::string(size, 'y'), what == 7 ? "" : "\"", "}");
      input += line + "\n";
      if (what == 7) continue;  // bad
      if (what == 6)
        rejects += line + "\n";
      else if (what == 5)
        expected += cat("{\"what\":", what, ", \"t\":0}\n");
      else
        expected += line + "\n";
      if (what == 4) copies.push_back(line);
    }
    if (round % 2) input.pop_back();  // the last line's newline: the output has one all the same
    std::vector<Record> kept;
    const auto work = [](Record& record) -> std::shared_ptr<void> {
      if (record.number("what") == 5) record.set("t", "0");
      if (record.number("what") == 6) record.set("t", "\"lost\"");
      return nullptr;
    };
    const Result r = run(s, input, true, work, [&](Record& record, void*) {
      if (record.number("what") == 4) kept.push_back(record);
      return record.number("what") == 6 ? Verdict{Verdict::Kind::drop, "six", "", ""} : Verdict{};
    });
    EXPECT_EQ(r.error, "");
    EXPECT_TRUE(r.output == expected);
    std::string dropped;
    std::istringstream in(r.rejects);
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("{\"what\"")) dropped += line + "\n";
    EXPECT_TRUE(dropped == rejects);
    ASSERT_EQ(kept.size(), copies.size());
    for (size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(kept[i].raw(), copies[i]);
  }
}

TEST_P(ThreadCounts, ShardsAreDisjointAndTogetherEverything) {
  Scratch s;
  const std::string giant = "{\"giant\":\"" + std::string(700000, 'g') + "\"}";
  std::vector<std::string> files;
  std::vector<std::vector<std::string>> lines;
  uint64_t all_bad = 0;
  for (int f = 0; f < 5; ++f) {
    std::string text;
    lines.emplace_back();
    for (int i = 0; i < 700 + 100 * f; ++i) {
      all_bad += i == 350 || i % 90 == 7;
      lines.back().push_back(i == 350 ? giant : i % 90 == 7 ? "" : cat("{\"file\":", f, ",\"line\":", i + 1, "}"));
      text += lines.back().back() + "\n";
    }
    files.push_back(s / cat("in", f));
    put(files.back(), f % 2 ? zstd_of(text) : text);
  }
  for (const size_t count : {1, 2, 3, 5, 6, 2000}) {
    uint64_t read = 0, bad = 0;
    for (size_t index = 1; index <= std::min<size_t>(count, 9); ++index) {
      std::string expected;
      uint64_t expected_bad = 0, k = 0;
      for (size_t f = 0; f < files.size(); ++f)
        for (const std::string& line : lines[f]) {
          const bool mine = (files.size() >= count ? f : k) % count == index - 1;
          ++k;
          if (!mine) continue;
          if (line.empty() || line == giant)
            ++expected_bad;
          else
            expected += line + "\n";
        }
      StreamOptions options{files, s / "out", s / "rejects", 5000, {index, count}};
      Report report;
      process_records(options, report, {}, [&](Record& record, void*) {
        EXPECT_EQ(record.number("line"), static_cast<double>(record.line()));
        return Verdict{};
      });
      EXPECT_TRUE(get(s / "out") == expected) << index << "/" << count;
      EXPECT_EQ(report.bad, expected_bad);
      EXPECT_EQ(report.read, report.kept + report.bad);
      EXPECT_EQ(report.inputs.size(), files.size() < count ? 5 : (5 - index) / count + 1);
      const std::string rejects = get(s / "rejects");
      EXPECT_EQ(std::count(rejects.begin(), rejects.end(), '\n'), static_cast<ptrdiff_t>(expected_bad));
      read += report.read, bad += report.bad;
    }
    if (count <= 9) {  // all shards were read
      EXPECT_EQ(read, 4500u);
      EXPECT_EQ(bad, all_bad);
    }
  }
}

TEST(Jsonl, ShardOptions) {
  EXPECT_EQ(parse_shard("2/8").index, 2u);
  EXPECT_EQ(parse_shard("2/8").count, 8u);
  EXPECT_EQ(parse_shard("1000000/1000000").index, 1000000u);
  for (const char* wrong : {"", "1", "/", "1/", "/2", "0/2", "3/2", "1/1000001", "-1/2", "1/2 ", " 1/2", "1/2/3",
                            "1.0/2", "99999999999999999999/99999999999999999999"})
    EXPECT_THROW(parse_shard(wrong), UsageError) << wrong;
}

// The run ends with the first thing that is wrong in the order of the input, whichever thread came first.
TEST_P(ThreadCounts, ABadLineBeforeDamagedDataIsToldFirst) {
  Scratch s;
  const std::string whole = zstd_of(odd_records(10) + "bad\n" + odd_records(20000));
  put(s / "in", whole.substr(0, whole.size() - 20));
  for (int i = 0; i < 20; ++i) {
    Report report;
    const StreamOptions options{{s / "in"}, s / "out", ""};
    EXPECT_EQ(error_of([&] { process_records(options, report, {}, keep); }),
              (s / "in") + ":11: expected an object at byte 1");
  }
}

TEST(Jsonl, OutputAndRejectsAreTwoFiles) {
  Scratch s;
  put(s / "in", odd_records(3));
  put(s / "out", "old");
  ASSERT_EQ(symlink("out", (s / "link").c_str()), 0);
  Report report;
  const auto run_to = [&](const std::string& output, const std::string& rejects) {
    process_records({{s / "in"}, output, rejects}, report, {}, keep);
  };
  EXPECT_THROW(run_to(s / "new", s / "new"), UsageError);
  EXPECT_THROW(run_to(s / "new", s / "./new"), UsageError);
  EXPECT_THROW(run_to(s / "out", s / "link"), UsageError);
  EXPECT_THROW(run_to("-", "-"), UsageError);
  EXPECT_THROW(run_to("", "-"), UsageError);
  EXPECT_EQ(get(s / "out"), "old");
  EXPECT_EQ(error_of([&] { run_to("/dev/null", "/dev/null"); }), "");
  EXPECT_EQ(error_of([&] { run_to(s / "in", s / "rejects"); }), "");  // the input is replaced when all is done
  EXPECT_EQ(get(s / "in"), odd_records(3));
}

TEST(Jsonl, LinesOverTheLimitAreRejectedWhole) {
  Scratch s;
  std::string giant = "{\"a\":\"";
  const Rng rng{9, 0};
  for (uint64_t i = 0; i < (3 << 20) + 1; ++i) giant.push_back(static_cast<char>('a' + rng.below(i, 26)));
  giant += "\"}";
  const Result r = run(s, "{\"a\":1}\n" + giant + "\n{\"a\":2}\n" + giant, true, {}, keep, 1000);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.output, "{\"a\":1}\n{\"a\":2}\n");
  EXPECT_EQ(r.report.read, 4u);
  EXPECT_EQ(r.report.bad, 2u);
  std::istringstream in(r.rejects);
  size_t count = 0;
  for (std::string line; std::getline(in, line); ++count) {
    const Record record(line, "rejects", count + 1);
    EXPECT_CONTAINS(record.required_string("error"), ":" + std::to_string(2 + 2 * count) + ": the line is longer than 1000 bytes");
    const std::string base64 = record.required_string("raw_base64");
    EXPECT_EQ(base64.size(), (giant.size() + 2) / 3 * 4);
    put(s / "base64", base64);
    ASSERT_EQ(std::system(("base64 -d < " + (s / "base64") + " > " + (s / "decoded")).c_str()), 0);
    EXPECT_TRUE(get(s / "decoded") == giant);
  }
  EXPECT_EQ(count, 2u);
  EXPECT_CONTAINS(run(s, "{}\n" + giant, false, {}, keep, 1000).error, ":2: the line is longer than 1000 bytes");
}

TEST(Jsonl, CompressedInAndOut) {
  Scratch s;
  const std::string text = odd_records(4000);
  put(s / "in", gzip_of(text.substr(0, 1000)) + gzip_of(text.substr(1000)));
  Report report;
  process_records({{s / "in"}, s / "out.zst", "", 1 << 20}, report, {}, keep);
  EXPECT_EQ(read_file(s / "out.zst"), text);
  EXPECT_EQ(report.outputs[0].hash, hash128(get(s / "out.zst")));
  put(s / "in", zstd_of(text).substr(0, 3000));
  std::filesystem::remove(s / "out.zst");
  EXPECT_CONTAINS(error_of([&] { process_records({{s / "in"}, s / "out.zst", s / "rejects", 1 << 20}, report, {}, keep); }), "truncated");
  EXPECT_EQ(s.files(), 1u);
}

TEST(Jsonl, FullDiskLeavesNothing) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  Scratch s;
  put(s / "in", odd_records(10));
  Report report;
  const auto to = [&](const std::string& output, const std::string& rejects) {
    return error_of([&] { process_records({{s / "in"}, output, rejects, 1 << 20}, report, {}, [](Record& r, void*) {
                                            return r.line() < 5 ? Verdict{Verdict::Kind::drop, "x", "", ""} : Verdict{};
                                          }); });
  };
  EXPECT_CONTAINS(to("/dev/full", s / "rejects"), "/dev/full: cannot write");
  EXPECT_CONTAINS(to(s / "out", "/dev/full"), "/dev/full: cannot write");
  EXPECT_EQ(s.files(), 1u);
}

TEST(Jsonl, AStopEndsTheRunCleanly) {
  Scratch s;
  put(s / "in", odd_records(10));
  Report report;
  stop_signal = 2;
  EXPECT_THROW(process_records({{s / "in"}, s / "out", "", 1 << 20}, report, {}, keep), Stopped);
  stop_signal = 0;
  EXPECT_EQ(s.files(), 1u);
}

TEST(Jsonl, ForEachRecordGivesAllInOrder) {
  Scratch s;
  put(s / "a", odd_records(3000));
  put(s / "b", zstd_of("{\"z\": 1}"));
  std::string all;
  Report report;
  for_each_record({s / "a", s / "b"}, 1 << 20, &report, [&](Record&& record) { all.append(record.raw()) += "\n"; });
  EXPECT_EQ(all, odd_records(3000) + "{\"z\": 1}\n");
  EXPECT_EQ(report.read, 3001u);
  EXPECT_EQ(report.inputs.size(), 2u);
  put(s / "b", "{\"z\": 1}\n{]");
  EXPECT_CONTAINS(error_of([&] { for_each_record({s / "b"}, 1 << 20, nullptr, [](Record&&) {}); }), (s / "b") + ":2: ");
}

TEST(Report, HoldsWhatWasReadAndKeepsMachineValuesApart) {
  Report report;
  report.tool = "ds-clean";
  report.options = {{"near", "0.8"}};
  report.inputs = {{"a\"b", 10, 2, hash128("x")}};
  report.read = 2, report.kept = 1, report.dropped = 1;
  report.reasons["near-duplicate"] = 1;
  report.results = {{"clusters", "[1]"}};
  {
    const auto stage = report.stage("read");
  }
  {
    const auto stage = report.stage("read");
  }
  Scratch s;
  report.write(s / "report.json");
  report.write("");
  const Json json = parse_json_file(s / "report.json");
  EXPECT_EQ(json.find("tool")->text, "ds-clean");
  EXPECT_EQ(json.find("options")->find("near")->text, "0.8");
  EXPECT_EQ(json.find("inputs")->items.at(0).find("path")->text, "a\"b");
  EXPECT_EQ(json.find("inputs")->items[0].find("xxh3_128")->text, hex(hash128("x")));
  EXPECT_EQ(json.find("records")->find("read")->as_int("f"), 2);
  EXPECT_EQ(json.find("reasons")->find("near-duplicate")->as_int("f"), 1);
  EXPECT_EQ(json.find("clusters")->items.size(), 1u);
  const Json* machine = json.find("machine");
  EXPECT_EQ(machine->find("seconds")->members.size(), 1u);
  EXPECT_GE(machine->find("seconds")->find("read")->as_double("f"), 0);
  EXPECT_GT(machine->find("peak_memory_bytes")->as_int("f"), 1000000);
  EXPECT_GT(machine->find("threads")->as_int("f"), 0);
}

}  // namespace ds
