// LoRA adapters against PEFT 0.21.2 with transformers 5.24 and torch 2.15, f32, eager attention: data/adapters.json has the
// config.json of tiny models, adapter_config.json, the matrices that are adapted ([N, K, r] each) and the logits of a few
// rows. The weights are made from their names, there and here by one formula; those of an adapter from the module's name
// and ".lora_A" or ".lora_B".
#include "model/lora.h"

#include <functional>

#include "base/parallel.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "tensor/quantized.h"

namespace ds {
namespace {

const Json& reference() {
  static const Json json = parse_json_file(DS_SOURCE_DIR "/tests/model/data/adapters.json");
  return json;
}
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Json& one : reference().find("cases")->items) all.push_back(one.find("name")->text);
  return all;
}
void append_json(const Json& json, JsonWriter& w) {
  switch (json.type) {
    case Json::Type::null: w.null(); break;
    case Json::Type::boolean: w.value(json.boolean); break;
    case Json::Type::string: w.value(json.text); break;
    case Json::Type::number: w.raw(json.text); break;
    case Json::Type::array:
      w.open('[');
      for (const Json& item : json.items) append_json(item, w);
      w.close();
      break;
    case Json::Type::object:
      w.open('{');
      for (const auto& [key, value] : json.members) append_json(value, w.key(key));
      w.close();
  }
}

// The files of a case's adapter, which a test may change before they are written.
struct AdapterFiles {
  std::string config;
  std::vector<Stored> tensors;

  void write(const std::string& folder) const {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/adapter_config.json") << config;
    std::vector<TensorToWrite> out;
    for (const Stored& t : tensors) out.push_back({t.name, t.dtype, t.shape, [&t]() -> std::string_view { return t.bytes; }});
    write_safetensors(folder + "/adapter_model.safetensors", out, {});
  }
};

struct Case {
  Config config;
  AdapterFiles files;
  std::vector<int32_t> tokens = ids(*reference().find("ids")), rows = ids(*reference().find("rows"));
  std::vector<std::vector<float>> logits;
  Arena arena;
  Weights weights;
  Scratch scratch;

  explicit Case(const std::string& name) {
    for (const Json& one : reference().find("cases")->items)
      if (one.find("name")->text == name) {
        config = parse_config(*one.find("config"), name);
        JsonWriter w;
        append_json(*one.find("adapter_config"), w);
        files.config = w.text;
        for (const auto& [module, sizes] : one.find("modules")->members) add_pair(module, ids(sizes));
        for (const Json& row : one.find("logits")->items) logits.push_back(floats(row));
      }
    weights = make_weights(config, arena);
    make_values(config, weights);
  }
  void add_pair(const std::string& module, const std::vector<int32_t>& n_k_r) {
    const int64_t n = n_k_r[0], k = n_k_r[1], r = n_k_r[2];
    for (const auto& [half, shape] : {std::pair{".lora_A", std::vector{r, k}}, std::pair{".lora_B", std::vector{n, r}}}) {
      std::string bytes;
      for (int64_t i = 0; i < shape[0] * shape[1]; ++i) {
        const auto x = static_cast<float>(value_of(module + half, static_cast<uint64_t>(i)));
        bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
      }
      files.tensors.push_back({"base_model.model." + module + half + ".weight", DType::f32, shape, bytes});
    }
  }
  Adapter adapter(AdapterUse use = AdapterUse::run_time) const {
    files.write(scratch / "adapter");
    return load_adapter(scratch / "adapter", config, use);
  }
  std::string error() const {
    try {
      adapter();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  void expect(const std::vector<float>& got, float within, const char* how) const {
    const auto vocab = static_cast<size_t>(config.vocab_size);
    for (size_t r = 0; r < rows.size(); ++r)
      for (size_t v = 0; v < vocab; ++v)
        ASSERT_NEAR(got[static_cast<size_t>(rows[r]) * vocab + v], logits[r][v], within) << how << ", row " << rows[r] << ", " << v;
  }
};

// The logits of sequences in one cache, five tokens given and then one by one, all of them side by side. Each sequence goes
// through its adapter, -1 for none.
std::vector<std::vector<float>> run(const Config& config, const Weights& weights, const std::vector<std::vector<int32_t>>& sequences,
                                    const std::vector<int32_t>& choices, std::span<const Adapter> adapters) {
  KvCache cache(config, static_cast<int64_t>(sequences.size()), 64);
  Activations acts;
  Arena arena;
  std::vector<std::vector<float>> all(sequences.size());
  size_t longest = 0;
  for (const auto& tokens : sequences) longest = std::max(longest, tokens.size());
  for (size_t from = 0, count = 5; from < longest; from += count, count = 1) {
    TokenBatch batch;
    std::vector<size_t> of_row;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const size_t end = std::min(from + count, sequences[s].size());
      if (from >= end) continue;
      append(batch, static_cast<int32_t>(s), static_cast<int32_t>(from), {sequences[s].begin() + from, sequences[s].begin() + end});
      of_row.resize(batch.tokens.size(), s);
    }
    batch.generated.assign(of_row.size(), from > 0);
    if (!adapters.empty())
      for (const size_t s : of_row) batch.adapters.push_back(choices[s]);
    forward(config, weights, batch, cache, acts, adapters);
    arena.reset();
    const Tensor logits = arena.make(DType::f32, {acts.final_normed.rows(), config.vocab_size});
    head(config, weights, acts.final_normed, logits);
    for (size_t t = 0; t < of_row.size(); ++t) {
      const float* const row = logits.f32() + t * static_cast<size_t>(config.vocab_size);
      all[of_row[t]].insert(all[of_row[t]].end(), row, row + config.vocab_size);
    }
  }
  return all;
}

class LoraCase : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, LoraCase, testing::ValuesIn(names()), [](const auto& i) { return i.param; });

TEST_P(LoraCase, GivesTheLogitsOfPeft) {
  const Case c(GetParam());
  const Adapter adapter = c.adapter();
  c.expect(run(c.config, c.weights, {c.tokens}, {0}, {&adapter, 1})[0], 1e-4f, "at run time");
  // All rows at once are given ones, which latent attention computes in its other form.
  TokenBatch batch;
  append(batch, 0, 0, c.tokens);
  batch.adapters.assign(c.tokens.size(), 0);
  KvCache cache(c.config, 1, 64);
  Activations acts;
  forward(c.config, c.weights, batch, cache, acts, {&adapter, 1});
  Arena arena;
  const Tensor logits = arena.make(DType::f32, {acts.final_normed.rows(), c.config.vocab_size});
  head(c.config, c.weights, acts.final_normed, logits);
  c.expect({logits.f32(), logits.f32() + logits.elements()}, 1e-4f, "in one batch");
}

void expect_merged_alike(Case& c) {
  const Adapter adapter = c.adapter();
  const std::vector<float> at_run_time = run(c.config, c.weights, {c.tokens}, {0}, {&adapter, 1})[0];
  save_model(c.config, c.weights, c.scratch / "base", DType::f32, {});
  for (const bool pack : {false, true}) {
    const Model merged = load_model(c.scratch / "base", {.pack = pack, .merge_adapter = c.scratch / "adapter"});
    const std::vector<float> got = run(merged.config, merged.weights, {c.tokens}, {}, {})[0];
    ASSERT_EQ(got.size(), at_run_time.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], at_run_time[i], 1e-5f) << i;
  }
}

TEST_P(LoraCase, MergedIsTheSameButForRounding) {
  Case c(GetParam());
  expect_merged_alike(c);
}

// Matrices that no case of PEFT's has: it fuses these with the experts. One expert of four, of another rank.
TEST(Lora, SharedExpertsRouterAndOneExpertMerged) {
  Case c("deepseek_v3_mla");
  const std::string mlp = "model.layers.1.mlp.";
  c.files.config.insert(1, R"("rank_pattern": {"experts.2.up_proj": 5}, )");
  for (const auto& [module, sizes] : {std::pair{"shared_experts.gate_proj", std::vector{9, 16, 3}}, {"shared_experts.up_proj", {9, 16, 3}},
                                      {"shared_experts.down_proj", {16, 9, 3}}, {"gate", {4, 16, 3}}, {"experts.2.up_proj", {9, 16, 5}}, {"experts.0.up_proj", {9, 16, 3}}})
    c.add_pair(mlp + module, sizes);
  const Adapter adapter = c.adapter();
  for (const auto of : {&LayerWeights::shared_gate, &LayerWeights::shared_up, &LayerWeights::shared_down, &LayerWeights::router, &LayerWeights::experts_up})
    EXPECT_TRUE(adapter.b.layers[1].*of);
  EXPECT_FALSE(adapter.b.layers[1].experts_gate);
  expect_merged_alike(c);
}

// Sequences with this adapter, with another one, and without, side by side: each has the bits that it has alone, and the
// one without an adapter those that it has where there is none; on one thread as on all, with packed weights too.
TEST_P(LoraCase, ASequenceDoesNotDependOnThoseBesideIt) {
  Case c(GetParam());
  std::vector<Adapter> adapters;
  adapters.push_back(c.adapter());
  for (Stored& t : c.files.tensors)
    for (size_t i = 0; i + 4 <= t.bytes.size(); i += 4) {
      const auto x = static_cast<float>(value_of(t.name + " of another", i));
      std::memcpy(t.bytes.data() + i, &x, 4);
    }
  adapters.push_back(c.adapter());
  const std::vector<std::vector<int32_t>> sequences = {c.tokens, tokens_of(9, 1, 32), tokens_of(11, 2, 32), tokens_of(7, 3, 32), tokens_of(12, 4, 32)};
  const std::vector<int32_t> choices = {0, -1, 1, 0, -1};
  save_model(c.config, c.weights, c.scratch / "base", DType::f32, {});
  const Model packed = load_model(c.scratch / "base", {.pack = true});
  const auto together = run(packed.config, packed.weights, sequences, choices, adapters);
  for (const int threads : {1, 0}) {
    set_threads(threads);
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_EQ(run(packed.config, packed.weights, {sequences[s]}, {choices[s]}, adapters)[0], together[s]) << s;
      if (choices[s] == -1) {
        EXPECT_EQ(run(packed.config, packed.weights, {sequences[s]}, {}, {})[0], together[s]) << s;
      } else {
        EXPECT_NE(run(packed.config, packed.weights, {sequences[s]}, {}, {})[0], together[s]) << s;
      }
    }
  }
  set_threads(0);
}

// A base in 8 bits and the floats that its integers stand for give the same with an adapter, but for rounding.
TEST(Lora, GoesWithQuantizedWeights) {
  Case c("llama_all_linear");
  const Adapter adapter = c.adapter();
  Arena arena;
  Weights quantized;
  for_each_weight(c.config, c.weights, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    const int64_t n = t.shape[0], k = t.shape[1];
    for (int64_t i = 0; i < n * k; ++i) t.f32()[i] = std::nearbyint(t.f32()[i] * 200) / 256;
  });
  quantized = c.weights;
  for_each_weight(c.config, quantized, [&](const WeightInfo& info, Tensor& t) {
    if (!info.linear) return;
    std::vector<uint8_t> values;
    for (int64_t i = 0; i < t.elements(); ++i) values.push_back(static_cast<uint8_t>(static_cast<int8_t>(t.f32()[i] * 256)));
    const std::vector<float> scales(static_cast<size_t>(t.shape[0]), 1.0f / 256);
    const Tensor q = make_quantized(arena, 0, t.shape[0], t.shape[1], {.dtype = DType::q8, .group_size = t.shape[1]});
    set_quantized(q, {values, scales, {}, {}});
    t = q;
  });
  const auto floats = run(c.config, c.weights, {c.tokens}, {0}, {&adapter, 1})[0], integers = run(c.config, quantized, {c.tokens}, {0}, {&adapter, 1})[0];
  for (size_t i = 0; i < floats.size(); ++i) ASSERT_NEAR(integers[i], floats[i], 1e-5f);
  EXPECT_NE(integers, run(c.config, quantized, {c.tokens}, {}, {})[0]);
}

// ---- What is refused ----

std::string error_with(const std::string& name, const std::function<void(AdapterFiles&)>& spoil) {
  Case c(name);
  spoil(c.files);
  return c.error();
}
std::string error_with_key(const std::string& key_and_value) {
  return error_with("llama_q_v", [&](AdapterFiles& f) { f.config.insert(1, key_and_value + ", "); });
}

TEST(Lora, SettingsThatChangeTheResultAreNamed) {
  EXPECT_EQ(error_with_key(R"("use_qalora": false)"), "no error");
  EXPECT_EQ(error_with_key(R"("init_lora_weights": "gaussian", "modules_to_save": [], "loftq_config": {}, "qalora_group_size": 16)"), "no error");
  for (const char* const key : {R"("use_dora": true)", R"("modules_to_save": ["lm_head"])", R"("fan_in_fan_out": true)", R"("lora_bias": true)",
                                R"("target_parameters": ["mlp.experts.down_proj"])", R"("trainable_token_indices": [1])", R"("layer_replication": [[0, 1]])",
                                R"("init_lora_weights": "pissa")", R"("alora_invocation_tokens": [3])", R"("new_in_peft_9": 1)",
                                R"("rank_pattern": {".*q_proj": 4})", R"("alpha_pattern": {"q_proj": 0})"}) {
    const std::string error = error_with_key(key);
    EXPECT_TRUE(contains(error, std::string(key).substr(1, std::string(key).find('"', 1) - 1))) << key << ": " << error;
  }
  for (const auto& [what, with] : {std::pair{R"("bias": "none")", R"("bias": "all")"}, std::pair{R"("LORA")", R"("IA3")"}}) {
    const std::string error = error_with("llama_q_v", [&](AdapterFiles& f) { f.config.replace(f.config.find(what), std::strlen(what), with); });
    EXPECT_TRUE(contains(error, "supported")) << error;
  }
}

TEST(Lora, TensorsThatDoNotFitAreNamed) {
  const std::string q = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
  EXPECT_TRUE(contains(error_with_key(R"("rank_pattern": {"layers.0.self_attn.q_proj": 3})"), "q_proj.lora_A.weight has the shape [4, 16]"));
  const auto at = [](AdapterFiles& f, const std::string& name) -> Stored& {
    return *std::find_if(f.tensors.begin(), f.tensors.end(), [&](const Stored& t) { return t.name == name; });
  };
  EXPECT_TRUE(contains(error_with("llama_q_v", [&](AdapterFiles& f) { at(f, q + "B.weight").shape = {32, 2}; }), "lora_B.weight has the shape [32, 2]"));
  EXPECT_TRUE(contains(error_with("llama_q_v", [&](AdapterFiles& f) { at(f, q + "B.weight").name = q + "C.weight"; }), "has no lora_B"));
  EXPECT_TRUE(contains(error_with("llama_q_v", [&](AdapterFiles& f) {
    for (const char* const half : {"A.weight", "B.weight"}) at(f, q + half).name = "base_model.model.model.layers.2.self_attn.q_proj.lora_" + std::string(half);
  }), "layers.2.self_attn.q_proj.lora_A.weight does not belong"));
  EXPECT_TRUE(contains(error_with("llama_q_v", [&](AdapterFiles& f) { f.tensors.clear(); }), "no tensors"));
  Case c("llama_q_v");
  EXPECT_TRUE(contains(c.error(), "no error"));
  std::filesystem::remove(c.scratch / "adapter/adapter_model.safetensors");
  EXPECT_THROW(load_adapter(c.scratch / "adapter", c.config, AdapterUse::run_time), Error);
}

// kv_b_proj of latent attention is not multiplied by as it is, and the head not by row: they can be merged only.
TEST(Lora, SomeMatricesCanBeMergedOnly) {
  for (const auto& [module, n, k] : {std::tuple{"model.layers.0.self_attn.kv_b_proj", 26, 10}, std::tuple{"lm_head", 32, 16}}) {
    Case c("deepseek_v3_mla");
    c.add_pair(module, {n, k, 3});
    EXPECT_TRUE(contains(c.error(), module)) << c.error();
    EXPECT_TRUE(contains(c.error(), "merge")) << c.error();
    const Adapter adapter = c.adapter(AdapterUse::merge);
    EXPECT_TRUE(module == std::string("lm_head") ? adapter.b.lm_head : adapter.b.layers[0].kv_b_proj);
  }
}

TEST(Lora, MergingIntoQuantizedWeightsIsAnError) {
  DS_NEEDS_FIXTURE("llama_awq");
  const Config config = load_config(fixture("llama_awq"));
  Scratch scratch;
  AdapterFiles files{R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2})", {}};
  const int64_t n = config.num_attention_heads * config.head_dim, k = config.hidden_size;
  files.tensors = {{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", DType::f32, {2, k}, std::string(static_cast<size_t>(2 * k) * 4, '\0')},
                   {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", DType::f32, {n, 2}, std::string(static_cast<size_t>(2 * n) * 4, '\0')}};
  files.write(scratch / "adapter");
  try {
    load_model(fixture("llama_awq"), {.pack = true, .merge_adapter = scratch / "adapter"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), "quantized")) << error.what();
  }
}

TEST(Lora, NumbersOfAdaptersAreChecked) {
  const Case c("llama_q_v");
  const Adapter adapter = c.adapter();
  EXPECT_THROW(run(c.config, c.weights, {c.tokens}, {1}, {&adapter, 1}), Error);
  EXPECT_THROW(run(c.config, c.weights, {c.tokens}, {-2}, {&adapter, 1}), Error);
}

}  // namespace
}  // namespace ds
