// The one decoder: embedding, blocks of (norm, attention, norm, feed-forward), norm, head. Training and inference run
// the same forward; shapes as in tensor/ops.h (T rows of a batch, H hidden, E experts).
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/kv_cache.h"
#include "tensor/ops.h"
#include "tensor/tensor.h"

namespace ds {

// Weights of a block; those that an architecture lacks are empty. Gradients and optimizer moments have the same struct.
struct LayerWeights {
  Tensor input_norm, input_norm_bias;                      // [H]; biases of norms: LayerNorm
  // MLA. Without q_lora_rank, q_proj instead of q_a, q_a_norm, q_b.
  Tensor q_a_proj, q_a_norm, q_b_proj;                     // [q_lora, H], [q_lora], [heads * head_dim, q_lora]
  Tensor kv_a_proj, kv_a_norm, kv_b_proj;                  // [kv_lora + rope, H], [kv_lora], [heads * (nope + v), kv_lora]
  Tensor q_a_bias, kv_a_bias;                              // as many as rows of their matrices
  // The two halves of kv_b_proj as matrices of each head, made by split_latent: [heads, kv_lora, nope], [heads, v, kv_lora].
  Tensor absorbed_k, absorbed_v;
  // Multi-head.
  Tensor q_proj, k_proj, v_proj;                           // [heads * head_dim, H], [kv_heads * head_dim, H] twice
  Tensor q_bias, k_bias, v_bias, o_bias;                   // as many as rows of their matrices
  Tensor q_norm, k_norm;                                   // [head_dim] each, or of all heads together
  Tensor o_proj;                                           // [H, heads * v_head_dim]
  PatternWeights pattern;                                  // as vectors (tensor/ops.h)
  Tensor attention_out_norm, mlp_out_norm;                 // [H], of what attention and feed-forward add: with post_norms
  Tensor post_attention_norm, post_attention_norm_bias;    // [H], before the feed-forward
  Tensor gate_proj, up_proj, down_proj;                    // dense: [I, H], [I, H], [H, I]; no gate where it is not gated
  Tensor gate_bias, up_bias, down_bias;
  Tensor router, router_bias;                              // [E, H], [E] (no gradient: it is balanced, not learned)
  Tensor router_state;                                     // [E], no gradient either: adaptive's load, three_layer's factor
  Tensor group_gate;                                       // [n_group, H], of a router in three layers
  Tensor experts_gate, experts_up, experts_down;           // [E, I, H], [E, I, H], [E, H, I]; a fallback expert is one more
  Tensor expert_attention;                                 // [1], with router_expert_attention
  Tensor shared_gate, shared_up, shared_down;              // [I_s, H], [I_s, H], [H, I_s]
};
struct Weights {
  Tensor embed_tokens;                                     // [V, H]
  Tensor embed_positions;                                  // [max_position_embeddings, H]: learned positions
  std::vector<LayerWeights> layers;
  Tensor final_norm, final_norm_bias;                      // [H]
  Tensor lm_head;                                          // [V, H]; embed_tokens itself where tied
};

// A head for multi-token prediction: one block more, which makes of a token's final_normed and of the token after it a
// guess of the token after that one (mtp.h). Embedding and lm_head are the model's.
struct MtpWeights {
  Tensor embed_norm, hidden_norm;                          // [H]: enorm, hnorm
  Tensor projection;                                       // [H, 2H]: eh_proj
  LayerWeights block;
  Tensor final_norm;                                       // [H]: shared_head.norm
};

// One weight as checkpoints name it (but for those of GPT-2: architecture.h, StoredWeight). `name` of experts has "{}" for
// the expert's number: files hold one matrix each.
// `fallback_name` is that of the last one's matrix, where it is no numbered one.
struct WeightInfo {
  std::string name;
  std::vector<int64_t> shape;
  int64_t layer = -1;       // -1: outside the blocks
  bool linear = false;      // a matrix product inside the blocks: what quantization covers
  bool trained = true;      // false: router_bias, router_state
  std::string fallback_name = {};
};
// Calls visit(info, tensor) for every weight of the config, in one fixed order. The one table of names and shapes:
// loading, saving, initialising, optimising and quantizing all go through it.
// weights.layers gets its size. Where the head is tied, lm_head is not visited, and is set to embed_tokens at the end.
void for_each_weight(const Config& config, Weights& weights, const std::function<void(const WeightInfo&, Tensor&)>& visit);
// The same for a head for multi-token prediction: the layer after the last, and what belongs to it.
void for_each_weight(const Config& config, MtpWeights& weights, const std::function<void(const WeightInfo&, Tensor&)>& visit);
// The name of one expert's matrix: the "{}" replaced by its number, or the fallback's.
std::string expert_name(const WeightInfo& info, int64_t expert);

// Weights of zeros in f32 (gradients, moments), in the arena.
Weights make_weights(const Config& config, Arena& arena);
// Initial values: normal(0, initializer_range) for matrices, 1 for norms and factors, 0 for biases and expert_attention,
// equal shares for a load; from (seed, name) alone.
void initialize(const Config& config, Weights& weights, uint64_t seed);

// Makes absorbed_k and absorbed_v of every layer of an MLA model from kv_b_proj, packed, in its dtype (f16 where it is
// quantized), so that forward need not make them anew for each batch with generated tokens. Does nothing without MLA.
void split_latent(const Config& config, std::span<LayerWeights> layers, Arena& arena);

// A loaded checkpoint.
struct Model {
  Config config;
  Weights weights;
  std::optional<MtpWeights> mtp;                           // where it was asked for
  Arena arena;
  std::map<std::string, std::string> metadata;             // of the file, ds.history included
  bool int8_activations = false;                           // some products round activations to 8 bits (cpu/int8_gemm.h)
};
// Whether products by q4 and q8 weights round activations: where the checkpoint is one of that kind (W8A8), nowhere, or
// everywhere. `int8` for a model that has no such weights is an Error.
enum class ActivationRounding : uint8_t { as_stored, none, int8 };
struct LoadOptions {
  Device device = Device::cpu;
  bool pack = false;        // panels, for inference; else rows in f32, for training and quantization
  ActivationRounding rounding = ActivationRounding::as_stored;  // with pack
  bool mtp = false;         // the head for multi-token prediction too (the first where there are more); Error where there is none
  std::string merge_adapter = {};  // a folder (lora.h) whose products are added to the weights; Error where those are quantized
};
// Reads a folder of safetensors, or a .gguf file: binds every weight by name, dtype and shape. A missing one is an Error
// that lists near names; one left over is an Error too (multi-token-prediction layers are skipped and said so). Packed,
// weights keep their dtype, and quantized ones their integers and scales (q4, q8, f8_e4m3); else all is f32 rows. A tied
// embedding is there once: packed, its rows are looked up in the head's panels, as are those of a quantized one.
Model load_model(const std::string& folder, const LoadOptions& options = {});
// Writes config.json and model.safetensors with `weights` (f32 rows) converted to dtype (norms too; router_bias and
// router_state stay f32), names and layouts as the architecture has them.
void save_model(const Config& config, Weights& weights, const std::string& folder, DType dtype,
                const std::map<std::string, std::string>& metadata, bool durable = false);

// A LoRA adapter (lora.h): of a matrix W it makes W + b a. Its tensors have the places that those of the model's matrices
// have; the others are empty.
struct Adapter {
  std::string name;
  Weights a, b;             // f32: [r, K] and [N, r] for a matrix [N, K]; [E, r, K] and [E, N, r] for experts. b has the scale in it
  Arena arena;
};

// Rows of tokens, each with a sequence (an index into the pages' table) and a position in it.
// `generated` says of each row whether its token was sampled by the model (1) or given (0); empty: all were given. Latent
// attention computes the two in different forms, which round differently, so what a token is decides, never the schedule.
// `adapters` has for each row the number of the adapter that it goes through, -1 for none; empty: none does. A row without
// one has the bits that it has where there are no adapters.
struct TokenBatch {
  std::vector<int32_t> tokens, sequences, positions;
  std::vector<uint8_t> generated;
  std::vector<int32_t> adapters = {};
};

// What forward leaves for backward, and for whoever looks inside (expert load, calibration).
struct LayerActivations {
  Tensor input, attn_in, q_a, q_a_normed, kv_a, kv_a_normed, kv_b;                               // attention; MLA
  Tensor q_unnormed, k_unnormed;                                                                 // where q and k are normed
  Tensor q_unclipped, k_unclipped, v_unclipped;                                                  // with clip_qkv, in training
  Tensor q, k, v, attn_out, lse;              // q, k after rotation; no kv_b, k, v where the cache is latent
  Tensor attn_added, mlp_added;                                                                  // with post_norms: before them
  Tensor mid, mlp_in, gate, up, act;                                                             // feed-forward, dense or shared
  Tensor logits, scores, indices, weights, offsets, slot_of_row, row_of_slot;                    // router; empty: dense
  Tensor group_logits;                                                                           // three_layer
  Tensor expert_in, expert_gate, expert_up, expert_act, expert_out;                              // rows sorted by expert
  Tensor expert_mixed;                        // expert_out after attention; without it, expert_out itself
};
struct Activations {
  explicit Activations(Device device = Device::cpu) : arena(device) {}
  Arena arena;                          // reset by forward
  bool keep_all = false;                // training: every layer's stay; else layers share their memory,
  float dropout = 0;                    // training: of the embedding and of what each half of a block adds (ops.h),
  uint64_t dropout_seed = 0, dropout_step = 0;  // decided by these, the place in the model,
  int64_t dropout_first_row = 0;        // and the row's number in the whole batch of a step
  DType storage = DType::f32;           // what passes from block to block, and its gradient, is rounded to it
  bool round_cache = false;             // training: keys and values as they come back from a cache of i8
  bool recompute = false;               // with keep_all: of a layer only `input` stays, and backward computes the rest anew
  std::vector<LayerActivations> layers; // and here is only the last one
  Tensor final_input, final_normed;     // [T, H]
  // Called after each block while its activations are there (calibration, expert load); may be empty.
  std::function<void(int64_t layer, const LayerActivations&)> after_layer;
};

// Runs the batch through all blocks: writes its keys and values into the cache, and final_normed[T, H].
// `adapters` are what batch.adapters counts; loaded for AdapterUse::run_time.
void forward(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache, Activations& acts,
             std::span<const Adapter> adapters = {});
// Bytes of `acts` after batches of at most `tokens` rows of at most `sequences` sequences, none longer than `positions`,
// without adapters and keep_all. Latent attention needs the more the longer the sequences are.
uint64_t activation_bytes(const Config& config, int64_t tokens, int64_t sequences, int64_t positions);
// logits[R, V] of some rows of final_normed (all: rows(...)), capped where the config says so.
void head(const Config& config, const Weights& weights, const Tensor& normed, const Tensor& logits);

// What training adds to the router's gradient. (Switch: arXiv 2101.03961, in Megatron's scaling; sequence-wise:
// DeepSeek-V3 report, eq. 17-20.)
struct AuxLoss {
  float router_aux_loss = 0;            // per MoE layer: coef * E * sum_i f_i P_i over the rows of the batch
  float sequence_aux_loss = 0;          // the same within each sequence, f from the top_k of the scores without bias and
                                        // groups (of the new kinds, from the choices); the mean over the sequences
  float router_z_loss = 0;              // per MoE layer: coef * mean of logsumexp(logits)^2, of a gate over groups too
};  // With gradient accumulation, divide all by the number of micro-batches.
// Adds the gradients of all weights to `grads`, given dnormed[T, H] = d loss / d final_normed. Returns the sum of the
// auxiliary losses. `acts` come from a forward with keep_all on the same batch, in which every sequence begins at
// position 0, and the cache is one for training. Weights are f32 rows. What scratch is used for is free again afterwards.
double backward(const Config& config, const Weights& weights, const TokenBatch& batch, KvCache& cache, Activations& acts,
                const Tensor& dnormed, const AuxLoss& aux, Weights& grads, Arena& scratch);
// The head's part: dnormed and the gradient of lm_head from dlogits. Where the config caps logits, `logits` are what head
// gave, and dlogits become the gradient of the uncapped ones; else it may be empty.
void head_backward(const Config& config, const Weights& weights, const Tensor& normed, const Tensor& dlogits,
                   const Tensor& dnormed, Weights& grads, const Tensor& logits = {});

}  // namespace ds
