#include "io/input.h"

#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_getFrameHeader
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/rng.h"
#include "compress.h"
#include "scratch.h"

namespace ds {

static std::vector<std::string> lines_of(std::vector<std::string> files, size_t limit = 1 << 20) {
  LineReader reader(std::move(files), limit);
  std::vector<std::string> lines;
  Line line;
  while (reader.next(line)) lines.emplace_back(line.text);
  return lines;
}

// Lines of all lengths, with bytes of every value but the newline.
static std::string many_lines(size_t count) {
  const Rng rng{7, 0};
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const size_t length = rng.below(i, i % 50 == 0 ? 9000 : 120);
    for (size_t k = 0; k < length; ++k) {
      const char c = static_cast<char>(rng.below(i * 10000 + k, 256));
      text.push_back(c == '\n' ? ' ' : c);
    }
    text.push_back('\n');
  }
  return text;
}

static std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at; (at = text.find('\n', begin)) != std::string::npos; begin = at + 1)
    lines.push_back(text.substr(begin, at - begin));
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

TEST(LineReader, LinesAsTheyAre) {
  Scratch s;
  put(s / "a", std::string("one\r\n\n\0two\0\n three", 18));
  put(s / "empty", "");
  put(s / "b", "four\n");
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_of({s / "a", s / "empty", s / "b"}), (Lines{"one\r", "", std::string("\0two\0", 5), " three", "four"}));
}

TEST(LineReader, NamesFileAndLineAndKeepsPadding) {
  Scratch s;
  put(s / "a", "1\n2");
  put(s / "b", "3");
  LineReader reader({s / "a", s / "b"}, 100);
  Line line;
  std::string seen;
  int sum = 0;
  while (reader.next(line)) {
    seen += line.file->substr(line.file->size() - 1) + std::to_string(line.number) + " ";
    for (int i = 0; i < 64; ++i) sum += line.text.data()[line.text.size() + static_cast<size_t>(i)];  // asan watches
  }
  EXPECT_EQ(seen, "a1 a2 b1 ");
  EXPECT_NE(sum, -1);
}

TEST(LineReader, CompressedByContentInMembers) {
  Scratch s;
  const std::string text = many_lines(10000);
  ASSERT_GT(text.size(), size_t{5} << 18);
  const std::string a = text.substr(0, 1000001), b = text.substr(1000001, 1), c = text.substr(1000002);
  put(s / "plain.zst", text);
  put(s / "zstd", zstd_of(a) + zstd_of("") + zstd_of(b) + zstd_of(c));
  put(s / "gzip", gzip_of(a) + gzip_of(b) + gzip_of("") + gzip_of(c));
  put(s / "skippable", std::string("\x53\x2a\x4d\x18\x03\0\0\0abc", 11) + zstd_of(text));
  const auto expected = split(text);
  for (const char* name : {"plain.zst", "zstd", "gzip", "skippable"}) {
    EXPECT_EQ(lines_of({s / name}), expected) << name;
    EXPECT_EQ(read_file(s / name), text) << name;
    LineReader reader({s / name}, 1 << 20);
    Line line;
    while (reader.next(line)) {
    }
    const auto inputs = reader.inputs();
    EXPECT_EQ(inputs.at(0).hash, hash128(get(s / name))) << name;
    EXPECT_EQ(inputs[0].bytes, get(s / name).size());
    EXPECT_EQ(inputs[0].lines, expected.size());
    EXPECT_EQ(reader.bytes_read(), inputs[0].bytes);
    EXPECT_EQ(reader.bytes_total(), inputs[0].bytes);
  }
}

TEST(LineReader, TruncatedAndDamagedDataAreErrorsWithFileAndLine) {
  Scratch s;
  const std::string text = "first\nsecond\n" + many_lines(3000);
  for (const std::string& whole : {zstd_of(text), gzip_of(text)}) {
    for (const size_t cut : {size_t{1}, size_t{9}, whole.size() / 2, whole.size() - 12}) {
      put(s / "cut", whole.substr(0, whole.size() - cut));
      const std::string message = error_of([&] { lines_of({s / "cut"}); });
      EXPECT_TRUE(message.starts_with((s / "cut") + ":")) << message;
      EXPECT_CONTAINS(message, "truncated");
      EXPECT_CONTAINS(error_of([&] { read_file(s / "cut"); }), "truncated");
    }
    put(s / "cut", whole.substr(0, whole.size() / 2));
    const std::string message = error_of([&] { lines_of({s / "cut"}); });
    EXPECT_TRUE(std::isdigit(static_cast<unsigned char>(message[(s / "cut").size() + 1]))) << message;
    put(s / "tail", whole + "garbage");
    EXPECT_NE(error_of([&] { lines_of({s / "tail"}); }), "");
    std::string damaged = whole;
    damaged[damaged.size() / 2] ^= 0x55, damaged[damaged.size() / 2 + 1] ^= 0x55;
    put(s / "damaged", damaged);
    // Without a checksum zstd may decode other bytes; then the number of lines or their text differs.
    std::vector<std::string> lines;
    if (error_of([&] { lines = lines_of({s / "damaged"}); }).empty()) {
      EXPECT_NE(lines, split(text));
    }
  }
  put(s / "magic", "\x1f\x8b");
  EXPECT_CONTAINS(error_of([&] { lines_of({s / "magic"}); }), "truncated");
}

TEST(LineReader, LongLines) {
  Scratch s;
  put(s / "a", "1234\n12345\n123456\n1\n");
  EXPECT_EQ(lines_of({s / "a"}, 6).size(), 4u);
  EXPECT_EQ(error_of([&] { lines_of({s / "a"}, 4); }), (s / "a") + ":2: the line is longer than 4 bytes");
  // Parts of a line that is far longer than the limit and than a read add up to it.
  const std::string giant = std::string(3 << 20, 'x') + "yz";
  put(s / "b", "a\n" + giant + "\nb\n" + giant);
  LineReader reader({s / "b"}, 1000);
  Line line;
  std::string log, sum;
  for (LineReader::Part part; (part = reader.next_part(line)) != LineReader::Part::end;) {
    if (part == LineReader::Part::line) {
      log += cat(line.number, "=", line.text, " ");
      continue;
    }
    sum += line.text;
    if (part == LineReader::Part::more) continue;
    log += cat(line.number, sum == giant ? "=giant " : "=wrong ");
    sum.clear();
  }
  EXPECT_EQ(log, "1=a 2=giant 3=b 4=giant ");
  EXPECT_EQ(reader.inputs()[0].lines, 4u);
}

TEST(LineReader, LongLinesUnderTheLimitGrowTheBuffer) {
  Scratch s;
  const std::string giant(5 << 20, 'x');
  put(s / "a", "a\n" + giant + "\nb");
  const auto lines = lines_of({s / "a"}, 8 << 20);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1], giant);
}

// Lines that end just before, on and after the borders of buffers, from a file and compressed.
TEST(LineReader, LinesOfAllSizesAroundTheBuffers) {
  Scratch s;
  const Rng rng{17, 0};
  uint64_t at = 0;
  for (int round = 0; round < 12; ++round) {
    std::string text;
    while (text.size() < size_t{3} << 20) {
      const size_t kilobytes = size_t{1} << rng.below(at++, 11);
      const size_t size = rng.below(at++, 3) == 0 ? rng.below(at++, 4) : (kilobytes << 10) - 2 + rng.below(at++, 5);
      text.append(size, static_cast<char>('a' + rng.below(at++, 26))) += round % 3 == 0 ? "\r\n" : "\n";
    }
    if (round % 2) text.pop_back();
    put(s / "a", round % 4 < 2 ? text : zstd_of(text));
    EXPECT_TRUE(lines_of({s / "a"}, size_t{2} << 20) == split(text)) << round;
    // Under a limit that most lines break, the parts of a line add up to it, and the others come whole.
    LineReader reader({s / "a"}, 5000);
    std::vector<std::string> whole;
    std::string sum;
    Line line;
    for (LineReader::Part part; (part = reader.next_part(line)) != LineReader::Part::end;) {
      if (part == LineReader::Part::line) {
        EXPECT_LE(line.text.size(), 5000u);
      }
      sum += line.text;
      EXPECT_EQ(line.number, whole.size() + 1);
      if (part == LineReader::Part::more) continue;
      EXPECT_EQ(part == LineReader::Part::line, sum.size() <= 5000);
      whole.push_back(std::exchange(sum, ""));
    }
    EXPECT_TRUE(whole == split(text)) << round;
    EXPECT_EQ(reader.inputs()[0].lines, whole.size());
  }
}

TEST(LineReader, AByteOrderMarkBelongsToNoLine) {
  Scratch s;
  using Lines = std::vector<std::string>;
  const std::string mark = "\xef\xbb\xbf";
  put(s / "a", mark + "one\n" + mark + "two\n");
  put(s / "only", mark);
  put(s / "part", "\xef\xbb");
  put(s / "b.zst", zstd_of(mark + "three"));
  put(s / "b.gz", gzip_of(mark + "\nfour\n"));
  EXPECT_EQ(lines_of({s / "a", s / "only", s / "part", s / "b.zst", s / "b.gz"}),
            (Lines{"one", mark + "two", "\xef\xbb", "three", "", "four"}));
  LineReader reader({s / "only"}, 100);
  Line line;
  EXPECT_FALSE(reader.next(line));
  EXPECT_EQ(reader.inputs()[0].hash, hash128(mark));
  EXPECT_EQ(reader.inputs()[0].lines, 0u);
}

TEST(LineReader, ZstdWindowsUpToTwoGigabytes) {
  Scratch s;
  // The window of a frame written as a stream is the one asked for, whatever the text needs.
  std::string stored(1000, '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  ZSTD_inBuffer in{"a\nb\n", 4, 0};
  ZSTD_outBuffer out{stored.data(), stored.size(), 0};
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  ZSTD_frameHeader header;
  ASSERT_EQ(ZSTD_getFrameHeader(&header, stored.data(), out.pos), 0u);
  ASSERT_EQ(header.windowSize, size_t{1} << 28);
  put(s / "a", stored.substr(0, out.pos));
  EXPECT_EQ(lines_of({s / "a"}).size(), 2u);
  put(s / "b", std::string("\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00", 9));  // 2^41 bytes
  EXPECT_CONTAINS(error_of([&] { lines_of({s / "b"}); }), "b: zstd data with a window over 2 GiB");
}

TEST(LineReader, WhatFollowsAGzipMember) {
  Scratch s;
  put(s / "a", gzip_of("one\ntwo") + "garbage");
  EXPECT_EQ(error_of([&] { lines_of({s / "a"}); }), (s / "a") + ":2: damaged gzip data: incorrect header check");
  put(s / "a", gzip_of(""));
  EXPECT_TRUE(lines_of({s / "a"}).empty());
  put(s / "a", zstd_of(""));
  EXPECT_TRUE(lines_of({s / "a"}).empty());
}

TEST(LineReader, AFileThatMayNotBeReadIsAnError) {
  Scratch s;
  put(s / "a", "x\n");
  ASSERT_EQ(chmod((s / "a").c_str(), 0), 0);
  ASSERT_EQ(chmod(s.folder.c_str(), 0755), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    const std::string message = error_of([&] { lines_of({s / "a"}); });
    _exit(message == (s / "a") + ": Permission denied" ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(LineReader, MissingFilesAndFoldersAreErrors) {
  Scratch s;
  EXPECT_CONTAINS(error_of([&] { lines_of({s / "gone"}); }), "gone: No such file");
  EXPECT_CONTAINS(error_of([&] { lines_of({s.folder.string()}); }), "Is a directory");
  EXPECT_CONTAINS(error_of([&] { read_file(s / "gone"); }), "gone: No such file");
  EXPECT_CONTAINS(error_of([&] { MappedFile file(s / "gone"); }), "gone: No such file");
  EXPECT_CONTAINS(error_of([&] { MappedFile file(s.folder.string()); }), "Is a directory");
}

// A pipe gives what it has: the magic number in two reads too.
TEST(LineReader, StandardInputFromAPipe) {
  const std::string data = zstd_of("a\nb\n") + zstd_of("c");
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const int saved = dup(0);
  ASSERT_EQ(dup2(fds[0], 0), 0);
  close(fds[0]);
  if (fork() == 0) {
    for (const char c : data)
      if (write(fds[1], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  close(fds[1]);
  LineReader reader({"-"}, 100);
  Line line;
  std::string seen;
  while (reader.next(line)) seen += cat(*line.file, ":", line.number, "=", line.text, " ");
  dup2(saved, 0);
  close(saved);
  EXPECT_EQ(seen, "<stdin>:1=a <stdin>:2=b <stdin>:3=c ");
  EXPECT_EQ(reader.bytes_total(), 0u);
  EXPECT_EQ(reader.inputs()[0].hash, hash128(data));
}

TEST(MappedFile, BytesOfTheFile) {
  Scratch s;
  put(s / "a", "bytes");
  put(s / "empty", "");
  MappedFile file(s / "a");
  const MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes(), "bytes");
  EXPECT_EQ(MappedFile(s / "empty").bytes(), "");
  // What was let go is read again; the pages at both ends hold more than that.
  const std::string large(100000, 'x');
  put(s / "large", large);
  const MappedFile pages(s / "large");
  let_go(pages.bytes().substr(1000, 70000));
  let_go(pages.bytes().substr(5, 10));
  EXPECT_EQ(pages.bytes(), large);
}

}  // namespace ds
