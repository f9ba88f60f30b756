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
  std::vector<std::string> texts = {tiny_deepseek(), tiny_llama(),
                                    tiny_deepseek(R"(, "rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                                      "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 16})"),
                                    tiny_llama(R"(, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 6,
                                      "zero_point": true, "version": "gemm", "modules_to_not_convert": ["mlp.gate."]})")};
  for (const char* name : {"deepseek_v2", "deepseek_v3", "llama", "llama_awq", "llama_tied", "mixtral", "olmoe", "qwen2", "qwen3", "qwen3_moe"})
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
                    Bad{R"(, "attention_bias": true)", "attention_bias"}, Bad{R"(, "hidden_act": "relu2")", "relu2"},
                    Bad{R"(, "scoring_func": "softmax")", "scoring_func"}, Bad{R"(, "rms_norm_eps": 0)", "rms_norm_eps"},
                    Bad{R"(, "rms_norm_eps": -1e-6)", "rms_norm_eps"}, Bad{R"(, "rope_theta": 1e999)", "rope_theta"},
                    Bad{R"(, "rope_scaling": {"rope_type": "longrope", "factor": 4})", "longrope"},
                    Bad{R"(, "rope_scaling": {"rope_type": "dynamic", "factor": 4})", "dynamic"},
                    Bad{R"(, "rope_scaling": {"rope_type": "linear"})", "factor"}, Bad{R"(, "rope_scaling": 4)", "rope_scaling"},
                    Bad{R"(, "quantization_config": {"quant_method": "bitsandbytes"})", "bitsandbytes"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "bits": 3})", "bits"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "version": "gemv"})", "gemv"},
                    Bad{R"(, "quantization_config": {"quant_method": "awq", "group_size": 0})", "group_size"},
                    Bad{R"(, "architectures": ["GPT2LMHeadModel"])", "GPT2LMHeadModel"}, Bad{R"(, "architectures": [])", "architectures"},
                    Bad{R"(, "eos_token_id": 61)", "eos_token_id"}, Bad{R"(, "partial_rotary_factor": 0.5)", "partial_rotary_factor"}));

// The angles by their definitions, with libm.
TEST(Rope, TablesAreTheFormulas) {
  for (const std::string scaling : {"default", "linear", "llama3", "yarn"}) {
    const Config c = tiny(tiny_llama(cat(R"(, "head_dim": 16, "rope_theta": 10000.0, "rope_scaling": {"rope_type": ")", scaling,
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
        EXPECT_NEAR(tables.cos.f32()[p * 8 + i], amplitude * std::cos(static_cast<double>(p) * f), 1e-6) << scaling << " " << i << " " << p;
        EXPECT_NEAR(tables.sin.f32()[p * 8 + i], amplitude * std::sin(static_cast<double>(p) * f), 1e-6) << scaling << " " << i << " " << p;
      }
    }
  }
}

}  // namespace
}  // namespace ds
