#include "model/load_gguf.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "model/architecture.h"
#include "model/binder.h"

namespace ds {

namespace {

// The names of a block's weights: how for_each_weight has them after "model.layers.N.", and how the file has them after
// "blk.N.", both without ".weight" or ".bias".
struct NameRow {
  std::string_view ours, theirs;
};
constexpr NameRow kNames[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
    {"enorm", "nextn.enorm"},
    {"hnorm", "nextn.hnorm"},
    {"eh_proj", "nextn.eh_proj"},
    {"shared_head.norm", "nextn.shared_head_norm"},
};

class GgufSource : public WeightSource {
 public:
  GgufSource(const std::string& path, const Config& config)
      : config_(config), names_(architecture_of(config).names), file_(path), arch_(file_.string_or("general.architecture", "")) {
    used_.insert("rope_freqs.weight");  // part of the config
  }

  void read_vector(const WeightInfo& info, float* out) override {
    const GgufTensor& t = need(stored_name(info), info.shape);
    dequantize_gguf(t, 0, info.shape[0], out);
    // Gemma's norms multiply by 1 + w, and the file has that sum.
    if (arch_ == "gemma3" && info.name.ends_with("norm.weight"))
      for (int64_t i = 0; i < info.shape[0]; ++i) out[i] -= 1;
    if (const int64_t heads = rotated_heads(info)) {
      const std::vector<float> stored(out, out + info.shape[0]);
      for (int64_t i = 0; i < info.shape[0]; ++i) out[i] = stored[static_cast<size_t>(stored_row(i, heads, info.shape[0]))];
    }
  }

  void read_matrix(const WeightInfo& info, int64_t expert, StoredMatrix& m) override {
    m.n = info.shape[info.shape.size() - 2], m.k = info.shape.back();
    m.values = {};
    const std::string name = stored_name(info);
    m.name = cat(file_.path(), ": ", name);
    if (info.name.ends_with("kv_b_proj.weight") && !file_.find(name)) return read_latent(info, m);
    if (info.shape.size() == 2) return read_rows(need(name, info.shape), 0, rotated_heads(info), m);
    if (file_.find(name)) return read_rows(need(name, info.shape), expert * m.n, 0, m);
    read_other_experts(info, expert, m);
  }

  void check_left_over() const override {
    int64_t skipped = 0;
    for (const GgufTensor& t : file_.tensors()) {
      if (used_.contains(t.name)) continue;
      bool prediction = false;
      for (int64_t i = 0; i < config_.num_nextn_predict_layers; ++i)
        prediction |= t.name.starts_with(cat("blk.", config_.num_hidden_layers + i, "."));
      skipped += prediction && !t.name.ends_with(".nextn.embed_tokens.weight") && !t.name.ends_with(".nextn.shared_head_head.weight");
      require(prediction, file_.path(), ": the weight ", shown(t.name), " does not belong to a ", config_.architecture, " with these metadata");
    }
    if (skipped) info(file_.path(), ": skipped ", skipped, " weights of multi-token-prediction layers");
  }
  std::map<std::string, std::string> metadata() const override { return {}; }

 private:
  std::string stored_name(const WeightInfo& info) const {
    if (info.layer < 0) {
      const bool embedding = info.name == "model.embed_tokens.weight", head = info.name == "lm_head.weight";
      return embedding ? "token_embd.weight" : head ? "output.weight" : "output_norm.weight";
    }
    const std::string prefix = cat("model.layers.", info.layer, "."), block = cat("blk.", info.layer, ".");
    const std::string_view rest = std::string_view(info.name).substr(prefix.size());
    if (rest == names_.router) return block + "ffn_gate_inp.weight";
    if (rest == "mlp.gate.e_score_correction_bias") return block + "exp_probs_b.bias";
    if (rest.find("{}") != std::string_view::npos) return cat(block, expert_part(info), "_exps.weight");
    const size_t dot = rest.rfind('.');
    const std::string_view module = rest.substr(0, dot), kind = rest.substr(dot);
    if (module == "post_attention_layernorm") return cat(block, arch_ == "gemma3" ? "post_attention_norm" : "ffn_norm", kind);
    for (const NameRow& row : kNames)
      if (row.ours == module) return cat(block, row.theirs, kind);
    fail(file_.path(), ": no name in a GGUF file is known for the weight ", info.name);
  }

  // ffn_gate, ffn_up or ffn_down of experts.
  std::string_view expert_part(const WeightInfo& info) const {
    const auto is = [&](std::string_view part) { return info.name.ends_with(cat("{}.", part, ".weight")); };
    return is(names_.gate) ? "ffn_gate" : is(names_.up) ? "ffn_up" : "ffn_down";
  }

  const GgufTensor& need(const std::string& name, const std::vector<int64_t>& shape) {
    const GgufTensor* t = file_.find(name);
    if (!t) {
      std::vector<std::string> all;
      for (const GgufTensor& other : file_.tensors()) all.push_back(other.name);
      fail(file_.path(), ": the weight ", name, " is missing; near names: ", near_names(name, all));
    }
    require(t->shape == shape, file_.path(), ": ", name, " has the shape ", shape_text(t->shape), ", and the metadata make it ",
            shape_text(shape));
    used_.insert(name);
    return *t;
  }

  // In files of the architecture "llama" the rows of q and k are in the order in which ggml rotates: pairs side by side,
  // where ours has halves. The number of heads whose rows have to be put back in order; else 0.
  int64_t rotated_heads(const WeightInfo& info) const {
    if (arch_ != "llama") return 0;
    if (info.name.find("self_attn.q_proj.") != std::string::npos) return config_.num_attention_heads;
    return info.name.find("self_attn.k_proj.") != std::string::npos ? config_.num_key_value_heads : 0;
  }
  static int64_t stored_row(int64_t row, int64_t heads, int64_t rows) {
    if (heads == 0) return row;
    const int64_t d = rows / heads, within = row % d;
    return row - within + within % (d / 2) * 2 + within / (d / 2);
  }

  // Rows [first, first + n) of a tensor of two or three dimensions.
  void read_rows(const GgufTensor& t, int64_t first, int64_t heads, StoredMatrix& m) const {
    const int64_t group = gguf_group_values(t.type);
    const size_t row_bytes = t.data.size() / static_cast<size_t>(t.shape.size() == 3 ? t.shape[0] * t.shape[1] : t.shape[0]);
    m.stored = t.data.substr(static_cast<size_t>(first) * row_bytes, static_cast<size_t>(m.n) * row_bytes);
    if (group == 0) return read_numbers(t, first, heads, m);
    const bool halves = t.type == GgufType::q2_k || t.type == GgufType::q3_k;
    const bool four = halves || t.type == GgufType::q4_0 || t.type == GgufType::q4_1 || t.type == GgufType::q4_k;
    const bool large_blocks = gguf_block_values(t.type) == 256;
    m.dtype = four ? DType::q4 : DType::q8;
    const bool mins = gguf_has_mins(t.type);
    m.format = {m.dtype, group, large_blocks ? DType::f32 : DType::f16, four && !mins, mins};
    const uint8_t zero = t.type == GgufType::q4_0 ? 8 : t.type == GgufType::q3_k ? 4 : 0;
    const int64_t groups = m.groups();
    m.value_memory.resize(static_cast<size_t>(m.n * m.k));
    m.scales.resize(static_cast<size_t>(m.n * groups));
    m.mins.resize(m.scales.size());
    parallel_for(static_cast<size_t>(m.n), 16, [&](size_t begin, size_t end) {
      for (auto row = static_cast<int64_t>(begin); row < static_cast<int64_t>(end); ++row) {
        uint8_t* const values = m.value_memory.data() + row * m.k;
        split_gguf(t, (first + stored_row(row, heads, m.n)) * m.k, m.k, reinterpret_cast<int8_t*>(values),
                   m.scales.data() + row * groups, m.mins.data() + row * groups);
        if (zero)
          for (int64_t i = 0; i < m.k; ++i) values[i] = static_cast<uint8_t>(values[i] + zero);
      }
    });
    if (!mins) m.mins.clear();
    m.zeros.assign(m.format.zeros ? m.scales.size() : 0, zero);
    m.values = m.value_memory;
    check_scales(m);
  }

  void read_numbers(const GgufTensor& t, int64_t first, int64_t heads, StoredMatrix& m) const {
    m.dtype = t.type == GgufType::f32 ? DType::f32 : t.type == GgufType::f16 ? DType::f16 : DType::bf16;
    const size_t row_bytes = static_cast<size_t>(m.k * gguf_block_bytes(t.type));
    m.data = t.data.data() + static_cast<size_t>(first) * row_bytes;
    if (heads == 0) return;
    m.memory.resize(static_cast<size_t>(m.n) * row_bytes);
    for (int64_t row = 0; row < m.n; ++row)
      std::memcpy(m.memory.data() + static_cast<size_t>(row) * row_bytes, m.data + static_cast<size_t>(stored_row(row, heads, m.n)) * row_bytes, row_bytes);
    m.data = m.memory.data();
  }

  // kv_b_proj from its two parts: keys [heads, kv_lora, nope] (transposed for the absorbed form), values [heads, v, kv_lora].
  void read_latent(const WeightInfo& info, StoredMatrix& m) {
    const int64_t heads = config_.num_attention_heads, nope = config_.qk_nope_head_dim, v = config_.v_head_dim, rank = m.k;
    const std::string block = cat("blk.", info.layer, ".");
    const GgufTensor& keys = need(block + "attn_k_b.weight", {heads, rank, nope});
    const GgufTensor& values = need(block + "attn_v_b.weight", {heads, v, rank});
    m.dtype = DType::f32;
    m.memory.resize(static_cast<size_t>(m.n * m.k) * sizeof(float));
    m.data = m.memory.data();
    float* const out = reinterpret_cast<float*>(m.memory.data());
    std::vector<float> transposed(static_cast<size_t>(rank * nope));
    for (int64_t h = 0; h < heads; ++h) {
      float* const head = out + h * (nope + v) * rank;
      dequantize_gguf(keys, h * rank * nope, rank * nope, transposed.data());
      for (int64_t i = 0; i < nope; ++i)
        for (int64_t r = 0; r < rank; ++r) head[i * rank + r] = transposed[static_cast<size_t>(r * nope + i)];
      dequantize_gguf(values, h * v * rank, v * rank, head + nope * rank);
    }
  }

  // Experts as other versions of the tools write them: gate and up joined, or a tensor for each expert.
  void read_other_experts(const WeightInfo& info, int64_t expert, StoredMatrix& m) {
    const std::string_view part = expert_part(info);
    const std::string block = cat("blk.", info.layer, "."), joined = block + "ffn_gate_up_exps.weight";
    const bool up = part == "ffn_up";
    if (part != "ffn_down" && file_.find(joined))
      return read_rows(need(joined, {info.shape[0], 2 * m.n, m.k}), (2 * expert + up) * m.n, 0, m);
    const std::string single = cat(block, part, ".", expert, ".weight");
    if (file_.find(single)) return read_rows(need(single, {m.n, m.k}), 0, 0, m);
    need(stored_name(info), info.shape);
  }

  const Config& config_;
  const ExpertNames& names_;
  GgufFile file_;
  const std::string arch_;
  std::set<std::string> used_;
};

}  // namespace

std::unique_ptr<WeightSource> open_gguf(const std::string& path, const Config& config) {
  return std::make_unique<GgufSource>(path, config);
}

}  // namespace ds
