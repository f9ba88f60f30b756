// Model folders: written and read back, quantized ones, and malformed ones.
#include <cmath>
#include <set>

#include "model/checkpoint.h"

namespace ds {
namespace {

TEST(SaveModel, LoadsAsItWas) {
  for (const std::string& json : {tiny_deepseek(), tiny_deepseek(R"(, "q_lora_rank": null)"), tiny_llama(R"(, "attention_bias": true)"),
                                  tiny_llama(R"(, "tie_word_embeddings": true)"), tiny_gpt2(),
                                  tiny_gpt2(R"(, "tie_word_embeddings": false, "scale_attn_weights": false)")}) {
    Scratch folder;
    Tiny m(json);
    for (LayerWeights& w : m.weights.layers)
      if (w.router_bias) w.router_bias.f32()[1] = 0.123456789f;
    save_model(m.config, m.weights, folder / "m", DType::f32, {{"ds.history", "[1]"}});
    Model rows = load_model(folder / "m"), panels = load_model(folder / "m", {Device::cpu, true});
    same_weights(m.config, m.weights, rows.weights);
    EXPECT_EQ(rows.metadata.at("ds.history"), "[1]");
    EXPECT_EQ(config_json(rows.config, DType::f32), config_json(m.config, DType::f32));
    const std::vector<float> want = logits_of(m.config, m.weights);
    EXPECT_EQ(logits_of(rows.config, rows.weights), want);
    EXPECT_EQ(logits_of(panels.config, panels.weights), want) << "panels";
  }
}

TEST(SaveModel, RoundsToTheDtypeAndKeepsTheBias) {
  Scratch folder;
  Tiny m(tiny_deepseek());
  m.weights.layers[1].router_bias.f32()[0] = 0.123456789f;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    save_model(m.config, m.weights, folder / "m", dtype, {});
    Model loaded = load_model(folder / "m"), panels = load_model(folder / "m", {Device::cpu, true});
    EXPECT_EQ(loaded.weights.layers[1].router_bias.f32()[0], 0.123456789f);
    for (int64_t i = 0; i < m.weights.embed_tokens.elements(); ++i) {
      const float x = m.weights.embed_tokens.f32()[i];
      ASSERT_EQ(loaded.weights.embed_tokens.f32()[i], dtype == DType::bf16 ? bf16_to_f32(f32_to_bf16(x)) : f16_to_f32(f32_to_f16(x)));
    }
    EXPECT_EQ(panels.weights.layers[1].experts_gate.dtype, dtype);
    EXPECT_EQ(panels.weights.layers[1].router.dtype, DType::f32);
    EXPECT_EQ(logits_of(panels.config, panels.weights), logits_of(loaded.config, loaded.weights)) << "widened before or inside";
  }
}

TEST(Initialize, DependsOnSeedAndNameAlone) {
  Tiny a(tiny_deepseek()), b(tiny_deepseek(R"(, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_hidden_layers": 2)"));
  const Tensor x = a.weights.layers[1].experts_up, y = b.weights.layers[1].experts_up;
  EXPECT_EQ(std::memcmp(x.data, y.data, static_cast<size_t>(y.elements()) * 4), 0);
  double sum = 0, squares = 0;
  const int64_t n = a.weights.embed_tokens.elements();
  for (int64_t i = 0; i < n; ++i) sum += a.weights.embed_tokens.f32()[i], squares += std::pow(a.weights.embed_tokens.f32()[i], 2);
  EXPECT_NEAR(sum / n, 0, 0.3 * 4 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 0.3, 0.02);
  EXPECT_EQ(a.weights.final_norm.f32()[3], 1.0f);
  EXPECT_EQ(a.weights.layers[1].router_bias.f32()[3], 0.0f);
}

// ---- Changed files ----

TEST(LoadModel, NamesWhatDoesNotFit) {
  Scratch folder;
  Tiny m(tiny_deepseek());
  const std::string at = folder / "m", name = "model.layers.1.mlp.experts.3.up_proj.weight";
  save_model(m.config, m.weights, at, DType::f32, {});
  const std::vector<Stored> good = read_all(at);
  const auto find = [&](std::vector<Stored>& all) { return std::find_if(all.begin(), all.end(), [&](const Stored& t) { return t.name == name; }); };

  std::vector<Stored> bad = good;
  bad.erase(find(bad));
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), name + " is missing")) << load_error(at);
  EXPECT_TRUE(contains(load_error(at), "near names: model.layers.1.mlp.experts.0.up_proj.weight")) << load_error(at);

  bad = good;
  std::swap(find(bad)->shape[0], find(bad)->shape[1]);
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), name + " has the shape [24, 9], and config.json makes it [9, 24]")) << load_error(at);

  bad = good;
  find(bad)->dtype = DType::i32;
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), name + " is i32")) << load_error(at);

  bad = good;
  bad.push_back({"model.layers.1.mlp.experts.8.up_proj.weight", DType::f32, {2}, std::string(8, '\0')});
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), "experts.8.up_proj.weight does not belong")) << load_error(at);

  write_all(at, good);
  write_file(at + "/config.json", config_json(tiny(tiny_deepseek(R"(, "num_hidden_layers": 4096)")), DType::f32));
  EXPECT_TRUE(contains(load_error(at), "model.layers.3.input_layernorm.weight is missing")) << load_error(at);
  EXPECT_TRUE(contains(load_error(folder / "none"), "none is not a model folder")) << load_error(folder / "none");
}

TEST(LoadModel, SkipsPredictionLayers) {
  Scratch folder;
  const std::string at = folder / "m";
  Tiny m(tiny_deepseek());
  save_model(m.config, m.weights, at, DType::f32, {});
  std::vector<Stored> all = read_all(at);
  all.push_back({"model.layers.3.eh_proj.weight", DType::f32, {2}, std::string(8, '\0')});
  write_all(at, all);
  EXPECT_TRUE(contains(load_error(at), "eh_proj.weight does not belong")) << load_error(at);
  write_file(at + "/config.json", tiny_deepseek(R"(, "num_nextn_predict_layers": 1)"));
  Model loaded = load_model(at);
  same_weights(m.config, m.weights, loaded.weights);
  save_model(loaded.config, loaded.weights, at, DType::f32, {});  // without them
  EXPECT_EQ(load_config(at).num_nextn_predict_layers, 0);
}

// Multimodal files have the text model under a prefix, and other parts beside it; embedding models leave "model." out.
TEST(LoadModel, FindsTheTextModelUnderPrefixes) {
  Scratch folder;
  const std::string at = folder / "m";
  const std::string gemma = tiny_llama(R"(, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "sliding_window": 16, "sliding_window_pattern": 2)");
  for (const auto& [json, prefix, ignored] : {std::tuple{gemma, "language_model.model.", "vision_tower.x"}, {gemma, "model.language_model.", "model.vision_tower.x"},
                                     {tiny_llama(R"(, "tie_word_embeddings": true)"), "", ""}}) {
    Tiny m(json);
    save_model(m.config, m.weights, at, DType::f32, {});
    std::vector<Stored> all = read_all(at);
    for (Stored& t : all)
      if (t.name.starts_with("model.")) t.name = prefix + t.name.substr(6);
    if (*ignored) all.push_back({ignored, DType::f32, {1}, std::string(4, '\0')});
    write_all(at, all);
    Model loaded = load_model(at);
    same_weights(m.config, m.weights, loaded.weights);
    all.push_back({"stray.weight", DType::f32, {1}, std::string(4, '\0')});
    write_all(at, all);
    EXPECT_TRUE(contains(load_error(at), "stray.weight does not belong")) << load_error(at);
  }
}

// GPT-2's files: q, k and v beside each other, matrices as [inputs, outputs]; older ones without "transformer.", with masks.
TEST(LoadModel, ReadsGpt2AsItsFilesHaveIt) {
  Scratch folder;
  const std::string at = folder / "m";
  Tiny m(tiny_gpt2());
  for (LayerWeights& w : m.weights.layers)
    for (const Tensor& t : {w.q_bias, w.k_bias, w.v_bias, w.input_norm_bias})
      for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(Rng{8, 8}.normal(static_cast<uint64_t>(i)));
  save_model(m.config, m.weights, at, DType::f32, {});
  const std::vector<Stored> good = read_all(at);
  std::set<std::string> names;
  for (const Stored& t : good) names.insert(t.name);
  EXPECT_EQ(names.size(), 4u + 2 * 12);
  const auto find = [](std::vector<Stored> all, const std::string& name) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const Stored& t) { return t.name == name; });
    return found == all.end() ? Stored{} : *found;
  };
  const Stored joined = find(good, "transformer.h.1.attn.c_attn.weight"), bias = find(good, "transformer.h.1.attn.c_attn.bias");
  ASSERT_EQ(joined.shape, (std::vector<int64_t>{24, 72}));
  ASSERT_EQ(bias.shape, (std::vector<int64_t>{72}));
  const LayerWeights& w = m.weights.layers[1];
  const auto* const values = reinterpret_cast<const float*>(joined.bytes.data());
  for (int64_t in = 0; in < 24; ++in)
    for (int64_t out = 0; out < 24; ++out) {
      ASSERT_EQ(values[in * 72 + out], w.q_proj.f32()[out * 24 + in]);
      ASSERT_EQ(values[in * 72 + 48 + out], w.v_proj.f32()[out * 24 + in]);
    }
  EXPECT_EQ(reinterpret_cast<const float*>(bias.bytes.data())[24 + 5], w.k_bias.f32()[5]);
  EXPECT_EQ(find(good, "transformer.h.0.mlp.c_fc.weight").shape, (std::vector<int64_t>{24, 29}));
  EXPECT_EQ(find(good, "transformer.wpe.weight").shape, (std::vector<int64_t>{128, 24}));

  std::vector<Stored> old = good;
  for (Stored& t : old) t.name = t.name.substr(std::string("transformer.").size());
  old.push_back({"h.0.attn.bias", DType::f32, {1, 1, 2, 2}, std::string(16, '\0')});
  old.push_back({"h.0.attn.masked_bias", DType::f32, {1}, std::string(4, '\0')});
  write_all(at, old);
  Model loaded = load_model(at);
  same_weights(m.config, m.weights, loaded.weights);

  std::vector<Stored> bad = good;
  for (Stored& t : bad)
    if (t.name == joined.name) std::swap(t.shape[0], t.shape[1]);
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), "h.1.attn.c_attn.weight has the shape [72, 24], and config.json makes it [24, 72]")) << load_error(at);
  std::erase_if(bad, [&](const Stored& t) { return t.name == joined.name; });
  write_all(at, bad);
  EXPECT_TRUE(contains(load_error(at), "the weight transformer.h.1.attn.c_attn.weight is missing")) << load_error(at);
  write_all(at, good);
  std::string config = config_json(m.config, DType::f32);
  config.insert(config.rfind('}'), R"(, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 8, "desc_act": false, "sym": true})");
  write_file(at + "/config.json", config);
  EXPECT_TRUE(contains(load_error(at), "quantized files of a GPT2LMHeadModel are not supported")) << load_error(at);
}

// transformers 5 keeps experts in one tensor, the rows of gate before those of up.
TEST(LoadModel, ReadsJoinedExperts) {
  Scratch folder;
  const std::string at = folder / "m";
  Tiny m(tiny_deepseek());
  save_model(m.config, m.weights, at, DType::bf16, {});
  Model want = load_model(at);
  std::vector<Stored> joined;
  std::vector<Stored> all = read_all(at);
  const auto bytes = [&](const std::string& name) {
    return std::find_if(all.begin(), all.end(), [&](const Stored& t) { return t.name == name; })->bytes;
  };
  for (const Stored& t : all)
    if (!contains(t.name, "mlp.experts.")) joined.push_back(t);
  for (const char* layer : {"model.layers.1.mlp.experts.", "model.layers.2.mlp.experts."}) {
    std::string gate_up, down;
    for (int e = 0; e < 8; ++e) {
      gate_up += bytes(cat(layer, e, ".gate_proj.weight")) + bytes(cat(layer, e, ".up_proj.weight"));
      down += bytes(cat(layer, e, ".down_proj.weight"));
    }
    joined.push_back({cat(layer, "gate_up_proj"), DType::bf16, {8, 18, 24}, gate_up});
    joined.push_back({cat(layer, "down_proj"), DType::bf16, {8, 24, 9}, down});
  }
  write_all(at, joined);
  Model got = load_model(at);
  same_weights(want.config, want.weights, got.weights);
}

// ---- AWQ ----

// A DeepSeek-V3 whose linear layers are 4-bit in AutoAWQ's layout, from random numbers; its weights by the formula.
TEST(Awq, ReadsExpertsAsTheFormulaSays) {
  const std::string json = tiny_deepseek(R"(, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
    "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "intermediate_size": 32, "moe_intermediate_size": 16,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 8, "zero_point": true, "version": "gemm"})");
  Tiny m(json);
  Scratch folder;
  const std::string at = folder / "m";
  save_model(m.config, m.weights, at, DType::f16, {});
  write_file(at + "/config.json", json);
  static constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

  std::vector<Stored> out;
  std::map<std::string, std::vector<float>> want;
  for (const Stored& t : read_all(at)) {
    const bool linear = contains(t.name, "_proj") && t.shape.size() == 2;
    if (!linear) {
      out.push_back(t);
      continue;
    }
    const int64_t n = t.shape[0], k = t.shape[1], groups = k / 8;
    const Rng rng{8, std::hash<std::string>{}(t.name)};
    std::vector<int> q(n * k), z(n * groups);
    std::vector<uint16_t> scales(groups * n);
    for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<int>(rng.below(i, 16));
    for (size_t i = 0; i < z.size(); ++i) z[i] = static_cast<int>(rng.below(i + 100000, 16));
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = f32_to_f16(0.02f + 0.03f * static_cast<float>(rng.uniform(i + 200000)));
    std::vector<uint32_t> qweight(k * n / 8), qzeros(groups * n / 8);
    for (int64_t row = 0; row < k; ++row)
      for (int64_t j = 0; j < n; ++j) {
        const int nibble = static_cast<int>(std::find(kOrder, kOrder + 8, j % 8) - kOrder);
        qweight[row * (n / 8) + j / 8] |= static_cast<uint32_t>(q[j * k + row]) << (4 * nibble);
        if (row < groups) qzeros[row * (n / 8) + j / 8] |= static_cast<uint32_t>(z[j * groups + row]) << (4 * nibble);
      }
    std::vector<float>& w = want[t.name];
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i)
        w.push_back(static_cast<float>(q[j * k + i] - z[j * groups + i / 8]) * f16_to_f32(scales[i / 8 * n + j]));
    const std::string base = t.name.substr(0, t.name.size() - 7);
    const auto raw = [](const auto& v) { return std::string(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(v[0])); };
    out.push_back({base + ".qweight", DType::i32, {k, n / 8}, raw(qweight)});
    out.push_back({base + ".qzeros", DType::i32, {groups, n / 8}, raw(qzeros)});
    out.push_back({base + ".scales", DType::f16, {groups, n}, raw(scales)});
  }
  write_all(at, out);

  Model rows = load_model(at), panels = load_model(at, {Device::cpu, true});
  EXPECT_EQ(rows.config.quantization.group_size, 8);
  size_t seen = 0;
  for_each_weight(rows.config, rows.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, each = t.elements() / experts;
    for (int64_t e = 0; e < experts; ++e, ++seen) {
      const std::vector<float>& w = want.at(expert_name(info, e));
      ASSERT_EQ(static_cast<int64_t>(w.size()), each);
      EXPECT_EQ(std::memcmp(w.data(), t.f32() + e * each, w.size() * 4), 0) << expert_name(info, e);
    }
  });
  EXPECT_EQ(seen, want.size());
  EXPECT_EQ(panels.weights.layers[1].experts_down.dtype, DType::q4);
  EXPECT_EQ(panels.weights.layers[0].kv_b_proj.dtype, DType::q4);
  // Products with 4-bit panels sum integers and scale the sums, so they round elsewhere than those with f32 rows.
  const std::vector<float> near = logits_of(panels.config, panels.weights), exact = logits_of(rows.config, rows.weights);
  ASSERT_EQ(near.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(near[i], exact[i], 2e-5 * (1 + std::fabs(exact[i]))) << i;

  // Dequantized weights are saved as ordinary ones.
  save_model(rows.config, rows.weights, at, DType::f32, {});
  EXPECT_EQ(load_config(at).quantization.bits, 0);
  Model again = load_model(at);
  same_weights(rows.config, rows.weights, again.weights);
}

}  // namespace
}  // namespace ds
