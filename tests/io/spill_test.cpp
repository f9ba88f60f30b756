#include "io/spill.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "io/scratch.h"

namespace ds {
namespace {

std::string random_bytes(uint64_t stream, size_t size) {
  const Rng rng{41, stream};
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(rng.below(i, 256));
  return bytes;
}

// Appends pieces of many sizes, below and above the buffer's, and keeps the same bytes in a string.
std::string fill(Spill& spill, size_t pieces) {
  std::string all;
  for (size_t i = 0; i < pieces; ++i) {
    const size_t size = i % 7 == 6 ? (size_t{1} << 20) + i : i % 5 == 4 ? 300000 + i : i * 13;
    const std::string piece = random_bytes(i, 257);
    std::string bytes;
    while (bytes.size() < size) bytes += piece;
    bytes.resize(size);
    EXPECT_EQ(spill.append(bytes), all.size());
    all += bytes;
  }
  return all;
}

void expect_same(const Spill& spill, const std::string& all) {
  ASSERT_EQ(spill.size(), all.size());
  std::string bytes = "left over";
  for (uint64_t i = 0; i < 300; ++i) {
    const Rng rng{42, i};
    const size_t offset = rng.below(0, all.size() + 1);
    const size_t size = rng.below(1, std::min<size_t>(all.size() - offset, i % 2 ? 100 : 2500000) + 1);
    spill.read(offset, size, bytes);
    ASSERT_TRUE(bytes == all.substr(offset, size)) << offset << " " << size;
  }
  spill.read(0, all.size(), bytes);
  EXPECT_TRUE(bytes == all);
}

TEST(Spill, GivesBackWhatWasAppended) {
  Scratch scratch;
  Spill spill(scratch.folder.string());
  EXPECT_EQ(spill.size(), 0u);
  EXPECT_EQ(spill.append(""), 0u);
  std::string bytes = "x";
  spill.read(0, 0, bytes);
  EXPECT_EQ(bytes, "");
  const std::string all = fill(spill, 30);
  expect_same(spill, all);
  spill.flush();
  expect_same(spill, all);
  EXPECT_EQ(scratch.files(), 0u);  // no name in the folder
}

TEST(Spill, TruncateForgetsTheEnd) {
  Scratch scratch;
  for (const bool flushed : {false, true}) {
    Spill spill(scratch.folder.string());
    std::string all = fill(spill, 16);
    if (flushed) spill.flush();
    for (const size_t size : {all.size() - 1, all.size() - 100, all.size() / 2, size_t{5}, size_t{0}}) {
      spill.truncate(size);
      all.resize(size);
      EXPECT_EQ(spill.append("after"), size);
      all += "after";
      expect_same(spill, all);
    }
    EXPECT_NE(error_of([&] { spill.truncate(6); }), "");
  }
}

TEST(Spill, ANamedFileStays) {
  Scratch scratch;
  const std::string path = scratch / "texts";
  std::string all;
  {
    Spill spill = Spill::open(path);
    all = fill(spill, 9);
    spill.flush();
    spill.append("not flushed, so lost");
  }
  EXPECT_TRUE(get(path) == all);
  Spill spill = Spill::open(path);
  expect_same(spill, all);
  EXPECT_EQ(spill.append("more"), all.size());
  expect_same(spill, all + "more");
  Spill moved = std::move(spill);
  moved.truncate(3);
  moved.flush();
  EXPECT_EQ(get(path), all.substr(0, 3));
}

TEST(Spill, ErrorsNameThePlace) {
  Scratch scratch;
  EXPECT_CONTAINS(error_of([&] { Spill spill(scratch / "none"); }), scratch / "none");
  EXPECT_CONTAINS(error_of([&] { Spill::open(scratch / "none/x"); }), scratch / "none/x");
  EXPECT_CONTAINS(error_of([&] { Spill::open(scratch.folder.string()); }), scratch.folder.string());
  EXPECT_CONTAINS(error_of([&] { Spill::open("/dev/null"); }), "regular file");

  const std::string path = scratch / "texts";
  Spill spill = Spill::open(path);
  spill.append("0123456789");
  std::string bytes;
  EXPECT_CONTAINS(error_of([&] { spill.read(5, 6, bytes); }), "it has 10");
  EXPECT_CONTAINS(error_of([&] { spill.read(11, 0, bytes); }), path);
  EXPECT_CONTAINS(error_of([&] { spill.read(UINT64_MAX, 2, bytes); }), path);
  spill.flush();
  std::filesystem::resize_file(path, 4);
  EXPECT_CONTAINS(error_of([&] { spill.read(0, 8, bytes); }), "ends at byte 4");
}

// A limit on the size of files stands for a full disk: the write fails, what had been written stays readable.
TEST(Spill, AFailedWriteIsAnErrorThatNamesTheFolder) {
  Scratch scratch;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 3000000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Spill spill(scratch.folder.string());
  const std::string piece = random_bytes(1, 700000);
  std::string message;
  size_t kept = 0;
  for (; kept < 10 && message.empty(); kept += message.empty()) message = error_of([&] { spill.append(piece); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_CONTAINS(message, scratch.folder.string());
  EXPECT_CONTAINS(message, "cannot write");
  EXPECT_EQ(spill.size(), kept * piece.size());
  std::string bytes;
  for (size_t i = 0; i < kept; ++i) {
    spill.read(i * piece.size(), piece.size(), bytes);
    EXPECT_TRUE(bytes == piece);
  }
  EXPECT_EQ(spill.append(piece), kept * piece.size());  // and with room again it goes on
}

TEST(Spill, TheFolderIsThatOfTheEnvironment) {
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  setenv("TMPDIR", "/some/where", 1);
  EXPECT_EQ(spill_folder(), "/some/where");
  setenv("TMPDIR", "", 1);
  EXPECT_TRUE(spill_folder() == "/var/tmp" || spill_folder() == "/tmp") << spill_folder();
  before ? setenv("TMPDIR", kept.c_str(), 1) : unsetenv("TMPDIR");
}

TEST(Spill, ReadersAndAWriterMayMeet) {
  Scratch scratch;
  Spill spill(scratch.folder.string());
  constexpr size_t size = 1000, count = 5000;  // record i is `size` times the byte i % 251
  std::atomic<size_t> ready{0}, wrong{0}, reads{0};
  std::vector<std::thread> readers;
  for (uint64_t t = 0; t < 3; ++t)
    readers.emplace_back([&, t] {
      std::string bytes;
      for (uint64_t i = 0; ready < count || i < 100; ++i) {
        const size_t there = ready;
        if (there == 0) continue;
        const size_t record = i % 2 ? there - 1 : Rng{43, t}.below(i, there);
        spill.read(record * size, size, bytes);
        wrong += bytes != std::string(size, static_cast<char>(record % 251));
        ++reads;
      }
    });
  for (size_t i = 0; i < count; ++i) {
    spill.append(std::string(size, static_cast<char>(i % 251)));
    ready = i + 1;
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GE(reads, 300u);
}

}  // namespace
}  // namespace ds
