// Reading, checking and writing JSONL with no filter, next to simdjson alone and to decompression alone: megabytes of
// JSONL (unpacked) per CPU-second of all threads, and per second of wall time; the best of several runs each.
//   clean_io FILE.jsonl[.zst] [THREADS] [OUTPUT]      OUTPUT: /dev/null where it is not given
//   clean_io --parse FILE.jsonl                       simdjson once, for clean.py: its seconds as JSON
// simdjson parses the file in memory; the pipeline reads it from disk and writes it, so it does all that ds-clean does.
#include <simdjson.h>
#include <sys/resource.h>
#include <zstd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/error.h"
#include "base/parallel.h"
#include "io/input.h"
#include "io/jsonl.h"

using namespace ds;

namespace {

struct Clock {
  double cpu = 0, wall = 0;
};

Clock now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now().time_since_epoch();
  return {seconds(usage.ru_utime) + seconds(usage.ru_stime), wall.count()};
}

void report(const char* name, size_t bytes, const std::function<void()>& run) {
  Clock best{1e9, 1e9};
  for (int i = 0; i < 7; ++i) {
    const Clock before = now();
    run();
    const Clock after = now();
    best.cpu = std::min(best.cpu, after.cpu - before.cpu);
    best.wall = std::min(best.wall, after.wall - before.wall);
  }
  const double megabytes = static_cast<double>(bytes) * 1e-6;
  std::printf("%-34s %7.0f MB/CPU-s  %7.0f MB/s\n", name, megabytes / best.cpu, megabytes / best.wall);
}

constexpr size_t kDocument = size_t{16} << 20;  // more than the longest record

void ondemand(const simdjson::padded_string& json) {
  simdjson::ondemand::parser parser;
  simdjson::ondemand::document_stream stream;
  if (parser.iterate_many(json, kDocument).get(stream)) fail("simdjson: no stream");
  size_t total = 0;
  for (auto document : stream) {
    std::string_view text;
    if (document["text"].get_string().get(text)) fail("simdjson: no text");
    total += text.size();
  }
  require(total > 0, "simdjson: nothing parsed");
}

void dom(const simdjson::padded_string& json) {
  simdjson::dom::parser parser;
  simdjson::dom::document_stream stream;
  if (parser.parse_many(json, kDocument).get(stream)) fail("simdjson: no stream");
  size_t total = 0;
  for (const auto document : stream) {
    std::string_view text;
    if (document["text"].get_string().get(text)) fail("simdjson: no text");
    total += text.size();
  }
  require(total > 0, "simdjson: nothing parsed");
}

void decompress(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  require(file != nullptr, path, ": cannot open it");
  std::string in(ZSTD_DStreamInSize(), '\0'), out(ZSTD_DStreamOutSize(), '\0');
  ZSTD_DCtx* context = ZSTD_createDCtx();
  while (const size_t got = std::fread(in.data(), 1, in.size(), file)) {
    ZSTD_inBuffer from{in.data(), got, 0};
    while (from.pos < from.size) {
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      if (ZSTD_isError(ZSTD_decompressStream(context, &to, &from))) fail("zstd: damaged");
    }
  }
  ZSTD_freeDCtx(context);
  std::fclose(file);
}

// One pass of simdjson over a file in memory that it has passed over before.
void parse_once(const std::string& path) {
  const simdjson::padded_string json(read_file(path));
  ondemand(json);
  const Clock before = now();
  ondemand(json);
  const Clock after = now();
  std::printf("{\"cpu\": %.6f, \"wall\": %.6f}\n", after.cpu - before.cpu, after.wall - before.wall);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--parse") {
    parse_once(argv[2]);
    return 0;
  }
  if (argc < 2) {
    std::fprintf(stderr, "usage: clean_io FILE.jsonl[.zst] [THREADS] [OUTPUT]\n");
    return 2;
  }
  const std::string path = argv[1];
  const size_t threads = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const std::string output = argc > 3 ? argv[3] : "/dev/null";
  set_threads(threads);
  size_t bytes = 0;
  {
    const simdjson::padded_string json(read_file(path));
    bytes = json.size();
    std::printf("%s: %.1f MB of JSONL\n", path.c_str(), static_cast<double>(bytes) * 1e-6);
    report("simdjson ondemand, text field", bytes, [&] { ondemand(json); });
    report("simdjson dom, text field", bytes, [&] { dom(json); });
  }
  if (path.ends_with(".zst")) report("zstd decompression", bytes, [&] { decompress(path); });
  const auto stream = [&](const std::function<void(const Record&)>& look) {
    Report counts;
    process_records({{path}, output}, counts,
                    [&](Record& record) -> std::shared_ptr<void> {
                      look(record);
                      return nullptr;
                    },
                    {});
    require(counts.kept > 0, "nothing was read");
  };
  report(cat("ds, no filter, -j", threads).c_str(), bytes,
         [&] { stream([](const Record& record) { record.require_string("text"); }); });
  report(cat("ds, text field unescaped, -j", threads).c_str(), bytes, [&] {
    stream([](const Record& record) {
      thread_local std::string scratch;
      record.text_view("text", scratch);
    });
  });
  return 0;
}
