// The whole decoder's gradient, weight by weight: against central differences of the loss along directions, and against
// transformers' (data/gradients.json, which data/gradients.py made).
#include <cmath>
#include <map>

#include "model/fixture.h"

namespace ds {
namespace {

constexpr AuxLoss kAux = {40, 30, 0.5f};  // as large as the rest of the loss, or their gradients would not show

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
        for (int64_t i = 0; i < t.elements(); ++i) {
          t.f32()[i] += 0.2f * static_cast<float>(Rng{2, 2}.normal(i));
          if (info.name.ends_with("gate.load") || info.name.ends_with("gate.factor")) t.f32()[i] = 0.1f + std::abs(t.f32()[i]);
        }
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
    const Tensor logits = make_tensor(const_cast<float*>(out.logits.data()), DType::f32, {rows, vocab});
    head_backward(config, weights, acts.final_normed, dlogits, dnormed, to, logits);
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

// A key's bias moves all scores of a row alike, unless keys are rotated: its gradient is zero but for rounding.
bool is_idle(const Config& config, const WeightInfo& info) {
  return config.positions == Positions::learned && info.name.ends_with("k_proj.bias");
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
    if (is_idle(p.config, info)) return;
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
                    std::pair("gpt2", tiny_gpt2()), std::pair("gpt2_erf", tiny_gpt2(R"(, "activation_function": "gelu")")),
                    std::pair("gemma3", tiny_gemma(R"(, "final_logit_softcapping": 3.0)")),
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
                    std::pair("entropy_fallback", tiny_router("entropy_fallback", R"(, "router_entropy_threshold": 0.75)")),
                    std::pair("adaptive", tiny_router("adaptive", R"(, "router_temperature": 1.5)")),
                    std::pair("three_layer", tiny_router("three_layer", R"(, "n_group": 3, "topk_group": 2)")),
                    std::pair("confidence", tiny_router("confidence", R"(, "router_confidence": 0.8, "num_experts_per_tok": 4)")),
                    std::pair("expert_attention", tiny_router("confidence", R"(, "router_confidence": 0.8, "num_experts_per_tok": 4,
                              "router_expert_attention": true, "n_group": 2)")),
                    std::pair("expert_attention_deepseek", tiny_deepseek(R"(, "architectures": ["DsForCausalLM"], "model_type": "ds",
                              "base_model_type": "deepseek_v3", "router_expert_attention": true)")),
                    std::pair("block_sparse", tiny_pattern(kSparseKeys)), std::pair("local_global", tiny_pattern(kLocalHeadsKeys)),
                    std::pair("learned", tiny_pattern(kLearnedKeys)), std::pair("pooled", tiny_pattern(kPooledKeys)),
                    std::pair("compressed", tiny_pattern(kCompressedKeys)),
                    std::pair("olmoe", tiny_llama(R"(, "architectures": ["OlmoeForCausalLM"], "num_experts": 6,
                              "num_experts_per_tok": 2)"))),
    [](const auto& info) { return info.param.first; });

TEST(HeadBackward, TakesTheLogitsWhereTheyAreCapped) {
  Arena arena;
  const Config config = tiny(tiny_gemma(R"(, "final_logit_softcapping": 30)"));
  Weights weights = make_weights(config, arena), grads = make_weights(config, arena);
  const Tensor normed = arena.make(DType::f32, {3, 24}), dnormed = arena.make(DType::f32, {3, 24}), dlogits = arena.make(DType::f32, {3, 61});
  EXPECT_THROW(head_backward(config, weights, normed, dlogits, dnormed, grads), Error);
}

// ---- Against transformers ----

Json reference() { return parse_json_file(DS_SOURCE_DIR "/tests/model/data/gradients.json"); }
std::vector<std::string> reference_names() {
  std::vector<std::string> all;
  const Json json = reference();
  for (const Json& one : json.find("cases")->items) all.push_back(one.find("name")->text);
  return all;
}

// The loss of a training step on documents packed in one batch, and its gradients.
struct Step {
  Arena arena;
  Weights weights, grads;
  double loss = 0;

  Step(const Config& config, const std::vector<std::vector<int32_t>>& documents) {
    weights = make_weights(config, arena);
    grads = make_weights(config, arena);
    make_values(config, weights);
    TokenBatch batch;
    std::vector<int32_t> targets;
    for (size_t d = 0; d < documents.size(); ++d) {
      append(batch, static_cast<int32_t>(d), 0, documents[d]);
      targets.insert(targets.end(), documents[d].begin() + 1, documents[d].end());
      targets.push_back(-1);
    }
    const auto count = static_cast<int64_t>(targets.size());
    const auto shares = static_cast<float>(count - static_cast<int64_t>(documents.size()));
    Activations acts;
    acts.keep_all = true;
    KvCache cache(config, static_cast<int64_t>(documents.size()), 64, {.use = CacheUse::training});
    forward(config, weights, batch, cache, acts);
    const Tensor logits = arena.make(DType::f32, {count, config.vocab_size}), dlogits = arena.make(DType::f32, {count, config.vocab_size});
    const Tensor losses = arena.make(DType::f32, {count}), shared = arena.make(DType::f32, {count});
    const Tensor dnormed = arena.make(DType::f32, {count, config.hidden_size});
    const Tensor wanted = make_tensor(targets.data(), DType::i32, {count});
    head(config, weights, acts.final_normed, logits);
    cross_entropy(logits, wanted, losses);
    for (int64_t t = 0; t < count; ++t) loss += static_cast<double>(losses.f32()[t]) / static_cast<double>(shares);
    fill(shared, 1 / shares);
    cross_entropy_backward(logits, wanted, shared, dlogits);
    head_backward(config, weights, acts.final_normed, dlogits, dnormed, grads, logits);
    Arena scratch;
    backward(config, weights, batch, cache, acts, dnormed, {}, grads, scratch);
  }
};

// The norm of a gradient, and its products with vectors of signs, as gradients.py has them.
std::vector<double> sums_of(const WeightInfo& info, const Tensor& gradient, size_t count) {
  std::vector<double> sums(count);
  const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, each = gradient.elements() / experts;
  for (int64_t e = 0; e < experts; ++e)
    for (size_t j = 0; j < count; ++j)
      for (int64_t i = 0; i < each; ++i) {
        const double g = gradient.f32()[e * each + i];
        if (j == 0) sums[j] += g * g;
        else sums[j] += value_of(cat(expert_name(info, e), "#", j - 1), static_cast<uint64_t>(i)) < 0 ? -g : g;
      }
  sums[0] = std::sqrt(sums[0]);
  return sums;
}

class ReferenceGradient : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, ReferenceGradient, testing::ValuesIn(reference_names()), [](const auto& i) { return i.param; });

TEST_P(ReferenceGradient, IsThatOfTransformers) {
  const Json all = reference();
  std::vector<std::vector<int32_t>> documents;
  for (const Json& one : all.find("documents")->items) documents.push_back(ids(one));
  for (const Json& one : all.find("cases")->items) {
    if (one.find("name")->text != GetParam()) continue;
    const Config config = parse_config(*one.find("config"), GetParam());
    Step step(config, documents);
    const double loss = one.find("loss")->as_double("loss");
    EXPECT_NEAR(step.loss, loss, 1e-5 * loss);
    const Json& gradients = *one.find("gradients");
    double worst = 0;
    size_t checked = 0;
    for_each_weight(config, step.grads, [&](const WeightInfo& info, Tensor& g) {
      if (!info.trained) return;
      const Json* const stored = gradients.find(info.name);
      ASSERT_TRUE(stored) << info.name;
      std::vector<double> want;
      for (const Json& v : stored->items) want.push_back(v.as_double(info.name));
      const std::vector<double> got = sums_of(info, g, want.size());
      double square = 0;
      for (size_t j = 1; j < want.size(); ++j) square += (got[j] - want[j]) * (got[j] - want[j]) / static_cast<double>(want.size() - 1);
      const double error = std::max(std::sqrt(square), std::abs(got[0] - want[0])) / want[0];
      if (is_idle(config, info)) {
        EXPECT_LT(got[0], 1e-6) << info.name;
      } else {
        EXPECT_LT(error, 1e-4) << info.name;
        worst = std::max(worst, error);
      }
      ++checked;
    });
    EXPECT_EQ(checked, gradients.members.size());
    std::printf("%-12s loss %.2e, worst gradient %.2e relative\n", GetParam().c_str(), std::abs(step.loss / loss - 1), worst);
  }
}

}  // namespace
}  // namespace ds
