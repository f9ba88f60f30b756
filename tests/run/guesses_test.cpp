// The head for multi-token prediction under the scheduler: it changes no answer, and where it is right it saves passes.
#include "run/guesses.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "model/mtp_checkpoint.h"
#include "schedule.h"

namespace ds {
namespace {

constexpr const char* kConfig = R"({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 24, "hidden_size": 24,
    "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 3, "max_position_embeddings": 512,
    "q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 7,
    "intermediate_size": 29, "moe_intermediate_size": 9, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
    "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1, "initializer_range": 0.3, "num_nextn_predict_layers": 1})";

// What a head knows. `random`: nothing. Else a token alone says the next one, 5 further on: embeddings are unit vectors, no
// block adds anything, and lm_head turns 5 further on. The head is right by the next token, whose embedding it takes for its
// state (`next_token`), or by the model's state of the token before, which it turns by 5 (`hidden`).
enum class Knows { random, next_token, hidden };

class WithHead {
 public:
  explicit WithHead(Knows knows) {
    std::string name = (std::filesystem::temp_directory_path() / "ds-run-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
    const Config config = parse_config(parse_json(kConfig, "config.json"), "config.json");
    Arena arena;
    Weights weights = make_weights(config, arena);
    initialize(config, weights, 5);
    MtpWeights head = make_head(config, arena);
    const Rng rng{7, 1};
    uint64_t drawn = 0;
    for_each_weight(config, head, [&](const WeightInfo& info, Tensor& t) {
      for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = info.shape.size() == 1 ? 1.0f : static_cast<float>(0.3 * rng.normal(drawn++));
    });
    if (knows != Knows::random) {
      for (LayerWeights& w : weights.layers) clear(w);
      clear(head.block);
      turn(weights.embed_tokens, 0, 0);
      turn(weights.lm_head, 5, 0);
      if (knows == Knows::next_token) turn(head.projection, 0, 0);
      else turn(head.projection, 5, config.hidden_size);
    }
    save_with_head(config, weights, head, path_);
  }
  ~WithHead() { std::filesystem::remove_all(path_); }
  WithHead(const WithHead&) = delete;
  const std::string& path() const { return path_; }

 private:
  static void clear(LayerWeights& w) {
    for (const Tensor& t : {w.o_proj, w.down_proj, w.experts_down, w.shared_down})
      if (t) std::fill_n(t.f32(), t.elements(), 0.0f);
  }
  // Row (i + by) % rows has a one in column first + i, and zeros.
  static void turn(const Tensor& t, int64_t by, int64_t first) {
    std::fill_n(t.f32(), t.elements(), 0.0f);
    for (int64_t i = 0; i < t.rows(); ++i) t.f32()[(i + by) % t.rows() * t.cols() + first + i] = 1.0f;
  }
  std::string path_;
};

class MtpSchedule : public testing::TestWithParam<Knows> {};
INSTANTIATE_TEST_SUITE_P(Heads, MtpSchedule, testing::Values(Knows::random, Knows::next_token, Knows::hidden), [](const auto& i) {
  return i.param == Knows::random ? "random" : i.param == Knows::hidden ? "hidden" : "next_token";
});

TEST_P(MtpSchedule, ChangesNoAnswer) {
  const WithHead model(GetParam());
  for (const double temperature : {0.0, 0.8}) {
    const Sampling sampling{.max_tokens = 45, .temperature = temperature, .ignore_eos = true, .logprobs = 0, .n = temperature > 0 ? 2 : 1};
    Engine plain(model.path(), {.batch_sequences = 1});
    const auto requests = make_requests(plain.model.config, sampling);
    std::vector<GenerateResult> wanted;
    for (const GenerateRequest& request : requests) wanted.push_back(run_all(plain, {request}, {.prefix_cache = false}).results[0]);

    Engine alone(model.path(), {.batch_sequences = 1, .mtp = true});
    for (size_t i = 0; i < requests.size(); ++i)
      expect_equal(run_all(alone, {requests[i]}, {.guesses = 2}).results, {wanted[i]}, "alone");
    for (const int64_t guesses : {1, 2, 6}) {
      Engine two(model.path(), {.batch_tokens = 64, .batch_sequences = 2, .mtp = true});
      const Outcome outcome = run_all(two, requests, {.guesses = guesses});
      expect_equal(outcome.results, wanted, "two at once");
      EXPECT_GT(outcome.stats.guessed_tokens, 0u);
      EXPECT_GT(outcome.stats.cached_tokens, 32u * 4u);
      if (GetParam() != Knows::random && temperature == 0) {
        EXPECT_GT(outcome.stats.accepted_tokens, outcome.stats.guessed_tokens * 9 / 10);
      }
    }
    Engine many(model.path(), {.batch_tokens = 40, .batch_sequences = 7, .mtp = true});
    expect_equal(run_all(many, requests, {.guesses = 3}).results, wanted, "prefix cache and neighbours");
    expect_equal(run_all(many, requests, {.prefix_cache = false, .guesses = 3}).results, wanted, "neighbours");
    set_threads(1);
    Engine small(model.path(), {.batch_tokens = 7, .batch_sequences = 5, .mtp = true});
    expect_equal(run_all(small, requests, {.guesses = 2}).results, wanted, "few places, short passes, one thread");
    set_threads(0);
    for (const bool prefix_cache : {false, true}) {
      Engine tight(model.path(), {.batch_tokens = 32, .batch_sequences = 8, .pages = 15, .mtp = true});
      const Outcome outcome = run_all(tight, requests, {.prefix_cache = prefix_cache, .guesses = 2});
      expect_equal(outcome.results, wanted, "few pages");
      EXPECT_GT(outcome.stats.preempted, 0u);
    }
  }
}

TEST_P(MtpSchedule, BeamsGoOnBesideIt) {
  const WithHead model(GetParam());
  Engine plain(model.path(), {.batch_sequences = 8}), engine(model.path(), {.batch_sequences = 8, .mtp = true});
  auto requests = make_requests(plain.model.config, {.max_tokens = 20, .n = 2, .beams = 4});
  for (size_t i = 0; i < requests.size(); i += 2) requests[i].sampling = {.max_tokens = 20};
  expect_equal(run_all(engine, requests, {.guesses = 2}).results, run_all(plain, requests, {}).results, "beams");
}

// All guesses are right: 60 tokens take a third of the passes, and a few more until guesses are as many as they may be.
TEST(Mtp, SavesPassesWhereItIsRight) {
  const WithHead model(Knows::hidden);
  const std::vector<GenerateRequest> request = {{{5, 6, 7}, {.max_tokens = 60, .ignore_eos = true}}};
  for (const DType dtype : {DType::f32, DType::i8}) {
    Engine engine(model.path(), {.kv_cache_dtype = dtype, .mtp = true});
    const Outcome plain = run_all(engine, request, {}), guessed = run_all(engine, request, {.guesses = 2});
    expect_equal(guessed.results, plain.results, "alone");
    EXPECT_EQ(plain.stats.steps, 60u);
    EXPECT_LE(guessed.stats.steps, 23u);
    EXPECT_EQ(guessed.stats.accepted_tokens, guessed.stats.guessed_tokens);
    EXPECT_EQ(guessed.stats.generated_tokens, 60u);
  }
}

// The guesses of a sequence depend on it alone, and there are none for what the head did not go through.
TEST(Mtp, GuessesOnlyWhatItFollowed) {
  const WithHead model(Knows::random);
  Engine engine(model.path(), {.batch_sequences = 2, .mtp = true});
  KvCache cache = engine.make_cache();
  MtpHead head(engine, cache);
  const std::vector<int32_t> tokens = {9, 8, 7, 6};
  const auto guess = [&](int64_t place, size_t length) {
    std::vector<GuessRequest> requests = {{place, std::span(tokens).first(length), 3, {}}};
    head.guess(requests);
    return requests[0].guesses;
  };
  EXPECT_TRUE(guess(1, 4).empty());
  forward(engine.model.config, engine.model.weights, {{9, 8, 7}, {1, 1, 1}, {0, 1, 2}, {}}, cache, engine.activations);
  head.follow({{8, 7, 6}, {1, 1, 1}, {0, 1, 2}, {}}, std::vector<int32_t>{0, 1, 2});
  EXPECT_TRUE(guess(0, 4).empty());
  EXPECT_TRUE(guess(1, 3).empty());
  const std::vector<int32_t> first = guess(1, 4);
  EXPECT_EQ(first.size(), 3u);
  EXPECT_TRUE(guess(1, 4).empty());  // it went on with its guesses
  head.follow({{6}, {1}, {2}, {}}, std::vector<int32_t>{2});
  EXPECT_EQ(guess(1, 4), first);
  head.forget(1);
  EXPECT_TRUE(guess(1, 4).empty());
}

TEST(Mtp, NeedsAHead) {
  const WithHead model(Knows::random);
  Engine without(model.path());
  KvCache cache = without.make_cache();
  EXPECT_THROW(MtpHead(without, cache), Error);
}

}  // namespace
}  // namespace ds
