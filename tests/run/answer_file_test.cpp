// Unfinished and finished outputs of a batch.
#include "run/answer_file.h"

#include <gtest/gtest.h>
#include <sys/xattr.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "io/input.h"
#include "io/scratch.h"
#include "run/finished_output.h"

namespace ds {
namespace {

const Identity kIdentity = {{"version", "\"1\""}, {"top-p", "1"}};

struct Files {
  Scratch folder;
  StreamOptions stream;
  Files() {
    stream.inputs = {folder / "in"};
    stream.output = folder / "out";
    write_file(stream.inputs[0], "a\nbb\nccc\n");
  }
  std::string partial() const { return stream.output + ".partial"; }
};

void answer(AnswerFile& file, uint64_t index, std::string_view text, LineKind kind = LineKind::answer) {
  file.write(text.substr(0, 1), kind);
  file.write(text.substr(1), kind);
  file.end_line(index, 100 + index, kind);
}

void commit(AnswerFile& file, const StreamOptions& stream, const Identity& identity, Report& report) {
  LineReader reader(stream.inputs, 100);
  for (Line line; reader.next(line);) continue;
  file.commit(identity, reader.inputs(), report);
}

// One byte that is not what was written, anywhere: its line and what follows are gone, and all before it is there.
TEST(AnswerFile, ADamagedLineAndWhatFollowsAreCutOff) {
  Files files;
  {
    AnswerFile file(files.stream, kIdentity, false, true);
    answer(file, 0, "{\"id\": 1, \t\"run\": {}}");
    answer(file, 1, "{\"error\"}", LineKind::error);
    answer(file, 2, "{\"id\": 3, \"text\": \"a longer line than the trailer that stands behind each of them, so that it is hashed in pieces\"}");
    file.flush();
  }
  const std::string whole = read_file(files.partial());
  ASSERT_EQ(std::count(whole.begin(), whole.end(), '\n'), 4);
  for (size_t at = whole.find('\n') + 1; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 4;
    write_file(files.partial(), damaged);
    const auto before = static_cast<uint64_t>(std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at), '\n') - 1);
    AnswerFile file(files.stream, kIdentity, true, true);
    ASSERT_EQ(file.lines(), before) << at;
    for (uint64_t i = 0; i < before; ++i) ASSERT_EQ(file.dealt_with(i, 100 + i), i == 1 ? LineKind::error : LineKind::answer);
    ASSERT_EQ(file.dealt_with(before, 100 + before), std::nullopt);
  }
}

TEST(AnswerFile, GoesOnToTheSameBytes) {
  Files files;
  { AnswerFile file(files.stream, kIdentity, false, true); answer(file, 0, "first"); file.flush(); }
  {
    AnswerFile file(files.stream, kIdentity, true, true);
    ASSERT_TRUE(file.dealt_with(0, 100));
    answer(file, 1, "second");
    Report report;
    commit(file, files.stream, kIdentity, report);
    EXPECT_EQ(report.read, 2u);
  }
  EXPECT_EQ(read_file(files.stream.output), "first\nsecond\n");
  EXPECT_FALSE(std::filesystem::exists(files.partial()));
}

TEST(AnswerFile, AnotherIdentityIsNamed) {
  Files files;
  { AnswerFile file(files.stream, kIdentity, false, true); answer(file, 0, "first"); file.flush(); }
  try {
    AnswerFile(files.stream, {{"version", "\"1\""}, {"top-p", "0.5"}, {"more", "1"}}, true, true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("differs from this one in: top-p, more."), std::string::npos) << error.what();
  }
}

TEST(CheckOutputs, AnInputIsNoOutput) {
  Files files;
  EXPECT_NO_THROW(check_outputs(files.stream));
  StreamOptions onto = files.stream;
  std::filesystem::create_hard_link(onto.inputs[0], onto.output);  // the same file by another name
  EXPECT_THROW(check_outputs(onto), UsageError);
  onto = files.stream;
  std::filesystem::remove(onto.output);
  onto.rejects = onto.inputs[0];
  EXPECT_THROW(check_outputs(onto), UsageError);
  onto.rejects = files.folder / "none/such";
  EXPECT_THROW(check_outputs(onto), Error);
}

class FinishedOutput : public ::testing::Test {
 protected:
  void SetUp() override {
    if (setxattr(files.stream.inputs[0].c_str(), "user.ds-run.test", "1", 1, 0) != 0) GTEST_SKIP() << "the file system of temporary folders has no extended attributes";
    files.stream.rejects = files.folder / "bad";
    AnswerFile file(files.stream, kIdentity, false, true);
    answer(file, 0, "first");
    answer(file, 1, "bad one", LineKind::reject);
    Report report;
    commit(file, files.stream, kIdentity, report);
  }
  // "": it is finished.
  std::string message(const Identity& identity = kIdentity) {
    try {
      Report report;
      if (!find_finished(files.stream, identity, report)) return "not finished";
      EXPECT_EQ(report.read, 2u);
      EXPECT_EQ(report.bad, 1u);
      EXPECT_EQ(report.outputs.size(), 2u);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  bool says(const std::string& what, const std::string& part) { return what.find(part) != std::string::npos; }
  Files files;
};

TEST_F(FinishedOutput, IsKnownAgain) {
  EXPECT_EQ(message(), "");
  write_file(files.partial(), "");
  EXPECT_EQ(message(), "not finished");  // there is an unfinished file to go on with
  std::filesystem::remove(files.partial());
  std::filesystem::remove(files.stream.output);
  EXPECT_EQ(message(), "not finished");
}

TEST_F(FinishedOutput, AnythingElseIsRefused) {
  EXPECT_TRUE(says(message({{"version", "\"1\""}, {"top-p", "0.5"}}), "differs from this one in: top-p: "));
  write_file(files.stream.inputs[0], "a\nbb\ncccc\n");
  EXPECT_TRUE(says(message(), "the input is another one now"));
  write_file(files.stream.inputs[0], "a\nbb\nccc\n");
  EXPECT_EQ(message(), "");
  write_file(files.stream.rejects, "none");
  EXPECT_TRUE(says(message(), "bad: has changed since it was finished"));
  write_file(files.stream.output, "first\n");  // a file of the same bytes, of which nothing is known
  EXPECT_TRUE(says(message(), "nothing that tells what it was made from"));
}

}  // namespace
}  // namespace ds
