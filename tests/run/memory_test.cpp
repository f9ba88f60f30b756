#include "run/memory.h"

#include <gtest/gtest.h>

#include <cmath>

#include "run/fixtures.h"
#include "run/inspect.h"
#include "run/scheduler.h"
#include "run/score.h"
#include "run/tiny_model.h"

namespace ds {
namespace {

// Configs of each kind of attention and feed-forward, wide enough that the products matter.
std::string latent_config(const std::string& more = "") {
  return R"({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 258, "hidden_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 20, "kv_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 8, "intermediate_size": 56, "moe_intermediate_size": 16, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "norm_topk_prob": true, "routed_scaling_factor": 1.0, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "max_position_embeddings": 32768, "initializer_range": 0.3)" + more + "}";
}
std::string windowed_config() {
  return R"({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 258, "hidden_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "intermediate_size": 56, "sliding_window": 64, "sliding_window_pattern": 4,
    "query_pre_attn_scalar": 12, "max_position_embeddings": 32768, "initializer_range": 0.3})";
}

std::vector<GenerateRequest> prompts(int count, size_t length, int64_t answer) {
  std::vector<GenerateRequest> all(static_cast<size_t>(count));
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t t = 0; t < length + 7 * i; ++t) all[i].tokens.push_back(static_cast<int32_t>((i * 31 + t * (t + 3)) % 256));
    all[i].sampling = {.max_tokens = answer, .ignore_eos = true};
  }
  return all;
}

// A pass never takes more than was planned, whatever the schedule, and where the batch is full not much less.
TEST(Memory, ActivationsAreAsPlanned) {
  for (const std::string& config : {tiny_llama_config(), latent_config(), windowed_config()})
    for (const auto& [count, length] : {std::pair<int, size_t>{1, 3000}, {6, 500}, {40, 3}}) {
      const TinyModel model(config);
      Engine engine(model.path(), {.batch_tokens = 256, .batch_sequences = count, .context = static_cast<int64_t>(length) + 7 * count + 20});
      const uint64_t planned = activation_bytes(engine.model.config, 256, count, engine.max_length());
      const auto results = generate(engine, prompts(count, length, 12));
      for (const GenerateResult& r : results) EXPECT_EQ(r.error, "");
      // An arena never lets go of a block but to make room for a larger one, and that by a quarter.
      EXPECT_LE(engine.activations.arena.bytes_reserved(), std::max<uint64_t>(planned * 5 / 4, 1 << 20)) << config << ", " << count << " of " << length;
      if (length > 256) {
        EXPECT_GE(engine.activations.arena.bytes_reserved(), planned / 2) << config << ", " << count << " of " << length;
      }
    }
}

// What inspect reads from the headers is what the loader makes.
class InspectedWeights : public testing::TestWithParam<const char*> {};
TEST_P(InspectedWeights, AreThoseLoaded) {
  NEEDS_FIXTURE(GetParam());
  const Engine engine(fixture(GetParam()));
  const auto loaded = static_cast<double>(engine.model.arena.bytes_used());
  const Inspection found = inspect({.model = fixture(GetParam()), .sequences = 8});
  ASSERT_TRUE(found.memory);
  EXPECT_NEAR(static_cast<double>(found.memory->weights) / loaded, 1, 0.02);
}
INSTANTIATE_TEST_SUITE_P(Fixtures, InspectedWeights, testing::Values("deepseek_v2", "deepseek_v3", "gemma3", "llama", "llama_tied", "llama_awq", "llama_fp8", "mixtral", "olmoe", "qwen2", "qwen3", "qwen3_moe"),
                         [](const auto& info) { return std::string(info.param); });

// One plan: inspect prints what the engine keeps.
TEST(Memory, InspectSaysWhatTheEngineKeeps) {
  for (const DType dtype : {DType::f32, DType::i8}) {
    const TinyModel model(windowed_config());
    Engine engine(model.path(), {.batch_tokens = 128, .batch_sequences = 3, .context = 4096, .kv_cache_dtype = dtype});
    const MemoryPlan kept = engine.plan();
    const Inspection said = inspect({.model = model.path(), .sequences = 3, .context = 4096, .batch_tokens = 128, .kv_cache_dtype = dtype});
    ASSERT_TRUE(said.memory);
    EXPECT_EQ(said.memory->cache, kept.cache);
    EXPECT_EQ(said.memory->activations, kept.activations);
    EXPECT_EQ(said.memory->positions, kept.positions);
    EXPECT_EQ(said.memory->process, kept.process);
    EXPECT_EQ(said.memory->options.pages, 3 * 4096 / kKeyBlock);
    EXPECT_LT(said.memory->options.window_pages, said.memory->options.pages / 4);  // pages behind the window are dropped
  }
}

// 8-bit numbers with a scale for 32: 3.6 times smaller than f32, 9/16 of what f16 would take.
TEST(Memory, RoundedCacheIsSmaller) {
  const Config config = parse_config(parse_json(tiny_llama_config(R"(, "head_dim": 64)"), "c"), "c");
  const double f32 = static_cast<double>(plan_memory(config, {.positions = 1024}).cache);
  EXPECT_NEAR(f32 / static_cast<double>(plan_memory(config, {.positions = 1024, .kv_cache_dtype = DType::i8}).cache), 32.0 / 9, 1e-6);
}

// ... and costs at most 0.5 % of perplexity: of a trained model on texts that it tells.
TEST(Memory, RoundedCacheCostsLittle) {
  NEEDS_SHARED("data/models/stories260K/hf");
  Engine exact(shared("data/models/stories260K/hf")), rounded(exact.path, {.kv_cache_dtype = DType::i8});
  std::vector<GenerateRequest> stories(16);
  for (size_t i = 0; i < stories.size(); ++i) {
    stories[i].tokens = {1};
    stories[i].stream = i;
    stories[i].sampling = {.max_tokens = 400, .temperature = 1, .ignore_eos = true};
  }
  std::vector<ScoreRequest> texts;
  for (const GenerateResult& r : generate(exact, stories)) {
    texts.push_back({{1}});
    texts.back().tokens.insert(texts.back().tokens.end(), r.answers.at(0).tokens.begin(), r.answers.at(0).tokens.end());
  }
  const auto mean = [&](Engine& engine) {
    double sum = 0, count = 0;
    for (const ScoreResult& r : score(engine, texts)) sum += r.logprob, count += static_cast<double>(r.logprobs.size());
    return sum / count;
  };
  const double difference = mean(exact) - mean(rounded);  // the logarithm of the quotient of the perplexities
  EXPECT_LT(std::abs(difference), 0.005);
  EXPECT_NE(difference, 0);
  RecordProperty("difference", std::to_string(difference));
}

TEST(Memory, IsKeptOrRefused) {
  const TinyModel model;
  const Config config = load_config(model.path());
  MemoryPlan plan = plan_memory(config, {.weight_bytes = 1 << 20, .tokens = 258, .sequences = 64, .positions = 32768});
  const uint64_t all = plan.total(), without = all - plan.cache, page = KvCache::page_bytes(config, plan.options);
  limit_memory(config, plan, all);
  EXPECT_EQ(plan.total(), all);
  limit_memory(config, plan, all / 2);
  EXPECT_LE(plan.total(), all / 2);
  EXPECT_GT(plan.total() + page, all / 2);
  EXPECT_THROW(limit_memory(config, plan, without), Error);
  EXPECT_THROW(Engine(model.path(), {.context = 32769}), Error);
  EXPECT_EQ(inspect({.model = model.path(), .context = 32769}).refused.size(), 1u);
}

}  // namespace
}  // namespace ds
