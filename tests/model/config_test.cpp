// Reading and writing config.json.
#include <cmath>
#include <numbers>

#include "model/fixture.h"
#include "model/rope.h"

namespace ds {
namespace {

TEST(Config, ReadsDeepseek) {
  const Config c = tiny(tiny_deepseek(R"(, "eos_token_id": [7, 8], "bos_token_id": 0)"));
  EXPECT_TRUE(c.is_mla());
  EXPECT_EQ(c.head_dim, 10);
  EXPECT_EQ(c.rope_dim(), 4);
  EXPECT_EQ(c.kv_heads(), 3);
  EXPECT_TRUE(c.rope_interleave);
  EXPECT_TRUE(c.router_bias);
  EXPECT_FALSE(c.is_moe(0));
  EXPECT_TRUE(c.is_moe(1));
  EXPECT_EQ(c.router.scores, RouterSpec::Scores::sigmoid);
  EXPECT_EQ(c.router.n_group, 4);
  EXPECT_EQ(c.router.topk_group, 2);
  EXPECT_FLOAT_EQ(c.attention_scale, 1 / std::sqrt(10.0f));
  EXPECT_EQ(c.eos_token_ids, (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(c.eos_token_id, 7);
  EXPECT_EQ(c.pad_token_id, -1);
}

// config_json of what was read reads as the same, to the last key, for all fixtures.
TEST(Config, WritesWhatItRead) {
  std::vector<std::string> texts = {tiny_deepseek(), tiny_llama(), tiny_gemma(), tiny_gpt2(), tiny_gpt2(R"(, "activation_function": "gelu", "n_inner": null)"),
                                    tiny_deepseek(R"(, "rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                                      "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 16})"),
                                    tiny_llama(R"(, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 6,
                                      "zero_point": true, "version": "gemm", "modules_to_not_convert": ["mlp.gate."]})")};
  for (const char* name : {"deepseek_v2", "deepseek_v3", "llama", "gemma3", "llama_awq", "llama_tied", "mixtral", "olmoe", "qwen2", "qwen3", "qwen3_moe"})
    if (const std::string path = fixture(name) + "/config.json"; std::filesystem::exists(path)) {
      std::ifstream in(path);
      texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
  for (const std::string& text : texts) {
    const Config once = tiny(text), twice = tiny(config_json(once, DType::bf16));
    EXPECT_EQ(config_json(once, DType::f32), config_json(twice, DType::f32));
    EXPECT_EQ(once.attention_scale, twice.attention_scale);
    EXPECT_EQ(once.rms_norm_eps, twice.rms_norm_eps);
    EXPECT_EQ(once.sliding_window, twice.sliding_window);
    EXPECT_EQ(once.qk_norm, twice.qk_norm);
    EXPECT_EQ(once.qkv_bias, twice.qkv_bias);
    EXPECT_EQ(once.router.norm_topk_prob, twice.router.norm_topk_prob);
    EXPECT_EQ(once.router.routed_scaling_factor, twice.router.routed_scaling_factor);
    EXPECT_EQ(once.quantization.group_size, twice.quantization.group_size);
  }
}

// transformers checks the types of what it reads: 1 is no float.
TEST(Config, WritesFloatsAsFloats) {
  const std::string text = config_json(tiny(tiny_deepseek(R"(, "routed_scaling_factor": 1)")), DType::f32);
  for (const char* part : {"\"routed_scaling_factor\": 1.0", "\"attention_dropout\": 0.0", "\"rope_theta\": 100.0", "\"hidden_size\": 24,"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
}

TEST(Config, BothSpellingsOfPositionsAreTheSame) {
  const Config v4 = tiny(tiny_llama(R"(, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2})"));
  const Config v5 = tiny(tiny_llama(R"(, "rope_theta": null, "rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 5e5})"));
  EXPECT_EQ(config_json(v4, DType::f32), config_json(v5, DType::f32));
  EXPECT_EQ(v4.rope_theta, 5e5);
  EXPECT_EQ(v4.rope_scaling.type, RopeScaling::Type::linear);
}

// DeepSeek-V3's released numbers: cosines are not scaled, and the attention scale is (0.1 ln 40 + 1)^2 of the plain one.
TEST(Config, YarnScalesTheAttentionOfDeepseek) {
  const Config c = tiny(tiny_deepseek(R"(, "rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 16})"));
  const double mscale = 0.1 * std::log(40.0) + 1;
  EXPECT_NEAR(c.attention_scale, mscale * mscale / std::sqrt(10.0), 1e-6);
  Arena arena;
  EXPECT_EQ(make_rope_tables(c, 1, arena).cos.f32()[0], 1.0f);
}

// A real GPT-2's keys, and what is missing there.
TEST(Config, ReadsGpt2) {
  const Config c = tiny(R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024,
    "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
    "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257})");
  EXPECT_EQ(c.norm, Norm::layer);
  EXPECT_EQ(c.positions, Positions::learned);
  EXPECT_EQ(c.hidden_act, Activation::gelu_tanh);
  EXPECT_FALSE(c.gated_mlp);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.intermediate_size, 3072);
  EXPECT_EQ(c.max_position_embeddings, 1024);
  EXPECT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_EQ(c.attention_scale, 0.125f);
  EXPECT_EQ(tiny(tiny_gpt2(R"(, "n_embd": null, "hidden_size": 24)")).hidden_size, 24);  // the common spelling too
  for (const auto& [more, says] : {std::pair(R"(, "n_embd": 25)", "config.json: n_head is 4, which does not divide 25"),
                                   std::pair(R"(, "n_layer": 0)", "config.json: n_layer is 0"),
                                   std::pair(R"(, "scale_attn_by_inverse_layer_idx": true)", "scale_attn_by_inverse_layer_idx"),
                                   std::pair(R"(, "add_cross_attention": true)", "add_cross_attention"),
                                   std::pair(R"(, "activation_function": "relu")", "activation_function is \"relu\"")}) try {
      tiny(tiny_gpt2(more));
      FAIL() << "accepted " << more;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
}

struct Bad {
  const char* more;
  const char* says;
  friend void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.more; }
};
class BadConfig : public testing::TestWithParam<Bad> {};

TEST_P(BadConfig, IsAnErrorThatNamesTheKey) {
  try {
    tiny(tiny_deepseek(GetParam().more));
    FAIL() << "accepted " << GetParam().more;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(GetParam().says), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos) << error.what();
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, BadConfig,
    testing::Values(Bad{R"(, "hidden_size": -24)", "hidden_size"}, Bad{R"(, "hidden_size": 0)", "hidden_size"},
                    Bad{R"(, "hidden_size": 4611686018427387904)", "hidden_size"},
                    Bad{R"(, "hidden_size": 99999999999999999999999)", "hidden_size"},
                    Bad{R"(, "hidden_size": 24.5)", "hidden_size"}, Bad{R"(, "hidden_size": "24")", "hidden_size"},
                    Bad{R"(, "hidden_size": null)", "hidden_size is missing"}, Bad{R"(, "vocab_size": null)", "vocab_size is missing"},
                    Bad{R"(, "num_hidden_layers": 1000000000)", "num_hidden_layers"},
                    Bad{R"(, "n_routed_experts": 70000, "n_group": 1, "topk_group": 1)", "70000 experts"},
                    Bad{R"(, "n_group": 3)", "n_group"}, Bad{R"(, "topk_group": 5)", "topk_group"},
                    Bad{R"(, "num_experts_per_tok": 5)", "num_experts_per_tok"}, Bad{R"(, "n_group": 8, "topk_group": 4)", "two best"},
                    Bad{R"(, "num_key_value_heads": 1)", "num_key_value_heads"}, Bad{R"(, "qk_rope_head_dim": 3)", "pairs"},
                    Bad{R"(, "hidden_act": "relu2")", "relu2"},
                    Bad{R"(, "scoring_func": "softmax")", "scoring_func"}, Bad{R"(, "rms_norm_eps": 0)", "rms_norm_eps"},
                    Bad{R"(, "rms_norm_eps": -1e-6)", "rms_norm_eps"}, Bad{R"(, "rope_theta": 1e999)", "rope_theta"},
                    Bad{R"(, "rope_scaling": {"rope_type": "longrope", "factor": 4})", "longrope"},
                    Bad{R"(, "rope_scaling": {"rope_type": "dynamic"})", "factor"},
                    Bad{R"(, "rope_scaling": {"rope_type": "linear", "factor": 2, "mrope_section": [1, 1]})", "rope_scaling: mrope_section"},
                    Bad{R"(, "attention_multiplier": 0.1)", "attention_multiplier is set to 0.1"},
                    Bad{R"(, "embedding_multiplier": 12.0)", "embedding_multiplier is set to 12.0"},
                    Bad{R"(, "logits_scaling": 8)", "logits_scaling"}, Bad{R"(, "residual_multiplier": 0.2)", "residual_multiplier"},
                    Bad{R"(, "pretraining_tp": 2)", "pretraining_tp is set to 2"}, Bad{R"(, "alibi": true)", "alibi is set to true"},
                    Bad{R"(, "sliding_window": 8)", "sliding_window"}, Bad{R"(, "is_encoder_decoder": true)", "is_encoder_decoder"},
                    Bad{R"(, "per_layer_config": {"0": {}})", "per_layer_config is set to an object"},
                    Bad{R"(, "layer_types": ["sliding_attention"])", "layer_types"},
                    Bad{R"(, "rope_scaling": {"rope_type": "linear"})", "factor"}, Bad{R"(, "rope_scaling": 4)", "rope_scaling"},
                    Bad{R"(, "quantization_config": {"quant_method": "bitsandbytes"})", "bitsandbytes"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "bits": 3})", "bits"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "version": "gemv"})", "gemv"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "group_size": 0})", "group_size"},
                    Bad{R"(, "architectures": ["BloomForCausalLM"])", "BloomForCausalLM"}, Bad{R"(, "architectures": [])", "architectures"},
                    Bad{R"(, "eos_token_id": 61)", "eos_token_id"}, Bad{R"(, "partial_rotary_factor": 0.5)", "partial_rotary_factor"}));

// ---- Kinds of layers ----

std::string kinds(const Config& c) {
  std::string text;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) text += c.is_sliding(i) ? 's' : 'f';
  return text;
}

TEST(Config, LayersSlideAsEachArchitectureSays) {
  const auto qwen = [](const std::string& more) {
    return kinds(tiny(tiny_llama(R"(, "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4)" + more)));
  };
  EXPECT_EQ(qwen(R"(, "sliding_window": 4096, "max_window_layers": 2)"), "ffff");  // use_sliding_window is false
  EXPECT_EQ(qwen(R"(, "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2)"), "ffss");
  EXPECT_EQ(qwen(R"(, "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2, "layer_types":
                 ["sliding_attention", "full_attention", "full_attention", "full_attention"])"), "sfff");
  EXPECT_EQ(kinds(tiny(tiny_llama(R"(, "architectures": ["MistralForCausalLM"])"))), "ss");
  EXPECT_EQ(kinds(tiny(tiny_llama(R"(, "architectures": ["MistralForCausalLM"], "sliding_window": null)"))), "ff");
  EXPECT_EQ(kinds(tiny(tiny_gemma(R"(, "num_hidden_layers": 13, "layer_types": null)"))), "sssssfsssssfs");
  EXPECT_EQ(kinds(tiny(tiny_gemma(R"(, "num_hidden_layers": 4, "layer_types": null, "sliding_window_pattern": 2)"))), "sfsf");
  EXPECT_THROW(tiny(tiny_gemma(R"(, "layer_types": ["sliding_attention"])")), Error);
  EXPECT_THROW(tiny(tiny_gemma(R"(, "layer_types": ["sliding_attention", "full_attention", "chunked_attention"])")), Error);
  EXPECT_THROW(tiny(tiny_gemma(R"(, "sliding_window": null)")), Error);
}

TEST(Config, DenseAndSparseLayersMix) {
  const std::string moe = R"(, "architectures": ["Qwen3MoeForCausalLM"], "num_hidden_layers": 6, "num_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 8)";
  const Config c = tiny(tiny_llama(moe + R"(, "decoder_sparse_step": 2, "mlp_only_layers": [3])"));
  std::string text;
  for (int64_t i = 0; i < 6; ++i) text += c.is_moe(i) ? 'm' : 'd';
  EXPECT_EQ(text, "dmdddm");
  EXPECT_THROW(tiny(tiny_llama(moe + R"(, "mlp_only_layers": [6])")), Error);
  EXPECT_THROW(tiny(tiny_llama(moe + R"(, "mlp_only_layers": [0], "intermediate_size": null)")), Error);
}

// ---- Gemma ----

// Of the released models' sizes: sqrt(640) = 25.298 is 25.25 in bf16, and sqrt(3072) = 55.4256 is 55.5.
TEST(Config, GemmaScalesTheEmbeddingInTheFilesDtype) {
  EXPECT_EQ(tiny(tiny_gemma(R"(, "hidden_size": 640, "torch_dtype": "bfloat16")")).embedding_scale, 25.25f);
  EXPECT_EQ(tiny(tiny_gemma(R"(, "hidden_size": 3072, "dtype": "bfloat16")")).embedding_scale, 55.5f);
  EXPECT_FLOAT_EQ(tiny(tiny_gemma(R"(, "hidden_size": 640, "dtype": "float32")")).embedding_scale, std::sqrt(640.0f));
}

// The config.json of a released multimodal model leaves most of the text model to the defaults.
TEST(Config, ReadsTheTextModelOfAMultimodalFile) {
  const std::string text = R"({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
    "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02,
    "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240,
    "model_type": "gemma3_text", "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024}, "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
    "vision_config": {"hidden_size": 1152}})";
  const Config c = tiny(text);
  EXPECT_EQ(c.architecture, "Gemma3ForCausalLM");
  EXPECT_EQ(c.vocab_size, 262208);
  EXPECT_EQ(c.num_attention_heads, 8);
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.head_dim, 256);
  EXPECT_EQ(c.eos_token_ids, (std::vector<int32_t>{1, 106}));
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.embedding_scale, 50.5f);  // sqrt(2560) = 50.596 in bf16
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_EQ(c.rope_local_base_freq, 1e4);
  EXPECT_EQ(c.rope_scaling.factor, 8);
  EXPECT_EQ(kinds(c).substr(0, 12), "sssssfsssssf");
  EXPECT_EQ(config_json(tiny(config_json(c, DType::bf16)), DType::bf16), config_json(c, DType::bf16));
  std::string bad = text;
  EXPECT_THROW(tiny(bad.replace(bad.find("mm_tokens"), 2, "nn")), Error);
}

// Keys of released files that no forward pass reads.
TEST(Config, KnowsTheHarmlessKeysOfReleasedFiles) {
  EXPECT_NO_THROW(tiny(tiny_deepseek(R"(, "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    "aux_loss_alpha": 0.001, "ep_size": 1, "moe_layer_freq": 1, "num_nextn_predict_layers": 1, "pretraining_tp": 1, "seq_aux": true,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": true)")));
  EXPECT_NO_THROW(tiny(tiny_llama(R"(, "architectures": ["Qwen2ForCausalLM"], "use_mrope": false, "use_sliding_window": false,
    "sliding_window": 131072, "max_window_layers": 70, "id2label": {"0": "LABEL_0"}, "temperature": 0.7, "pruned_heads": {})")));
  EXPECT_NO_THROW(tiny(tiny_llama(R"(, "mlp_bias": false, "pretraining_tp": 1, "_name_or_path": "x", "alibi": false, "unknown": null)")));
}

// The angles by their definitions, with libm.
TEST(Rope, TablesAreTheFormulas) {
  for (const std::string scaling : {"default", "linear", "dynamic", "llama3", "yarn"}) {
    const Config c = tiny(tiny_llama(cat(R"(, "max_position_embeddings": 32, "head_dim": 16, "rope_theta": 10000.0, "rope_scaling": {"rope_type": ")", scaling,
                                         R"(", "factor": 4, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 32})")));
    Arena arena;
    const RopeTables tables = make_rope_tables(c, 100, arena);
    for (int64_t i = 0; i < 8; ++i) {
      double f = std::pow(10000.0, -2.0 * static_cast<double>(i) / 16), amplitude = 1;
      if (scaling == "linear") f /= 4;
      if (scaling == "llama3") {
        const double wave = 2 * std::numbers::pi / f, t = (32 / wave - 1) / 3;
        f = wave < 8 ? f : wave > 32 ? f / 4 : (1 - t) * f / 4 + t * f;
      }
      if (scaling == "yarn") {
        const auto dim = [](double r) { return 16 * std::log(32 / (2 * std::numbers::pi * r)) / (2 * std::log(10000.0)); };
        const double low = std::max(0.0, std::floor(dim(32))), high = std::min(15.0, std::ceil(dim(1)));
        const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
        f = f / 4 * ramp + f * (1 - ramp);
        amplitude = 0.1 * std::log(4.0) + 1;
      }
      for (int64_t p = 0; p < 100; ++p) {
        if (scaling == "dynamic" && p >= 32)
          f = std::pow(10000.0 * std::pow(4.0 * static_cast<double>(p + 1) / 32 - 3, 16.0 / 14), -2.0 * static_cast<double>(i) / 16);
        EXPECT_NEAR(tables.cos.f32()[p * 8 + i], amplitude * std::cos(static_cast<double>(p) * f), 1e-6) << scaling << " " << i << " " << p;
        EXPECT_NEAR(tables.sin.f32()[p * 8 + i], amplitude * std::sin(static_cast<double>(p) * f), 1e-6) << scaling << " " << i << " " << p;
      }
    }
  }
}

}  // namespace
}  // namespace ds
