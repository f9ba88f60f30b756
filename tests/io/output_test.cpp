#include "io/output.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "io/input.h"
#include "scratch.h"

namespace ds {

TEST(OutputFile, AppearsWholeAtCommit) {
  Scratch s;
  const std::string path = s / "a";
  put(path, "old");
  std::string all;
  OutputFile out(path);
  for (int i = 0; i < 300000; ++i) {
    const std::string piece = std::to_string(i) + "\n";
    out.write(piece);
    all += piece;
  }
  out.write(all);
  all += all;
  EXPECT_EQ(get(path), "old");
  EXPECT_EQ(s.files(), 2u);
  out.commit();
  EXPECT_EQ(get(path), all);
  EXPECT_EQ(s.files(), 1u);
  EXPECT_EQ(out.bytes(), all.size());
  EXPECT_EQ(out.hash(), hash128(all));
}

TEST(OutputFile, WithoutCommitNothingStays) {
  Scratch s;
  {
    OutputFile out(s / "a");
    out.write("x");
    out.finish();
    const OutputFile moved = std::move(out);
  }
  EXPECT_EQ(s.files(), 0u);
}

TEST(OutputFile, TemporariesAreRemovedAfterASignal) {
  Scratch s;
  OutputFile a(s / "a"), b(s / "b.zst"), c(s / "c");
  a.write("x");
  c.commit();
  EXPECT_EQ(s.files(), 3u);
  remove_temporaries();
  EXPECT_EQ(s.files(), 1u);
}

TEST(OutputFile, MoreOpenAtOnceThanTheTableHoldsIsAnError) {
  Scratch s;
  std::vector<OutputFile> open;
  const std::string message = error_of([&] {
    for (int i = 0; i < 1000; ++i) open.emplace_back(s / std::to_string(i));
  });
  EXPECT_CONTAINS(message, "open at once");
  EXPECT_EQ(s.files(), open.size());
  open.clear();
  EXPECT_EQ(s.files(), 0u);
  OutputFile again(s / "again");
  again.commit();
}

TEST(OutputFile, ZstdByNameDoesNotDependOnTheSizesOfWritesNorOnThreads) {
  Scratch s;
  const Rng rng{3, 0};
  std::string all;
  for (uint64_t i = 0; i < 3000000; ++i) all += std::to_string(rng.below(i, 1000)) + " ";
  OutputFile a(s / "a.zst"), b(s / "b.zst");
  a.write(all);
  set_threads(1);
  OutputFile one(s / "one.zst");
  set_threads(0);
  one.write(all);
  one.commit();
  for (size_t at = 0, i = 0; at < all.size(); ++i) {
    const size_t size = std::min<size_t>(all.size() - at, 1 + rng.below(i, 70000));
    b.write(std::string_view(all).substr(at, size));
    at += size;
  }
  a.commit();
  b.commit();
  EXPECT_EQ(get(s / "a.zst"), get(s / "b.zst"));
  EXPECT_EQ(get(s / "a.zst"), get(s / "one.zst"));
  EXPECT_EQ(a.hash(), hash128(get(s / "a.zst")));
  EXPECT_EQ(a.bytes(), get(s / "a.zst").size());
  EXPECT_LT(a.bytes(), all.size() / 2);
  EXPECT_EQ(read_file(s / "a.zst"), all);
  OutputFile empty(s / "empty.zst");
  empty.commit();
  EXPECT_EQ(read_file(s / "empty.zst"), "");
  EXPECT_GT(empty.bytes(), 0u);
}

TEST(OutputFile, FullDiskIsAnErrorThatNamesTheFile) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  OutputFile small("/dev/full");
  small.write("x");
  EXPECT_EQ(error_of([&] { small.commit(); }), "/dev/full: cannot write: No space left on device");
  OutputFile large("/dev/full");
  EXPECT_CONTAINS(error_of([&] { large.write(std::string(5 << 20, 'x')); }), "/dev/full: cannot write");
  struct stat found;
  ASSERT_EQ(stat("/dev/full", &found), 0);
  EXPECT_TRUE(S_ISCHR(found.st_mode));  // written in place, not replaced
}

TEST(OutputFile, DevicesAreWrittenInPlace) {
  OutputFile out("/dev/null");
  out.write("x");
  out.commit();
  struct stat found;
  ASSERT_EQ(stat("/dev/null", &found), 0);
  EXPECT_TRUE(S_ISCHR(found.st_mode));
}

TEST(OutputFile, LinksAndModesOfTheReplacedFileStay) {
  Scratch s;
  put(s / "target", "old");
  ASSERT_EQ(chmod((s / "target").c_str(), 0600), 0);
  ASSERT_EQ(symlink("target", (s / "link").c_str()), 0);
  write_file(s / "link", "new", true);
  EXPECT_TRUE(std::filesystem::is_symlink(s / "link"));
  EXPECT_EQ(get(s / "target"), "new");
  struct stat found;
  ASSERT_EQ(stat((s / "target").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST(OutputFile, WhatCannotBeCreatedIsAnError) {
  Scratch s;
  EXPECT_CONTAINS(error_of([&] { OutputFile out(s / "gone/a"); }), "gone/a: cannot create");
  EXPECT_CONTAINS(error_of([&] { OutputFile out(s.folder.string()); }), "Is a directory");
}

// Exit status of a child whose standard output is `fd`: 0 committed, 1 Error, 2 closed pipe.
static int write_to_stdout(int fd, size_t bytes) {
  const pid_t child = fork();
  if (child == 0) {
    dup2(fd, 1);
    signal(SIGPIPE, SIG_IGN);
    try {
      OutputFile out("-");
      out.write(std::string(bytes, 'x'));
      out.commit();
      _exit(0);
    } catch (const ClosedPipe&) {
      _exit(2);
    } catch (const Error& error) {
      _exit(std::string(error.what()).starts_with("<stdout>: cannot write") ? 1 : 3);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(OutputFile, StandardOutput) {
  for (const size_t bytes : {size_t{3}, size_t{3} << 20}) {
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    EXPECT_EQ(write_to_stdout(fds[1], bytes), 2);
    close(fds[1]);
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full >= 0) {
      EXPECT_EQ(write_to_stdout(full, bytes), 1);
      close(full);
    }
    Scratch s;
    const int file = open((s / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(write_to_stdout(file, bytes), 0);
    EXPECT_EQ(get(s / "out"), std::string(bytes, 'x'));
    close(file);
  }
}

TEST(PublishFolder, AppearsUnderItsName) {
  Scratch s;
  std::filesystem::create_directory(s / "step.tmp");
  write_file(s / "step.tmp/a", "x", true);
  publish_folder(s / "step.tmp", s / "step");
  EXPECT_EQ(get(s / "step/a"), "x");
  EXPECT_EQ(s.files(), 1u);
}

TEST(OutputFile, RemovesWhatKilledRunsLeft) {
  Scratch s;
  const std::string path = s / "out.jsonl";
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  const std::string stale = cat(path, ".tmp-", gone, "-3"), alive = cat(path, ".tmp-", getpid(), "-999");
  const std::string other = cat(path, "x.tmp-", gone, "-3"), odd = cat(path, ".tmp-", gone, "-3.bak");
  for (const std::string& each : {stale, alive, other, odd}) put(each, "half");
  write_file(path, "whole");
  EXPECT_FALSE(std::filesystem::exists(stale));
  for (const std::string& each : {alive, other, odd}) EXPECT_TRUE(std::filesystem::exists(each)) << each;
  EXPECT_EQ(get(path), "whole");
}

}  // namespace ds
