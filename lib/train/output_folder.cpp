#include "train/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "train/initial_config.h"
#include "train/tokenizer.h"

namespace ds {

namespace fs = std::filesystem;

static void take_file(SourceFolder& source, const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (fs::exists(path)) source.companions[name] = read_file(path);
}

// The id of "bos_token" and the like in tokenizer_config.json: a string, or an object with its content.
static int32_t special_id(const Json& config, const char* key, const Tokenizer& tokenizer) {
  const Json* value = config.find(key);
  if (value && value->type == Json::Type::object) value = value->find("content");
  if (!value || value->type != Json::Type::string) return -1;
  return tokenizer.id(value->text).value_or(-1);
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
  if (!source.tokenizer) source.tokenizer = std::make_unique<Tokenizer>(path);
  const std::string file = fs::is_directory(path) ? path + "/tokenizer.json" : path;
  std::string& bytes = source.companions["tokenizer.json"];
  bytes = read_file(file);
  source.hashes.emplace_back("tokenizer", hex(hash128(bytes)));
  Config& config = source.model.config;
  require(source.tokenizer->vocab_size() <= config.vocab_size, path, ": has ids up to ", source.tokenizer->vocab_size() - 1,
          ", but the model's vocabulary is ", config.vocab_size);

  const std::string companion = tokenizer_config_path(file);
  std::string& named = source.companions["tokenizer_config.json"];
  if (!companion.empty() && fs::exists(companion)) {
    named = read_file(companion);
    source.hashes.emplace_back("tokenizer_config", hex(hash128(named)));
    const Json json = parse_json(named, companion);
    source.bos_id = special_id(json, "bos_token", *source.tokenizer);
    source.eos_id = special_id(json, "eos_token", *source.tokenizer);
    if (config.bos_token_id < 0) config.bos_token_id = source.bos_id;
    if (config.eos_token_id < 0) config.eos_token_id = source.eos_id;
    if (config.pad_token_id < 0) config.pad_token_id = special_id(json, "pad_token", *source.tokenizer);
  } else {
    named = "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"clean_up_tokenization_spaces\": false\n}\n";
  }
}

// The config of a model from scratch, and its tokenizer.
static void open_config(SourceFolder& source, const SourceOptions& o) {
  const std::string where = o.init.empty() ? "--arch " + o.arch : o.init;
  std::string text = o.init.empty() ? arch_config(o.arch) : read_regular_file(o.init, kMaxConfigBytes);
  if (!o.tokenizer.empty()) source.tokenizer = std::make_unique<Tokenizer>(o.tokenizer);
  if (o.init.empty() && source.tokenizer) text = set_keys(text, {cat("vocab_size=", source.tokenizer->vocab_size())}, where);
  text = set_keys(text, o.set, where);
  source.model.config = parse_config(parse_json(text, where), where);
  source.hashes.emplace_back("config", hex(hash128(text)));
  if (source.tokenizer) open_tokenizer(source, o.tokenizer);
}

SourceFolder open_source(const SourceOptions& options) {
  SourceFolder source;
  const std::string& model = options.model;
  if (model.empty()) {
    open_config(source, options);
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
  if (!source.companions.contains("generation_config.json")) {
    source.companions["generation_config.json"] = generation_config(source.model.config);
  }
  return source;
}

void write_companions(const SourceFolder& source, const std::string& folder) {
  for (const auto& [name, bytes] : source.companions) write_file(folder + "/" + name, bytes, true);
}

FolderLock::FolderLock(const std::string& folder) : file_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  const bool locked = file_ >= 0 && ::flock(file_, LOCK_EX | LOCK_NB) == 0;
  const int error = errno;
  if (!locked && file_ >= 0) ::close(file_);
  require(locked, folder, ": ", error == EWOULDBLOCK ? "another ds-train is at work in it" : std::strerror(error));
}
FolderLock::~FolderLock() { ::close(file_); }

}  // namespace ds
