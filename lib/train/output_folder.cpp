#include "train/output_folder.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

namespace fs = std::filesystem;

static void take_file(SourceFolder& source, const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (fs::exists(path)) source.companions[name] = read_file(path);
}

// tokenizer_config.json for a bare tokenizer.json.
static std::string tokenizer_config(const Tokenizer& tokenizer, int64_t positions) {
  JsonWriter w(2);
  w.open('{').field("tokenizer_class", "PreTrainedTokenizerFast");
  if (const auto id = tokenizer.bos_id()) w.field("bos_token", tokenizer.token_bytes(*id));
  if (const auto id = tokenizer.eos_id()) w.field("eos_token", tokenizer.token_bytes(*id));
  if (const auto id = tokenizer.pad_id()) w.field("pad_token", tokenizer.token_bytes(*id));
  w.field("model_max_length", positions).field("clean_up_tokenization_spaces", false).close();
  return w.text + "\n";
}

static std::string generation_config(const Config& config) {
  JsonWriter w(2);
  w.open('{');
  if (config.bos_token_id >= 0) w.field("bos_token_id", config.bos_token_id);
  if (config.eos_token_id >= 0) w.field("eos_token_id", config.eos_token_id);
  if (config.pad_token_id >= 0) w.field("pad_token_id", config.pad_token_id);
  w.close();
  return w.text + "\n";
}

static void open_tokenizer(SourceFolder& source, const std::string& path) {
  source.tokenizer = std::make_unique<Tokenizer>(path);
  const bool folder = fs::is_directory(path);
  const std::string parent = folder ? path : fs::path(path).parent_path().string();
  source.companions["tokenizer.json"] = read_file(folder ? path + "/tokenizer.json" : path);
  take_file(source, parent.empty() ? "." : parent, "tokenizer_config.json");
  source.hashes.emplace_back("tokenizer", hex(hash128(source.companions["tokenizer.json"])));
  Config& config = source.model.config;
  require(source.tokenizer->vocab_size() <= config.vocab_size, path, ": has ids up to ", source.tokenizer->vocab_size() - 1,
          ", but the model's vocabulary is ", config.vocab_size);
  if (config.bos_token_id < 0) config.bos_token_id = source.tokenizer->bos_id().value_or(-1);
  if (config.eos_token_id < 0) config.eos_token_id = source.tokenizer->eos_id().value_or(-1);
  if (config.pad_token_id < 0) config.pad_token_id = source.tokenizer->pad_id().value_or(-1);
}

SourceFolder open_source(const std::string& init, const std::string& model, const std::string& tokenizer) {
  SourceFolder source;
  if (!init.empty()) {
    const std::string text = read_file(init);
    source.model.config = parse_config(parse_json(text, init), init);
    source.hashes.emplace_back("config", hex(hash128(text)));
    if (!tokenizer.empty()) open_tokenizer(source, tokenizer);
  } else {
    source.model = load_model(model);
    for (const auto& entry : fs::directory_iterator(model)) {
      const std::string name = entry.path().filename().string();
      if (name == "config.json" || name.ends_with(".safetensors")) {
        const MappedFile file(entry.path().string());
        source.hashes.emplace_back(name, hex(hash128(file.bytes())));
      }
    }
    std::sort(source.hashes.begin(), source.hashes.end());
    if (fs::exists(model + "/tokenizer.json")) open_tokenizer(source, model);
    take_file(source, model, "generation_config.json");
  }
  if (source.tokenizer && !source.companions.contains("tokenizer_config.json")) {
    source.companions["tokenizer_config.json"] = tokenizer_config(*source.tokenizer, source.model.config.max_position_embeddings);
  }
  if (!source.companions.contains("generation_config.json")) {
    source.companions["generation_config.json"] = generation_config(source.model.config);
  }
  return source;
}

void write_companions(const SourceFolder& source, const std::string& folder) {
  for (const auto& [name, bytes] : source.companions) write_file(folder + "/" + name, bytes, true);
}

}  // namespace ds
