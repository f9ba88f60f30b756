#include "quantize/awq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/rng.h"
#include "quantize/quantize.h"
#include "quantize/quantizer.h"

namespace ds {
namespace {

// A small DeepSeek-V3-type model with random weights, a few channels of its norms made large as trained models have them.
Model small_model() {
  Model model;
  model.config = parse_config(parse_json(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 96, "hidden_size": 64,
    "num_hidden_layers": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "num_attention_heads": 2, "num_key_value_heads": 2,
    "q_lora_rank": 64, "kv_lora_rank": 64, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 32, "rope_theta": 10000.0,
    "intermediate_size": 128, "moe_intermediate_size": 64, "n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2, "norm_topk_prob": true, "routed_scaling_factor": 2.0, "hidden_act": "silu",
    "tie_word_embeddings": false, "initializer_range": 0.1, "bos_token_id": 0, "eos_token_id": 1})", "config"), "config");
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, 11);
  for (LayerWeights& layer : model.weights.layers)
    for (const Tensor& norm : {layer.input_norm, layer.post_attention_norm, layer.q_a_norm, layer.kv_a_norm})
      for (int64_t k = 0; k < norm.elements(); k += 9) norm.f32()[k] = 12;
  return model;
}

std::vector<std::vector<int32_t>> token_rows(int count, int length) {
  std::vector<std::vector<int32_t>> out(static_cast<size_t>(count));
  for (size_t r = 0; r < out.size(); ++r)
    for (int i = 0; i < length; ++i) out[r].push_back(static_cast<int32_t>(Rng{2, r}.below(static_cast<uint64_t>(i), 96)));
  return out;
}

std::vector<float> logits_of(Model& model, const std::vector<int32_t>& tokens) {
  TokenBatch batch;
  for (size_t i = 0; i < tokens.size(); ++i)
    batch.tokens.push_back(tokens[i]), batch.sequences.push_back(0), batch.positions.push_back(static_cast<int32_t>(i));
  KvCache cache(model.config, 1, static_cast<int64_t>(tokens.size()));
  cache.reserve(0, static_cast<int64_t>(tokens.size()));
  Activations acts;
  forward(model.config, model.weights, batch, cache, acts);
  std::vector<float> out(tokens.size() * 96);
  head(model.config, model.weights, acts.final_normed, make_tensor(out.data(), DType::f32, {static_cast<int64_t>(tokens.size()), 96}));
  return out;
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

TEST(Calibrate, GathersTheInputsOfALayer) {
  Model model = small_model();
  const auto rows_of_tokens = token_rows(2, 20);
  const Calibration calibration = calibrate(model, rows_of_tokens);
  // The first layer's attention reads norm(embedding): computed here by hand.
  const LayerWeights& layer = model.weights.layers[0];
  std::vector<double> gram(64 * 64), abs_sum(64);
  for (const auto& tokens : rows_of_tokens)
    for (const int32_t token : tokens) {
      const float* const x = model.weights.embed_tokens.f32() + token * 64;
      double squares = 0, normed[64];
      for (int k = 0; k < 64; ++k) squares += static_cast<double>(x[k]) * x[k];
      for (int k = 0; k < 64; ++k) normed[k] = x[k] / std::sqrt(squares / 64 + 1e-6) * layer.input_norm.f32()[k], abs_sum[static_cast<size_t>(k)] += std::fabs(normed[k]);
      for (int i = 0; i < 64; ++i)
        for (int j = 0; j < 64; ++j) gram[static_cast<size_t>(i * 64 + j)] += normed[i] * normed[j];
    }
  const InputStats& stats = *calibration.inputs.at(layer.q_a_proj.data);
  EXPECT_EQ(&stats, calibration.inputs.at(layer.kv_a_proj.data));
  EXPECT_EQ(stats.rows, 40);
  for (size_t i = 0; i < gram.size(); ++i) ASSERT_NEAR(stats.gram.f32()[i], gram[i], 1e-3 * (1 + std::fabs(gram[i])));
  for (size_t k = 0; k < 64; ++k) ASSERT_NEAR(stats.abs_sum[k], abs_sum[k], 1e-3 * (1 + abs_sum[k]));
}

// A Gemma 3, whose norms multiply by 1 + w, with the same uneven channels.
Model small_gemma() {
  Model model;
  model.config = parse_config(parse_json(R"({"architectures": ["Gemma3ForCausalLM"], "vocab_size": 96, "hidden_size": 64,
    "num_hidden_layers": 2, "max_position_embeddings": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32,
    "intermediate_size": 128, "initializer_range": 0.1})", "config"), "config");
  model.weights = make_weights(model.config, model.arena);
  initialize(model.config, model.weights, 11);
  for (LayerWeights& layer : model.weights.layers)
    for (const Tensor& norm : {layer.input_norm, layer.post_attention_norm})
      for (int64_t k = 0; k < norm.elements(); k += 9) norm.f32()[k] = 11;
  model.weights.lm_head = model.weights.embed_tokens;
  return model;
}

class AwqScale : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Models, AwqScale, testing::Bool(), [](const auto& i) { return i.param ? "gemma" : "deepseek"; });

TEST_P(AwqScale, ChangesNoResult) {
  Model model = GetParam() ? small_gemma() : small_model();
  const auto tokens = token_rows(1, 30)[0];
  const auto before = logits_of(model, tokens);
  Calibration calibration = calibrate(model, token_rows(6, 48));
  const std::vector<float> norm(model.weights.layers[1].post_attention_norm.f32(), model.weights.layers[1].post_attention_norm.f32() + 64);
  awq_scale(model, calibration, 64);
  EXPECT_NE(norm, (std::vector<float>(model.weights.layers[1].post_attention_norm.f32(), model.weights.layers[1].post_attention_norm.f32() + 64)))
      << "nothing was scaled: the test shows nothing";
  double largest = 0;
  for (const float logit : before) largest = std::max(largest, std::fabs(static_cast<double>(logit)));
  EXPECT_LT(worst_difference(before, logits_of(model, tokens)), 2e-4 * largest);
}

// The mean relative output error over all matrices, rounded as they stand.
double mean_error(Model& model, const Calibration& calibration, const std::vector<std::vector<float>>* against) {
  double sum = 0;
  size_t i = 0;
  const auto measure = [&](const Tensor& w) {
    if (!calibration.inputs.contains(w.data)) return;
    std::vector<float> rounded(static_cast<size_t>(w.elements()));
    const Tensor r = make_tensor(rounded.data(), DType::f32, {w.rows(), w.cols()});
    fake_quantize(w, 64, r);
    Tensor reference = w;
    if (against) reference.data = const_cast<float*>((*against)[i].data());
    sum += relative_output_error(reference, r, *calibration.inputs.at(w.data));
    ++i;
  };
  for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    if (t.rank == 3)
      for (int64_t e = 0; e < t.shape[0]; ++e) measure(item(t, e));
    else
      measure(t);
  });
  return sum / static_cast<double>(i);
}

TEST(Awq, ErrsLessThanRoundingToNearest) {
  Model model = small_model();
  Calibration calibration = calibrate(model, token_rows(8, 48));
  const double rtn = mean_error(model, calibration, nullptr);
  awq_scale(model, calibration, 64);
  const double scaled = mean_error(model, calibration, nullptr);
  std::vector<std::vector<float>> unclipped;
  for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    const int64_t count = t.rank == 3 ? t.shape[0] : 1;
    for (int64_t e = 0; e < count; ++e) {
      const Tensor w = t.rank == 3 ? item(t, e) : t;
      unclipped.emplace_back(w.f32(), w.f32() + w.elements());
    }
  });
  awq_clip(model, calibration, 64);
  const double clipped = mean_error(model, calibration, &unclipped);
  EXPECT_LT(scaled, 0.9 * rtn);
  EXPECT_LT(clipped, scaled);
  EXPECT_GT(clipped, 0);
}

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ds-quantize-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(QuantizeFolder, LoadsAsTheRoundedWeights) {
  const Folder folder;
  Model model = small_model();
  const std::string full = (folder.path / "full").string(), small = (folder.path / "small").string();
  save_model(model.config, model.weights, full, DType::f32, {});
  Report report;
  quantize({.model = full, .output = small, .method = "rtn", .calibration = {}, .group_size = 64}, report);
  Model rows = load_model(small), packed = load_model(small, {.pack = true});
  std::vector<float> rounded(static_cast<size_t>(model.weights.layers[1].experts_down.elements()));
  const Tensor& down = model.weights.layers[1].experts_down;
  for (int64_t e = 0; e < down.shape[0]; ++e) {
    const Tensor w = item(down, e);
    fake_quantize(w, 64, make_tensor(rounded.data() + e * w.elements(), DType::f32, {w.rows(), w.cols()}));
  }
  const Tensor& loaded = rows.weights.layers[1].experts_down;
  EXPECT_EQ(rounded, (std::vector<float>(loaded.f32(), loaded.f32() + loaded.elements())));
  // The 4-bit kernel multiplies with the same numbers, but scales the sums of groups and not each of them.
  const auto tokens = token_rows(1, 20)[0];
  EXPECT_LT(worst_difference(logits_of(rows, tokens), logits_of(packed, tokens)), 1e-4) << "more than roundings (as many as AwqScale sees)";
  EXPECT_FALSE(std::filesystem::exists(small + ".tmp"));
}

TEST(QuantizeFolder, RefusesWhatDoesNotFit) {
  const Folder folder;
  Model model = small_model();
  const std::string full = (folder.path / "full").string();
  save_model(model.config, model.weights, full, DType::f32, {});
  Report report;
  EXPECT_THROW(quantize({.model = full, .output = full, .method = "rtn", .group_size = 64}, report), Error);
  EXPECT_THROW(quantize({.model = full, .output = full + "q", .method = "rtn", .group_size = 48}, report), Error);
  EXPECT_THROW(quantize({.model = full, .output = full + "q", .method = "awq", .group_size = 64}, report), UsageError);
  EXPECT_THROW(quantize({.model = full, .output = full + "q", .method = "rtn", .group_size = 64, .bits = 3}, report), UsageError);
  EXPECT_FALSE(std::filesystem::exists(full + "q"));
}

}  // namespace
}  // namespace ds
