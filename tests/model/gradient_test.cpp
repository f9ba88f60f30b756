// The whole decoder's gradient, weight by weight, against central differences of the loss along directions.
#include <cmath>
#include <map>

#include "model/fixture.h"

namespace ds {
namespace {

constexpr AuxLoss kAux = {40, 30};  // as large as the rest of the loss, or their gradients would not show

struct Problem {
  Config config;
  Arena arena;
  Weights weights, grads, ignored;
  TokenBatch batch;
  std::vector<int32_t> targets;
  std::vector<int32_t> choices;  // of experts in the last forward, all layers

  explicit Problem(const std::string& json) : config(tiny(json)) {
    weights = make_weights(config, arena);
    grads = make_weights(config, arena);
    ignored = make_weights(config, arena);
    initialize(config, weights, 4);
    // Norms away from 1 and biases away from 0, or a wrong factor there would not show.
    for_each_weight(config, weights, [](const WeightInfo& info, Tensor& t) {
      if (info.shape.size() == 1)
        for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] += 0.2f * static_cast<float>(Rng{2, 2}.normal(i));
    });
    append(batch, 0, 0, tokens_of(36, 1, config.vocab_size));
    append(batch, 1, 0, tokens_of(11, 2, config.vocab_size));
    targets = tokens_of(47, 3, config.vocab_size);
  }

  // The sequence-wise loss counts the best scores of all groups: another choice that may jump.
  void add_best(const Tensor& scores) {
    const auto top_k = static_cast<size_t>(config.router.top_k), experts = static_cast<size_t>(scores.cols());
    for (int64_t t = 0; t < scores.rows(); ++t) {
      const float* const s = scores.f32() + t * scores.cols();
      std::vector<int32_t> order(experts);
      for (size_t i = 0; i < experts; ++i) order[i] = static_cast<int32_t>(i);
      std::sort(order.begin(), order.end(), [s](int32_t a, int32_t b) { return s[a] > s[b]; });
      std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top_k));
      choices.insert(choices.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top_k));
    }
  }

  // The sum over rows of the cross-entropy, in double, plus the auxiliary losses; gradients added to `to`.
  double loss(Weights& to) {
    Activations acts;
    acts.keep_all = true;
    KvCache cache(config, 2, 64, {.use = CacheUse::training});
    Arena memory;
    const Outputs out = run_batch(config, weights, batch, cache, acts);
    choices.clear();
    for (const LayerActivations& a : acts.layers)
      if (a.indices) {
        choices.insert(choices.end(), a.indices.i32(), a.indices.i32() + a.indices.elements());
        add_best(a.scores);
      }
    const int64_t rows = static_cast<int64_t>(targets.size()), vocab = config.vocab_size;
    const Tensor dlogits = memory.make(DType::f32, {rows, vocab}), dnormed = memory.make(DType::f32, {rows, config.hidden_size});
    double total = 0;
    for (int64_t t = 0; t < rows; ++t) {
      double top = -1e30, sum = 0;
      for (int64_t v = 0; v < vocab; ++v) top = std::max<double>(top, out.row(t)[v]);
      for (int64_t v = 0; v < vocab; ++v) sum += std::exp(out.row(t)[v] - top);
      for (int64_t v = 0; v < vocab; ++v)
        dlogits.f32()[t * vocab + v] = static_cast<float>(std::exp(out.row(t)[v] - top) / sum - (v == targets[t] ? 1 : 0));
      total += top + std::log(sum) - out.row(t)[targets[t]];
    }
    head_backward(config, weights, acts.final_normed, dlogits, dnormed, to);
    return total + backward(config, weights, batch, cache, acts, dnormed, kAux, to, memory);
  }
};

// Along `direction` from the weights: (loss(w + h d) - loss(w - h d)) / 2h, with the steps that f32 really made.
double slope(Problem& p, Tensor& w, const std::vector<float>& direction, float h, const std::vector<int32_t>& choices, bool* jumped) {
  const std::vector<float> saved(w.f32(), w.f32() + w.elements());
  double side[2];
  for (int i = 0; i < 2; ++i) {
    for (size_t j = 0; j < saved.size(); ++j) w.f32()[j] = saved[j] + (i ? -h : h) * direction[j];
    side[i] = p.loss(p.ignored);
    *jumped = *jumped || p.choices != choices;
  }
  std::copy(saved.begin(), saved.end(), w.f32());
  return (side[0] - side[1]) / (2.0 * h);
}

class Gradient : public testing::TestWithParam<std::pair<const char*, std::string>> {};

// Two directions a weight: its gradient's own, where a wrong factor shows, and a random one, where a missing part shows.
// The loss (about 200) has an f32 error of about 3e-5 through the logits; with steps of 2e-3 along unit vectors that is
// 1e-2 of the slope, whose own size is 1 to 50; the third derivative adds about as much.
TEST_P(Gradient, IsThatOfFiniteDifferences) {
  Problem p(GetParam().second);
  p.loss(p.grads);
  const std::vector<int32_t> choices = p.choices;
  std::map<std::string, Tensor> gradient;
  for_each_weight(p.config, p.grads, [&](const WeightInfo& info, Tensor& t) { gradient[info.name] = t; });
  int checked = 0;
  for_each_weight(p.config, p.weights, [&](const WeightInfo& info, Tensor& w) {
    if (!info.trained) return;
    const Tensor g = gradient.at(info.name);
    double norm = 0;
    for (int64_t i = 0; i < g.elements(); ++i) norm += static_cast<double>(g.f32()[i]) * g.f32()[i];
    norm = std::sqrt(norm);
    ASSERT_GT(norm, 1e-3) << info.name;
    for (const bool along : {true, false}) {
      std::vector<float> direction(static_cast<size_t>(g.elements()));
      double length = 0, want = 0;
      for (size_t i = 0; i < direction.size(); ++i) {
        direction[i] = along ? g.f32()[i] : static_cast<float>(Rng{6, 6}.normal(i));
        length += static_cast<double>(direction[i]) * direction[i];
      }
      for (size_t i = 0; i < direction.size(); ++i) {
        direction[i] = static_cast<float>(direction[i] / std::sqrt(length));
        want += static_cast<double>(direction[i]) * g.f32()[i];
      }
      // A step across which an expert changes has no derivative; a shorter one has.
      double got = 0;
      bool jumped = true;
      for (float h = 2e-3f; jumped && h > 1e-4f; h /= 2) {
        jumped = false;
        got = slope(p, w, direction, h, choices, &jumped);
      }
      if (jumped) continue;
      ++checked;
      EXPECT_NEAR(got, want, 0.02 + 0.01 * std::abs(want)) << info.name << (along ? " along the gradient" : " along a random direction");
    }
  });
  EXPECT_GT(checked, 30);
}

INSTANTIATE_TEST_SUITE_P(
    All, Gradient,
    testing::Values(std::pair("deepseek", tiny_deepseek()),
                    std::pair("deepseek_v2", tiny_deepseek(R"(, "architectures": ["DeepseekV2ForCausalLM"], "norm_topk_prob": false,
                              "q_lora_rank": null, "topk_method": "group_limited_greedy")")),
                    std::pair("deepseek_biases", tiny_deepseek(R"(, "attention_bias": true)")),
                    std::pair("gemma3", tiny_gemma()),
                    std::pair("gemma2", tiny_gemma(R"(, "architectures": ["Gemma2ForCausalLM"], "attention_bias": true,
                              "rope_local_base_freq": null, "attn_logit_softcapping": 1.5, "final_logit_softcapping": null)")),
                    std::pair("qwen2_windows", tiny_llama(R"(, "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": true,
                              "sliding_window": 5, "max_window_layers": 1)")),
                    std::pair("llama", tiny_llama(R"(, "attention_bias": true, "mlp_bias": true)")),
                    std::pair("llama_tied", tiny_llama(R"(, "tie_word_embeddings": true, "rope_interleave": false)")),
                    std::pair("qwen3_moe", tiny_llama(R"(, "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 6,
                              "num_experts_per_tok": 2, "moe_intermediate_size": 10, "norm_topk_prob": true)")),
                    std::pair("qwen3_moe_mixed", tiny_llama(R"(, "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 6,
                              "num_experts_per_tok": 2, "moe_intermediate_size": 10, "decoder_sparse_step": 2)")),
                    std::pair("block_sparse", tiny_pattern(kSparseKeys)), std::pair("local_global", tiny_pattern(kLocalHeadsKeys)),
                    std::pair("learned", tiny_pattern(kLearnedKeys)), std::pair("pooled", tiny_pattern(kPooledKeys)),
                    std::pair("compressed", tiny_pattern(kCompressedKeys)),
                    std::pair("olmoe", tiny_llama(R"(, "architectures": ["OlmoeForCausalLM"], "num_experts": 6,
                              "num_experts_per_tok": 2)"))),
    [](const auto& info) { return info.param.first; });

// What has no backward pass says so.
TEST(Backward, RefusesWhatItLacks) {
  const std::string clip = R"(, "architectures": ["OlmoeForCausalLM"], "num_experts": 6, "num_experts_per_tok": 2, "clip_qkv": 3)";
  for (const auto& [json, key] : {std::pair(tiny_llama(clip), "clip_qkv"),
                                  std::pair(tiny_gemma(R"(, "final_logit_softcapping": 30)"), "final_logit_softcapping")}) {
    Problem p(json);
    try {
      p.loss(p.grads);
      FAIL() << key;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace ds
