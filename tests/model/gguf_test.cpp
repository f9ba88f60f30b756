// Models in GGUF files, written here as llama.cpp's converter writes them, and read back.
#include <cmath>
#include <functional>
#include <numeric>

#include "io/gguf.h"
#include "model/checkpoint.h"
#include "model/mtp_checkpoint.h"
#include "tensor/cpu/gemm.h"

namespace ds {
namespace {

// A file by hand: keys in order, tensors with their data.
struct GgufWriter {
  std::string keys, header, data;
  uint64_t key_count = 0, tensor_count = 0;
  template <class T>
  static void put(std::string& to, T value) { to.append(reinterpret_cast<const char*>(&value), sizeof value); }
  static void put_string(std::string& to, const std::string& text) {
    put<uint64_t>(to, text.size());
    to += text;
  }
  void key(const std::string& name, uint32_t type) { put_string(keys, name), put(keys, type), ++key_count; }
  void integer(const std::string& name, uint32_t value) { key(name, 4), put(keys, value); }
  void real(const std::string& name, float value) { key(name, 6), put(keys, value); }
  void flag(const std::string& name, bool value) { key(name, 7), put<uint8_t>(keys, value); }
  void string(const std::string& name, const std::string& value) { key(name, 8), put_string(keys, value); }
  void strings(const std::string& name, const std::vector<std::string>& values) {
    key(name, 9), put<uint32_t>(keys, 8), put<uint64_t>(keys, values.size());
    for (const std::string& value : values) put_string(keys, value);
  }
  void integers(const std::string& name, const std::vector<int32_t>& values) {
    key(name, 9), put<uint32_t>(keys, 5), put<uint64_t>(keys, values.size());
    for (const int32_t value : values) put(keys, value);
  }
  void tensor(const std::string& name, std::vector<int64_t> shape, GgufType type, const std::string& bytes) {
    put_string(header, name);
    put(header, static_cast<uint32_t>(shape.size()));
    std::reverse(shape.begin(), shape.end());
    for (const int64_t n : shape) put<uint64_t>(header, static_cast<uint64_t>(n));
    put(header, static_cast<uint32_t>(type));
    data.resize((data.size() + 31) / 32 * 32);
    put<uint64_t>(header, data.size());
    data += bytes;
    ++tensor_count;
  }
  void floats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    tensor(name, shape, GgufType::f32, std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4));
  }
  std::string bytes() const {
    std::string all = "GGUF";
    put<uint32_t>(all, 3), put(all, tensor_count), put(all, key_count);
    all += keys + header;
    all.resize((all.size() + 31) / 32 * 32);
    return all + data;
  }
};

std::vector<float> values_of(const Tensor& t) { return {t.f32(), t.f32() + t.elements()}; }

// The rows of each head as llama.cpp's converter puts them for "llama": row i and row i + d / 2 side by side.
std::vector<float> pair_up(const std::vector<float>& w, int64_t heads, int64_t rows) {
  const int64_t cols = static_cast<int64_t>(w.size()) / rows, d = rows / heads;
  std::vector<float> out(w.size());
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < d / 2; ++i)
      for (int64_t half = 0; half < 2; ++half)
        std::copy_n(&w[(h * d + half * d / 2 + i) * cols], cols, &out[(h * d + 2 * i + half) * cols]);
  return out;
}

void common_keys(GgufWriter& out, const std::string& arch, const Config& c) {
  const auto n = [](int64_t value) { return static_cast<uint32_t>(value); };
  out.string("general.architecture", arch);
  out.integer(arch + ".block_count", n(c.num_hidden_layers));
  out.integer(arch + ".context_length", n(c.max_position_embeddings));
  out.integer(arch + ".embedding_length", n(c.hidden_size));
  out.integer(arch + ".feed_forward_length", n(c.intermediate_size));
  out.integer(arch + ".attention.head_count", n(c.num_attention_heads));
  out.integer(arch + ".attention.head_count_kv", n(c.is_mla() ? 1 : c.num_key_value_heads));
  out.real(arch + ".attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  out.real(arch + ".rope.freq_base", static_cast<float>(c.rope_theta));
  out.integer("tokenizer.ggml.eos_token_id", 7);
  out.integer("tokenizer.ggml.eot_token_id", 9);
  out.integer("tokenizer.ggml.eom_token_id", 9);
  // Ends that no key names: a control token is one by its text, and a token of the text is none.
  std::vector<std::string> tokens;
  std::vector<int32_t> types(12, 1);
  for (int id = 0; id < 12; ++id) tokens.push_back(cat("token", id));
  tokens[3] = "<end_of_turn>", types[3] = 3, tokens[5] = "</s>", tokens[6] = "<|im_start|>", types[6] = 3;
  out.strings("tokenizer.ggml.tokens", tokens);
  out.integers("tokenizer.ggml.token_type", types);
}

// Every weight of a model under llama.cpp's name; `change` may give other numbers.
template <class W>  // Weights or MtpWeights
void put_weights(GgufWriter& out, const Config& config, W& weights, const std::map<std::string, std::string>& names,
                 const std::function<std::vector<float>(const WeightInfo&, std::vector<float>)>& change) {
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    const std::string prefix = cat("model.layers.", info.layer, ".");
    const std::string rest = info.layer < 0 ? info.name : info.name.substr(prefix.size());
    const auto found = names.find(rest);
    if (found == names.end()) return;
    out.floats((info.layer < 0 ? "" : cat("blk.", info.layer, ".")) + found->second, info.shape, change(info, values_of(t)));
  });
}

const std::map<std::string, std::string> kCommon = {
    {"model.embed_tokens.weight", "token_embd.weight"}, {"model.norm.weight", "output_norm.weight"}, {"lm_head.weight", "output.weight"},
    {"input_layernorm.weight", "attn_norm.weight"}, {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"}, {"self_attn.k_proj.weight", "attn_k.weight"}, {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"}, {"self_attn.k_proj.bias", "attn_k.bias"}, {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.o_proj.weight", "attn_output.weight"}, {"mlp.gate_proj.weight", "ffn_gate.weight"}, {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"}};

std::map<std::string, std::string> with(std::map<std::string, std::string> names, const std::map<std::string, std::string>& more) {
  names.insert(more.begin(), more.end());
  return names;
}
std::vector<float> unchanged(const WeightInfo&, std::vector<float> values) { return values; }

// All weights and logits as those of the folder, as rows and as panels.
void expect_same(const std::string& path, Tiny& m) {
  Model rows = load_model(path), panels = load_model(path, {Device::cpu, true});
  same_weights(m.config, m.weights, rows.weights);
  const std::vector<float> want = logits_of(m.config, m.weights);
  EXPECT_EQ(logits_of(rows.config, rows.weights), want);
  EXPECT_EQ(logits_of(panels.config, panels.weights), want);
  EXPECT_EQ(rows.config.eos_token_ids, (std::vector<int32_t>{3, 7, 9}));
}

std::vector<float> paired(const Config& config, const WeightInfo& info, std::vector<float> values) {
  if (contains(info.name, "q_proj")) return pair_up(values, config.num_attention_heads, info.shape[0]);
  if (contains(info.name, "k_proj")) return pair_up(values, config.num_key_value_heads, info.shape[0]);
  return values;
}
std::string write_llama(Tiny& m, const std::function<void(GgufWriter&)>& more = [](GgufWriter&) {}) {
  GgufWriter out;
  common_keys(out, "llama", m.config);
  out.integer("llama.attention.key_length", static_cast<uint32_t>(m.config.head_dim));
  out.integer("llama.attention.value_length", static_cast<uint32_t>(m.config.head_dim));
  more(out);
  put_weights(out, m.config, m.weights, kCommon, [&](const WeightInfo& info, std::vector<float> v) { return paired(m.config, info, std::move(v)); });
  return out.bytes();
}

TEST(GgufModel, LlamaWithPairedRows) {
  Scratch folder;
  for (const char* more : {"", R"(, "tie_word_embeddings": true)"}) {
    Tiny m(tiny_llama(more));
    write_file(folder / "m.gguf", write_llama(m));
    expect_same(folder / "m.gguf", m);
    EXPECT_EQ(load_config(folder / "m.gguf").architecture, "LlamaForCausalLM");
  }
}

// Llama 3's scaling is a tensor of divisors.
TEST(GgufModel, LlamaWithDividedFrequencies) {
  Scratch folder;
  Tiny plain(tiny_llama()), scaled(tiny_llama(R"(, "rope_scaling": {"rope_type": "linear", "factor": 4})"));
  write_file(folder / "m.gguf", write_llama(plain, [](GgufWriter& out) { out.floats("rope_freqs.weight", {3}, {4, 4, 4}); }));
  const Model m = load_model(folder / "m.gguf");
  EXPECT_EQ(logits_of(m.config, m.weights), logits_of(scaled.config, scaled.weights));
  EXPECT_EQ(config_json(tiny(config_json(m.config, DType::f32)), DType::f32), config_json(m.config, DType::f32));
}

TEST(GgufModel, Qwen2WithBiases) {
  Scratch folder;
  Tiny m(tiny_llama(R"(, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "head_dim": null)"));
  Rng rng{4, 4};
  uint64_t at = 0;
  for_each_weight(m.config, m.weights, [&](const WeightInfo& info, Tensor& t) {
    if (info.name.ends_with(".bias"))
      for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.normal(at++));
  });
  GgufWriter out;
  common_keys(out, "qwen2", m.config);
  put_weights(out, m.config, m.weights, kCommon, unchanged);
  write_file(folder / "m.gguf", out.bytes());
  expect_same(folder / "m.gguf", m);
}

const std::map<std::string, std::string> kExperts = {
    {"mlp.gate.weight", "ffn_gate_inp.weight"}, {"mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight"},
    {"mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight"}, {"mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight"}};

TEST(GgufModel, Qwen3Moe) {
  Scratch folder;
  Tiny m(tiny_llama(R"(, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 10, "norm_topk_prob": true)"));
  GgufWriter out;
  common_keys(out, "qwen3moe", m.config);
  out.integer("qwen3moe.attention.key_length", 6);
  out.integer("qwen3moe.attention.value_length", 6);
  out.integer("qwen3moe.expert_count", 6);
  out.integer("qwen3moe.expert_used_count", 2);
  out.integer("qwen3moe.expert_feed_forward_length", 10);
  put_weights(out, m.config, m.weights,
              with(kCommon, with(kExperts, {{"self_attn.q_norm.weight", "attn_q_norm.weight"}, {"self_attn.k_norm.weight", "attn_k_norm.weight"}})), unchanged);
  write_file(folder / "m.gguf", out.bytes());
  expect_same(folder / "m.gguf", m);
}

// kv_b_proj stands in two parts, of which the keys' is transposed.
void put_kv_b(GgufWriter& out, const Config& c, int64_t layer, const Tensor& kv_b_proj) {
  const float* const w = kv_b_proj.f32();
  const int64_t heads = c.num_attention_heads, nope = c.qk_nope_head_dim, v = c.v_head_dim, rank = c.kv_lora_rank;
  std::vector<float> keys, values;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t i = 0; i < nope; ++i) keys.push_back(w[(h * (nope + v) + i) * rank + r]);
    values.insert(values.end(), w + (h * (nope + v) + nope) * rank, w + (h + 1) * (nope + v) * rank);
  }
  out.floats(cat("blk.", layer, ".attn_k_b.weight"), {heads, rank, nope}, keys);
  out.floats(cat("blk.", layer, ".attn_v_b.weight"), {heads, v, rank}, values);
}

// With the head for multi-token prediction as a block more, where there is one.
std::string write_deepseek(Tiny& m, MtpWeights* head) {
  const Config& c = m.config;
  GgufWriter out;
  Config counted = c;
  if (head) ++counted.num_hidden_layers, out.integer("deepseek2.nextn_predict_layers", 1);
  common_keys(out, "deepseek2", counted);
  const auto integer = [&](const char* key, int64_t value) { out.integer(cat("deepseek2.", key), static_cast<uint32_t>(value)); };
  integer("attention.q_lora_rank", c.q_lora_rank), integer("attention.kv_lora_rank", c.kv_lora_rank);
  integer("attention.key_length", c.kv_lora_rank + c.qk_rope_head_dim), integer("attention.value_length", c.kv_lora_rank);
  integer("attention.key_length_mla", c.head_dim), integer("attention.value_length_mla", c.v_head_dim);
  integer("rope.dimension_count", c.qk_rope_head_dim), integer("expert_count", 8), integer("expert_used_count", 3);
  integer("expert_shared_count", 1), integer("expert_feed_forward_length", c.moe_intermediate_size), integer("expert_gating_func", 2);
  integer("leading_dense_block_count", 1), integer("expert_group_count", 4), integer("expert_group_used_count", 2);
  out.real("deepseek2.expert_weights_scale", 2.5f);
  out.flag("deepseek2.expert_weights_norm", true);
  const std::map<std::string, std::string> names = with(
      with(kCommon, kExperts),
      {{"self_attn.q_a_proj.weight", "attn_q_a.weight"}, {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"},
       {"self_attn.q_b_proj.weight", "attn_q_b.weight"}, {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"},
       {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"}, {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
       {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"}, {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"},
       {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"}});
  put_weights(out, c, m.weights, names, unchanged);
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) put_kv_b(out, c, layer, m.weights.layers[static_cast<size_t>(layer)].kv_b_proj);
  if (head) {
    put_weights(out, c, *head, with(names, {{"enorm.weight", "nextn.enorm.weight"}, {"hnorm.weight", "nextn.hnorm.weight"},
                                            {"eh_proj.weight", "nextn.eh_proj.weight"}, {"shared_head.norm.weight", "nextn.shared_head_norm.weight"}}), unchanged);
    put_kv_b(out, c, c.num_hidden_layers, head->block.kv_b_proj);
  }
  return out.bytes();
}

TEST(GgufModel, DeepseekV3) {
  Scratch folder;
  Tiny m(tiny_deepseek());
  write_file(folder / "m.gguf", write_deepseek(m, nullptr));
  expect_same(folder / "m.gguf", m);
}

TEST(GgufModel, DeepseekV3WithItsHead) {
  Scratch folder;
  Tiny m(tiny_deepseek(R"(, "num_nextn_predict_layers": 1)"));
  Arena arena;
  MtpWeights head = make_head(m.config, arena);
  make_values(m.config, head);
  write_file(folder / "m.gguf", write_deepseek(m, &head));
  expect_same(folder / "m.gguf", m);  // without it
  Model model = load_model(folder / "m.gguf", {.mtp = true});
  std::vector<Tensor> got;
  for_each_weight(model.config, *model.mtp, [&](const WeightInfo&, Tensor& t) { got.push_back(t); });
  size_t i = 0;
  for_each_weight(m.config, head, [&](const WeightInfo& info, Tensor& t) { EXPECT_EQ(values_of(got.at(i++)), values_of(t)) << info.name; });
}

// ---- Quantized types ----

// Random blocks with scales of a sensible size.
std::string random_blocks(GgufType type, int64_t count, uint64_t stream) {
  const Rng rng{21, stream};
  std::string bytes;
  uint64_t at = 0;
  const auto half = [&](std::string& block, size_t offset) {
    const uint16_t h = f32_to_f16(static_cast<float>(0.02 * rng.normal(at++)));
    std::memcpy(block.data() + offset, &h, 2);
  };
  for (int64_t i = 0; i < count; ++i) {
    std::string block(static_cast<size_t>(gguf_block_bytes(type)), '\0');
    for (char& c : block) c = static_cast<char>(rng.below(at++, 256));
    const size_t size = block.size();
    if (type == GgufType::q6_k || type == GgufType::q3_k) half(block, size - 2);
    else if (type == GgufType::q2_k) half(block, size - 4), half(block, size - 2);
    else half(block, 0);
    if (type == GgufType::q4_1 || type == GgufType::q5_1 || type == GgufType::q4_k || type == GgufType::q5_k) half(block, 2);
    bytes += block;
  }
  return bytes;
}

struct TypeCase {
  GgufType type;
  DType dtype;
};
// Panels and rows hold exactly what the blocks say, the rows of q and k in our order, and a tied embedding is there once.
TEST(GgufModel, QuantizedTypesExactly) {
  Tiny m(tiny_llama(R"(, "hidden_size": 256, "head_dim": 64, "intermediate_size": 256, "tie_word_embeddings": true)"));
  for (const auto& [type, dtype] : {TypeCase{GgufType::q4_0, DType::q4}, {GgufType::q4_1, DType::q4}, {GgufType::q5_0, DType::q8},
                                    {GgufType::q5_1, DType::q8}, {GgufType::q8_0, DType::q8}, {GgufType::q2_k, DType::q4},
                                    {GgufType::q3_k, DType::q4}, {GgufType::q4_k, DType::q4}, {GgufType::q5_k, DType::q8},
                                    {GgufType::q6_k, DType::q8}, {GgufType::f16, DType::f16}, {GgufType::bf16, DType::bf16}}) {
    GgufWriter out;
    common_keys(out, "llama", m.config);
    std::map<std::string, std::vector<float>> want;
    uint64_t stream = 0;
    for_each_weight(m.config, m.weights, [&](const WeightInfo& info, Tensor& t) {
      const std::string prefix = cat("model.layers.", info.layer, ".");
      const std::string name = (info.layer < 0 ? "" : cat("blk.", info.layer, ".")) + kCommon.at(info.layer < 0 ? info.name : info.name.substr(prefix.size()));
      if (info.shape.size() == 1) return out.floats(name, info.shape, values_of(t));
      std::string bytes;
      if (gguf_block_values(type) > 1) {
        bytes = random_blocks(type, t.elements() / gguf_block_values(type), ++stream);
      } else {
        for (const float x : values_of(t)) GgufWriter::put(bytes, type == GgufType::f16 ? f32_to_f16(x) : f32_to_bf16(x));
      }
      out.tensor(name, info.shape, type, bytes);
      std::vector<float> stored(t.elements());
      dequantize_gguf({name, type, info.shape, bytes}, 0, t.elements(), stored.data());
      // Back to our order: element (row, k) of ours is found where pair_up puts it.
      std::vector<float> row_numbers(info.shape[0]);
      std::iota(row_numbers.begin(), row_numbers.end(), 0.0f);
      const std::vector<float> order = paired(m.config, info, row_numbers);
      std::vector<float>& w = want[info.name];
      w.resize(stored.size());
      for (int64_t at = 0; at < info.shape[0]; ++at)
        std::copy_n(&stored[at * info.shape[1]], info.shape[1], &w[static_cast<int64_t>(order[at]) * info.shape[1]]);
    });
    Scratch folder;
    write_file(folder / "m.gguf", out.bytes());
    Model rows = load_model(folder / "m.gguf"), panels = load_model(folder / "m.gguf", {Device::cpu, true});
    for_each_weight(rows.config, rows.weights, [&](const WeightInfo& info, Tensor& t) {
      if (info.shape.size() != 2) return;
      EXPECT_EQ(values_of(t), want.at(info.name)) << info.name << " " << gguf_type_name(type);
    });
    for_each_weight(panels.config, panels.weights, [&](const WeightInfo& info, Tensor& t) {
      if (info.shape.size() != 2) return;
      EXPECT_EQ(t.dtype, dtype) << gguf_type_name(type);
      std::vector<float> got(t.elements());
      for (int64_t n = 0; n < t.rows(); ++n) cpu::dequantize_row(t, n, got.data() + n * t.cols());
      EXPECT_EQ(got, want.at(info.name)) << info.name << " " << gguf_type_name(type);
    });
    EXPECT_EQ(panels.weights.lm_head.data, panels.weights.embed_tokens.data);
    const std::vector<float> exact = logits_of(rows.config, rows.weights), got = logits_of(panels.config, panels.weights);
    ASSERT_EQ(exact.size(), got.size());
    // Products with panels sum values and scale the sums, so they round elsewhere than those with f32 rows.
    float greatest = 0;
    for (const float one : exact) greatest = std::max(greatest, std::fabs(one));
    for (size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(got[i], exact[i], 1e-4 * greatest) << gguf_type_name(type) << " " << i;
  }
}

// ---- Files that are refused ----

TEST(GgufModel, NamesWhatDoesNotFit) {
  Scratch folder;
  Tiny m(tiny_llama());
  const auto message = [&](const std::string& bytes) {
    write_file(folder / "m.gguf", bytes);
    return load_error(folder / "m.gguf");
  };
  const auto with_keys = [&](const std::function<void(GgufWriter&)>& more) { return message(write_llama(m, more)); };
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.string("llama.rope.scaling.type", "longrope"); }), "longrope"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.integer("llama.rope.dimension_count", 4); }), "llama.rope.dimension_count is 4"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.integer("split.count", 3); }), "one of 3 parts"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.floats("blk.0.mystery", {2}, {1, 2}); }), "blk.0.mystery does not belong"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.floats("rope_freqs.weight", {2}, {1, 2}); }), "factors"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.key("llama.nextn_predict_layers", 5), GgufWriter::put<int32_t>(out.keys, -3); }), "is -3"));
  EXPECT_TRUE(contains(with_keys([](GgufWriter& out) { out.real("llama.rope.scaling.factor", NAN), out.string("llama.rope.scaling.type", "linear"); }), "not finite"));
  GgufWriter mamba;
  mamba.string("general.architecture", "mamba");
  EXPECT_TRUE(contains(message(mamba.bytes()), "\"mamba\"; known are llama"));
  EXPECT_TRUE(contains(message(GgufWriter().bytes()), "general.architecture is missing"));
  GgufWriter bare;
  common_keys(bare, "llama", m.config);
  EXPECT_TRUE(contains(message(bare.bytes()), "token_embd.weight is missing"));
  put_weights(bare, m.config, m.weights, {{"model.embed_tokens.weight", "token_embd.weight"}, {"input_layernorm.weight", "attn_nrm.weight"}}, unchanged);
  EXPECT_TRUE(contains(message(bare.bytes()), "blk.0.attn_norm.weight is missing; near names: blk.0.attn_nrm.weight")) << message(bare.bytes());
  GgufWriter nan;
  common_keys(nan, "llama", m.config);
  std::string block(18, '\x7f');
  nan.tensor("token_embd.weight", {1, 32}, GgufType::q4_0, block);
  EXPECT_TRUE(contains(message(nan.bytes()), "token_embd.weight has the shape [1, 32], and the metadata make it [1, 24]")) << message(nan.bytes());
}

}  // namespace
}  // namespace ds
