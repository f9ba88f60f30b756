#include "train/data_stream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "train/testing.h"

namespace ds {

using testing_train::Folder;

namespace {

// Records of 9 ids, the record's number in all of them: rows of 8 targets.
std::string numbered(int first, int count, const std::string& more = "") {
  std::string lines;
  for (int d = first; d < first + count; ++d) {
    lines += "{\"tokens\": [";
    for (int i = 0; i < 9; ++i) lines += (i ? ", " : "") + std::to_string(d);
    lines += "]" + more + "}\n";
  }
  return lines;
}

DataStreamSpec spec_of(const std::vector<std::string>& files) {
  DataStreamSpec spec;
  spec.domains = {{"", 1, {files}}};
  spec.sequence_length = 8, spec.rows_per_step = 4, spec.micro_batch_size = 3, spec.steps = 100;
  return spec;
}

// The numbers of the records that the next steps bring.
std::vector<int> take(DataStream& stream, int steps, DataPosition* after = nullptr) {
  std::vector<int> records;
  for (int i = 0; i < steps; ++i) {
    const DataStream::Step step = stream.next();
    for (const TrainingBatch& batch : step.batches)
      for (size_t t = 0; t < batch.targets.size(); t += 8) records.push_back(batch.targets[t]);
    if (after) *after = step.after;
  }
  return records;
}

struct Streams : ::testing::Test {
  Folder folder;
  std::string file(const std::string& name, const std::string& bytes) {
    folder.write(name, bytes);
    return folder.path(name);
  }
};

}  // namespace

TEST_F(Streams, InOrderWithoutShuffleAndOverAgain) {
  DataStreamSpec spec = spec_of({file("a.jsonl", numbered(0, 5)), file("b.jsonl", numbered(5, 5))});
  spec.shuffle = false;
  DataStream stream(spec, nullptr, 100000);
  const std::vector<int> records = take(stream, 6);
  ASSERT_EQ(records.size(), 24u);
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i], static_cast<int>(i % 10));
  EXPECT_EQ(stream.counts().rows, 10u);
  EXPECT_TRUE(stream.counts().whole);
  ASSERT_EQ(stream.inputs().size(), 2u);
  EXPECT_EQ(stream.inputs()[1].lines, 5u);
}

// Windows of one batch of lines each (256 KiB): every record comes once an epoch, a window after the other, shuffled inside.
TEST_F(Streams, WindowsTakeEveryRecordOnceAnEpoch) {
  constexpr int kRecords = 20000;
  DataStreamSpec spec = spec_of({file("a.jsonl", numbered(0, kRecords, R"(, "x": "................................")"))});
  spec.window_bytes = 1;
  spec.rows_per_step = 1000;
  DataStream stream(spec, nullptr, 100000);
  EXPECT_FALSE(stream.counts().whole);
  const auto window = static_cast<int>(stream.counts().rows);
  ASSERT_LT(3 * window, kRecords);
  const std::vector<int> records = take(stream, 2 * kRecords / 1000);
  for (const int epoch : {0, 1}) {
    const auto begin = records.begin() + epoch * kRecords;
    EXPECT_EQ(std::set<int>(begin, begin + kRecords).size(), static_cast<size_t>(kRecords));
    const std::set<int> first(begin, begin + window);
    EXPECT_EQ(*first.rbegin(), window - 1);
    EXPECT_FALSE(std::is_sorted(begin, begin + window));
  }
  EXPECT_FALSE(std::equal(records.begin(), records.begin() + window, records.begin() + kRecords));
  const DataCounts counts = count_data(spec, nullptr, 100000);
  EXPECT_EQ(counts.documents, static_cast<uint64_t>(kRecords));
  EXPECT_EQ(counts.tokens, static_cast<uint64_t>(9 * kRecords));
}

TEST_F(Streams, GoesOnFromAnyPosition) {
  const std::string a = file("a.jsonl", numbered(0, 7000, R"(, "w": 2, "x": "................................")")),
                    b = file("b.jsonl", numbered(50000, 30, R"(, "w": 0.3)") + numbered(60000, 30, R"(, "w": 1.7)"));
  DataStreamSpec spec = spec_of({a});
  spec.domains = {{"a", 0.75, {{a}, "text", "w"}}, {"", 0.25, {{b}, "text", "w"}}};
  spec.window_bytes = 1, spec.rows_per_step = 320, spec.steps = 60;
  spec.weight_use = DataStreamSpec::WeightUse::sampling;
  spec.weight_power_end = 0;
  const size_t before = threads();
  DataStream whole(spec, nullptr, 100000);
  std::vector<DataPosition> positions(1);
  std::vector<std::vector<int>> steps;
  for (int i = 0; i < 60; ++i) {
    DataPosition after;
    steps.push_back(take(whole, 1, &after));
    positions.push_back(parse_position(parse_json(position_json(after), "position"), "position"));
    EXPECT_EQ(positions.back(), after);
  }
  for (const size_t from : {0, 1, 22, 23, 49, 59}) {
    set_threads(from % 2 + 1);
    DataStream rest(spec, nullptr, 100000, positions[from]);
    for (size_t i = from; i < std::min<size_t>(from + 8, 60); ++i) EXPECT_EQ(take(rest, 1), steps[i]) << from << " " << i;
  }
  set_threads(before);
}

TEST_F(Streams, SharesHoldAtEveryStep) {
  DataStreamSpec spec = spec_of({});
  spec.domains = {{"code", 0.3, {{file("code.jsonl", numbered(1000, 10))}}}, {"", 0.7, {{file("web.jsonl", numbered(0, 100))}}}};
  spec.rows_per_step = 10;
  DataStream stream(spec, nullptr, 100000);
  std::map<int, int> seen;
  for (int step = 1; step <= 20; ++step) {
    for (const int record : take(stream, 1)) ++seen[record];
    int code = 0;
    for (const auto& [record, times] : seen) code += record >= 1000 ? times : 0;
    EXPECT_EQ(code, 3 * step);
  }
  for (int d = 1000; d < 1010; ++d) EXPECT_EQ(seen[d], 6);  // 60 rows of 10 records: six epochs
}

TEST_F(Streams, LossWeightsAreAnnealed) {
  DataStreamSpec spec = spec_of({file("a.jsonl", numbered(0, 8, R"(, "w": 4)"))});
  spec.domains[0].data.weight_field = "w";
  spec.steps = 4, spec.weight_power_begin = 1, spec.weight_power_end = 0;
  DataStream stream(spec, nullptr, 100);
  for (const double expected : {4.0, std::pow(4, 0.75), 2.0, std::pow(4, 0.25)})
    EXPECT_NEAR(stream.next().batches[0].weights[0], expected, 1e-6);
}

TEST_F(Streams, BadRecordsOfLaterWindowsComeOutAsErrors) {
  DataStreamSpec spec = spec_of({file("a.jsonl", numbered(0, 9000, R"(, "x": "................................")") + "{\"tokens\": [1, 2\n")});
  spec.window_bytes = 1, spec.rows_per_step = 1000;
  DataStream stream(spec, nullptr, 100000);
  try {
    take(stream, 10);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("a.jsonl:9001"), std::string::npos) << e.what();
  }
  spec = spec_of({file("b.jsonl", "{\"tokens\": [1]}\n")});
  EXPECT_THROW(DataStream(spec, nullptr, 100), Error);
}

}  // namespace ds
