// Attention patterns in config.json, in a model folder, and in a cache whose old pages go.
#include "model/fixture.h"

namespace ds {
namespace {

TEST(AttentionPatternConfig, is_read_and_written_again) {
  for (const char* keys : {kSparseKeys, kLocalHeadsKeys, kLearnedKeys, kPooledKeys, kCompressedKeys, kLshKeys}) {
    const Config config = tiny(tiny_pattern(keys));
    EXPECT_EQ(config.architecture, "LlamaForCausalLM");
    const std::string written = config_json(config, DType::f32);
    EXPECT_NE(written.find("\"DsForCausalLM\""), std::string::npos) << written;  // which transformers refuses
    EXPECT_NE(written.find("\"base_model_type\": \"llama\""), std::string::npos) << written;
    EXPECT_EQ(config_json(tiny(written), DType::f32), written);
  }
  // Without such a feature the row stays what it is.
  EXPECT_NE(config_json(tiny(tiny_pattern(R"("attention_pattern": "full")")), DType::f32).find("\"LlamaForCausalLM\""), std::string::npos);
}

TEST(AttentionPatternConfig, strides_by_the_root_of_the_blocks) {
  EXPECT_EQ(tiny(tiny_pattern(kSparseKeys)).pattern.stride, 2);  // 128 positions: 4 blocks
  const Config long_one = tiny(tiny_pattern(std::string(kSparseKeys) + R"(, "max_position_embeddings": 32768)"));
  EXPECT_EQ(long_one.pattern.stride, 32);
  EXPECT_EQ(tiny(tiny_pattern(std::string(kSparseKeys) + R"(, "attention_stride_blocks": 7)")).pattern.stride, 7);
}

TEST(AttentionPatternConfig, says_what_does_not_fit) {
  const auto has = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(has(config_error(tiny_pattern(R"("attention_pattern": "dilated")")), "block_sparse, learned, pooled"));
  EXPECT_TRUE(has(config_error(tiny_pattern(R"("attention_pattern": "lsh", "attention_lsh_buckets": 7)")), "even"));
  EXPECT_TRUE(has(config_error(tiny_pattern(R"("attention_pattern": "local_global", "attention_local_heads": 2)")), "from 1 to 1"));
  EXPECT_TRUE(has(config_error(tiny_pattern(R"("attention_pattern": "pooled", "attention_lsh_keys": 7)")), "attention_lsh_keys"));
  EXPECT_TRUE(has(config_error(tiny_llama(R"(, "attention_pattern": "pooled")")), "attention_pattern"));  // of a plain row
  EXPECT_TRUE(has(config_error(tiny_pattern(R"("base_model_type": "gpt9")")), "gpt9"));
  EXPECT_TRUE(has(config_error(tiny_deepseek(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "deepseek_v3",
                                       "attention_pattern": "pooled")")), "latent attention"));
  EXPECT_TRUE(has(config_error(tiny_gemma(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "gemma3_text",
                                    "attention_score_norm": true)")), "1 + w"));
}

struct Made {
  Config config;
  Arena arena;
  Weights weights;
  explicit Made(const std::string& json) : config(tiny(json)), weights(make_weights(config, arena)) { initialize(config, weights, 1); }
};

TEST(AttentionPatternConfig, a_folder_gives_the_same_bytes_packed_or_not) {
  for (const char* keys : {kSparseKeys, kLearnedKeys, kCompressedKeys, kLshKeys}) {
    Made made(tiny_pattern(keys));
    const Scratch folder;
    save_model(made.config, made.weights, folder.path.string(), DType::f32, {});
    const Model model = load_model(folder.path.string(), {.pack = true});
    TokenBatch batch;
    append(batch, 0, 0, tokens_of(75, 1, 61));
    std::vector<float> normed[2];
    for (int i = 0; i < 2; ++i) {
      KvCache cache(made.config, 1, 128);
      Activations acts;
      forward(made.config, i ? model.weights : made.weights, batch, cache, acts);
      normed[i].assign(acts.final_normed.f32(), acts.final_normed.f32() + acts.final_normed.elements());
    }
    EXPECT_EQ(normed[0], normed[1]) << keys;
  }
}

// Compressed memory needs the pages of its local blocks only, shared or not, and in 8 bits too.
TEST(AttentionPatternConfig, old_pages_of_compressed_layers_go) {
  Made made(tiny_pattern(kCompressedKeys));
  const std::vector<int32_t> tokens = tokens_of(120, 1, 61);
  for (const DType dtype : {DType::f32, DType::i8}) {
    KvCache whole(made.config, 1, 128, {.dtype = dtype}), few(made.config, 1, 128, {.dtype = dtype, .window_pages = 3});
    EXPECT_TRUE(few.has_window_layers());
    EXPECT_FALSE(few.has_full_layers());
    Activations acts;
    TokenBatch batch;
    append(batch, 0, 0, tokens);
    const std::vector<float> want = run_batch(made.config, made.weights, batch, whole, acts).normed;
    std::vector<float> got;
    for (size_t t = 0; t < tokens.size(); ++t) {
      TokenBatch one;
      append(one, 0, static_cast<int32_t>(t), {tokens[t]});
      few.drop_before(0, static_cast<int64_t>(t));
      const std::vector<float> row = run_batch(made.config, made.weights, one, few, acts).normed;
      got.insert(got.end(), row.begin(), row.end());
    }
    EXPECT_EQ(got, want);
  }
}

}  // namespace
}  // namespace ds
