#include "run/groups.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/hash.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {

std::vector<int32_t> ids_of(const Record& record, std::string_view key) {
  const auto values = record.integers(key);
  require(values.has_value(), record.where(), ": ", record.has(key) ? "\"" : "there is no field \"", key,
          record.has(key) ? "\" is not an array of token ids" : "\" with token ids");
  std::vector<int32_t> ids;
  ids.reserve(values->size());
  for (const int64_t value : *values) {
    if (value < 0 || value > INT32_MAX) fail(record.where(), ": ", value, " is not a token id");
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

int32_t adapter_of(const Engine& engine, const Record& record) {
  if (!record.has("adapter")) return engine.adapter("");
  if (record.raw_value("adapter") == "null") return -1;
  const std::string name = record.required_string("adapter");
  require(!name.empty(), record.where(), ": \"adapter\" is an empty name; null is for none");
  return engine.adapter(name);
}

std::string ids_json(std::span<const int32_t> ids) {
  std::string text(2 + ids.size() * 12, '[');  // an id has at most 10 digits
  char* at = text.data() + 1;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i) *at++ = ',', *at++ = ' ';
    at = std::to_chars(at, at + 11, ids[i]).ptr;
  }
  *at++ = ']';
  text.resize(static_cast<size_t>(at - text.data()));
  return text;
}

std::vector<Report::File> model_files(const RunOptions& options) {
  namespace fs = std::filesystem;
  static constexpr std::string_view kFiles[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                                "chat_template.jinja", "adapter_config.json"};
  std::vector<std::string> folders{options.model}, files;
  if (!options.engine.merge_adapter.empty()) folders.push_back(options.engine.merge_adapter);
  for (const std::string& given : options.engine.adapters) folders.push_back(adapter_path(given).folder);
  for (const std::string& folder : folders) {
    const auto first = static_cast<std::ptrdiff_t>(files.size());
    if (!fs::is_directory(folder)) files.push_back(folder);
    else
      for (const auto& entry : fs::directory_iterator(folder))
        if (const std::string name = entry.path().filename().string();
            name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
            std::find(std::begin(kFiles), std::end(kFiles), name) != std::end(kFiles))
          files.push_back(entry.path().string());
    std::sort(files.begin() + first, files.end());
  }
  std::vector<Report::File> found;
  for (const std::string& file : files) {
    const MappedFile mapped(file);
    const std::string_view bytes = mapped.bytes();
    Hasher hasher;
    constexpr size_t kPart = size_t{8} << 20;
    for (size_t at = 0; at < bytes.size(); at += kPart) {
      const std::string_view part = bytes.substr(at, kPart);
      hasher.update(part.data(), part.size());
      let_go(part);  // or the whole model would lie in memory beside its weights
    }
    found.push_back({file, bytes.size(), 0, hasher.digest()});
  }
  return found;
}

void report_model(const RunOptions& options, Report& report) {
  if (!options.hash_model) return;
  for (Report::File& file : model_files(options)) report.inputs.push_back(std::move(file));
}

void report_engine(const Engine& engine, Report& report) {
  report.results.emplace_back("activations", engine.model.int8_activations ? "\"int8\"" : "\"f32\"");
  if (engine.adapters.empty()) return;
  JsonWriter w;
  w.open('[');
  for (const Adapter& adapter : engine.adapters) w.value(adapter.name);
  report.results.emplace_back("adapters", w.close().text);
}

void report_throughput(const Throughput& t, Report& report) {
  JsonWriter w;
  const auto rate = [](uint64_t tokens, double seconds) { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0; };
  w.open('{').field("prefill_tokens", t.prefill_tokens).field("decode_tokens", t.decode_tokens);
  w.field("prefill_tokens_per_second", rate(t.prefill_tokens, t.prefill_seconds));
  w.field("decode_tokens_per_second", rate(t.decode_tokens, t.decode_seconds)).close();
  report.results.emplace_back("throughput", w.text);
  report.seconds.emplace_back("prefill", t.prefill_seconds);
  report.seconds.emplace_back("decode", t.decode_seconds);
}

}  // namespace ds
