#include "io/report.h"

#include <sys/resource.h>
#include <zstd.h>

#include "base/parallel.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

Report::Stage::Stage(Report* report, std::string name)
    : report(report), name(std::move(name)), start(std::chrono::steady_clock::now()) {}

Report::Stage::~Stage() {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  for (auto& [stage, total] : report->seconds)
    if (stage == name) {
      total += elapsed.count();
      return;
    }
  report->seconds.emplace_back(std::move(name), elapsed.count());
}

static void write_files(JsonWriter& w, const char* name, const std::vector<Report::File>& files) {
  w.open('[', name);
  for (const Report::File& file : files)
    w.open('{')
        .field("path", file.path)
        .field("bytes", file.bytes)
        .field("records", file.records)
        .field("xxh3_128", hex(file.hash))
        .close();
  w.close();
}

// What depends on the machine and the moment stands under "machine" alone, so that two runs can be compared without it.
std::string Report::json() const {
  JsonWriter w(2);
  w.open('{').field("tool", tool).field("command", command);
  w.open('{', "versions").field("ds", DS_VERSION).field("zstd", ZSTD_versionString()).close();
  w.open('{', "options");
  for (const auto& [name, value] : options) w.key(name).raw(value);
  w.close();
  write_files(w, "inputs", inputs);
  write_files(w, "outputs", outputs);
  w.open('{', "records").field("read", read).field("kept", kept).field("dropped", dropped).field("bad", bad).close();
  w.open('{', "reasons");
  for (const auto& [reason, count] : reasons) w.field(reason, count);
  w.close();
  for (const auto& [key, value] : results) w.key(key).raw(value);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  w.open('{', "machine").field("threads", uint64_t{threads()});
  w.field("peak_memory_bytes", static_cast<uint64_t>(usage.ru_maxrss) * 1024);
  w.open('{', "seconds");
  for (const auto& [stage, total] : seconds) w.field(stage, total);
  w.close().close().close();
  return w.text + "\n";
}

void Report::write(const std::string& path) const {
  if (!path.empty()) write_file(path, json());
}

}  // namespace ds
