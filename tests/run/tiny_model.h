// A small model with random weights and a tokenizer of bytes, made anew by each test that needs a whole model folder.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "io/json.h"
#include "model/decoder.h"

namespace ds {

// The config of a dense one; `more` may change fields (the last of two equal keys wins).
inline std::string tiny_llama_config(const std::string& more = "") {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 258, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 32768, "intermediate_size": 29,
    "initializer_range": 0.3, "rope_theta": 100.0, "bos_token_id": 256, "eos_token_id": 257)" + more + "}";
}

class TinyModel {
 public:
  explicit TinyModel(const std::string& config_text = tiny_llama_config()) {
    std::string name = (std::filesystem::temp_directory_path() / "ds-run-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    const Config config = parse_config(parse_json(config_text, "config.json"), "config.json");
    Arena arena;
    Weights weights = make_weights(config, arena);
    initialize(config, weights, 5);
    save_model(config, weights, path(), DType::f32, {});
    std::ofstream(folder_ / "tokenizer.json") << tokenizer();
    std::ofstream(folder_ / "tokenizer_config.json") << R"({"bos_token": "<s>", "eos_token": "</s>"})";
    std::ofstream(folder_ / "chat.jinja") << "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
  }
  ~TinyModel() { std::filesystem::remove_all(folder_); }
  TinyModel(const TinyModel&) = delete;
  std::string path() const { return folder_.string(); }
  std::string operator/(const std::string& name) const { return (folder_ / name).string(); }

 private:
  // Id b is byte b, written as GPT-2 writes bytes as characters; 256 and 257 are BOS and EOS.
  static std::string tokenizer() {
    JsonWriter w;
    w.open('{').field("version", "1.0").key("truncation").null().key("padding").null().open('[', "added_tokens");
    const auto special = [&](int id, const char* content) {
      w.open('{').field("id", id).field("content", content).field("single_word", false).field("lstrip", false).field("rstrip", false);
      w.field("normalized", false).field("special", true).close();
    };
    special(256, "<s>"), special(257, "</s>");
    w.close().key("normalizer").null().key("pre_tokenizer");
    w.open('{').field("type", "ByteLevel").field("add_prefix_space", false).field("trim_offsets", true).field("use_regex", false).close();
    w.key("post_processor").null().key("decoder").open('{').field("type", "ByteLevel").field("add_prefix_space", false);
    w.field("trim_offsets", true).field("use_regex", false).close().key("model").open('{').field("type", "BPE").key("dropout").null();
    w.key("unk_token").null().key("continuing_subword_prefix").null().key("end_of_word_suffix").null();
    w.field("fuse_unk", false).field("byte_fallback", false).open('{', "vocab");
    for (int b = 0, other = 256; b < 256; ++b) {
      const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const int c = plain ? b : other++;
      std::string text;            // in UTF-8
      if (c >= 128) text.push_back(static_cast<char>(0xc0 | c >> 6));
      text.push_back(static_cast<char>(c >= 128 ? 0x80 | (c & 63) : c));
      w.field(text, b);
    }
    w.field("<s>", 256).field("</s>", 257);
    return w.close().open('[', "merges").close().close().close().text;
  }
  std::filesystem::path folder_;
};

}  // namespace ds
