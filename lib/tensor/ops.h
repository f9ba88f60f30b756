// Every operation on tensors, declared once, in the order in which a decoder uses them.
//
// Activations are f32; weights ("w") are f32, f16 or bf16, as rows or as packed panels, or quantized; indices are i32. T is the
// number of tokens (rows of a batch), H the hidden size, V the vocabulary, E the experts. x and y of 2-d operations may
// have a row stride. Backward operations ADD to the gradients of weights, and write (or, where said, add to) those of
// activations. Shapes that do not fit are an Error.
//
// cpu::op is the project's own kernel (same bytes for any thread count, batch and vector width); cuda::op runs on the
// device. The device of the first tensor decides. A missing body is a link error.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/tensor.h"

namespace ds {

// DS_OP: on both backends. DS_OP_CPU: on the CPU so far; a CUDA tensor is a clear error.
// The bodies that choose the backend stand in ops.cpp, which includes this list once more with DS_OPS_BODIES.
[[noreturn]] void no_cuda(std::string_view op);  // "built without CUDA" or "not on CUDA yet"
#ifndef DS_OPS_BODIES
#define DS_OP(name, first, params, args) \
  namespace cpu { void name params; }    \
  namespace cuda { void name params; }   \
  void name params;
#define DS_OP_CPU(name, first, params, args) \
  namespace cpu { void name params; }        \
  void name params;
#endif

// ---- Memory ----

// y = x converted element by element between f32, f16 and bf16 (to nearest even). Same shape.
DS_OP(convert, x, (const Tensor& x, const Tensor& y), (x, y))
// x = value, everywhere (f32).
DS_OP(fill, x, (const Tensor& x, float value), (x, value))
// y += x (f32, same shape).
DS_OP(add, x, (const Tensor& x, const Tensor& y), (x, y))
// x *= factor (f32).
DS_OP(scale, x, (const Tensor& x, float factor), (x, factor))

// ---- Linear ----

// y[T, N] = x[T, K] w[N, K]^T; with accumulate y += that.
DS_OP(linear, x, (const Tensor& x, const Tensor& w, const Tensor& y, bool accumulate = false), (x, w, y, accumulate))
// dx[T, K] = dy[T, N] w[N, K]; with accumulate dx += that. w is rows, of f32, f16 or bf16.
DS_OP(linear_backward_input, dy, (const Tensor& dy, const Tensor& w, const Tensor& dx, bool accumulate = false), (dy, w, dx, accumulate))
// dw[N, K] += dy[T, N]^T x[T, K].
DS_OP(linear_backward_weight, dy, (const Tensor& dy, const Tensor& x, const Tensor& dw), (dy, x, dw))
// x[T, N] += bias[N], and dbias[N] += the sum of the rows of dy.
DS_OP_CPU(add_bias, x, (const Tensor& x, const Tensor& bias), (x, bias))
DS_OP_CPU(add_bias_backward, dy, (const Tensor& dy, const Tensor& dbias), (dy, dbias))

// Experts: rows offsets[e] .. offsets[e+1]-1 of x are those of expert e. offsets is i32[E+1] on the host.
// y[R, N] = x[R, K] w[e][N, K]^T, row by row with its expert's matrix of w[E, N, K].
DS_OP_CPU(grouped_linear, x, (const Tensor& x, const Tensor& offsets, const Tensor& w, const Tensor& y), (x, offsets, w, y))
// Some products (at least one) that read nothing of what the others write, in one go: threads wait for each other once,
// not after each of them (q, k and v; gate and up of an expert). y = x w^T as by linear, or where there are offsets as by
// grouped_linear, to the bit.
struct LinearCall {
  Tensor x, w, y, offsets;
};
DS_OP_CPU(linear_all, calls.front().x, (std::span<const LinearCall> calls), (calls))
DS_OP_CPU(grouped_linear_backward_input, dy, (const Tensor& dy, const Tensor& offsets, const Tensor& w, const Tensor& dx, bool accumulate = false), (dy, offsets, w, dx, accumulate))
DS_OP_CPU(grouped_linear_backward_weight, dy, (const Tensor& dy, const Tensor& offsets, const Tensor& x, const Tensor& dw), (dy, offsets, x, dw))

// ---- Embedding ----

// y[T, H] = w[tokens[T]], from rows or panels of any dtype; an id outside [0, V) is an Error.
DS_OP_CPU(embedding, w, (const Tensor& w, const Tensor& tokens, const Tensor& y), (w, tokens, y))
// dw[tokens[t]] += dy[t], in the order of t.
DS_OP_CPU(embedding_backward, dy, (const Tensor& dy, const Tensor& tokens, const Tensor& dw), (dy, tokens, dw))

// ---- Norm ----

// y[t] = x[t] * rsqrt(mean(x[t]^2) + eps) * w (w + 1 where plus_one: Gemma), over the last dimension of x[T, H].
// x may also be [T, heads * H] with w[H]: each head is normalised by itself. w is f32.
DS_OP(rms_norm, x, (const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& y), (x, w, eps, plus_one, y))
// dx (+)= the gradient with respect to x, dw += that with respect to w.
DS_OP(rms_norm_backward, dy, (const Tensor& dy, const Tensor& x, const Tensor& w, float eps, bool plus_one, const Tensor& dx, const Tensor& dw, bool accumulate), (dy, x, w, eps, plus_one, dx, dw, accumulate))

// y[t] = (x[t] - mean(x[t])) / sqrt(var(x[t]) + eps) * w + b over x[T, H], var the mean of squares. (arXiv 1607.06450)
DS_OP_CPU(layer_norm, x, (const Tensor& x, const Tensor& w, const Tensor& b, float eps, const Tensor& y), (x, w, b, eps, y))
// dx (+)= the gradient with respect to x, dw and db += those with respect to w and b.
DS_OP_CPU(layer_norm_backward, dy, (const Tensor& dy, const Tensor& x, const Tensor& w, float eps, const Tensor& dx, const Tensor& dw, const Tensor& db, bool accumulate), (dy, x, w, eps, dx, dw, db, accumulate))

// ---- Position ----

// Rotates, in place, in each head of x[T, heads * head_dim] the columns [offset, offset + 2P) by the angles of the
// row's position: cos, sin are [positions, P], positions is i32[T]. interleaved pairs (0,1),(2,3).. (DeepSeek) or
// halves (i, i+P) (Llama). `inverse` rotates back: it is the backward operation. (RoFormer, arXiv 2104.09864)
struct RopeSpec {
  int head_dim = 0, offset = 0;
  bool interleaved = false, inverse = false;
};
DS_OP(rope, x, (const Tensor& x, const Tensor& positions, const Tensor& cos, const Tensor& sin, const RopeSpec& spec), (x, positions, cos, sin, spec))

// ---- Attention ----

// Keys and values live in pages of kKeyBlock positions, in training as in inference: position p of sequence s is entry
// p % kKeyBlock of page page_table[s][p / kKeyBlock]. Keys are stored transposed, k_pages[P, kv_heads, head_dim,
// kKeyBlock], values as rows, v_pages[P, kv_heads, kKeyBlock, v_head_dim]. Blocks of keys are visited in the order of
// their absolute position, so prefill, chunks and single steps give the same bits.
// Pages are f32, or both i8 with scales in f32, [P, kv_heads, parts, kKeyBlock]: kScaleColumns columns of a key or value
// share one (some columns of keys are far greater than the others, and would take the digits from all of them). A number
// is integer * scale, rounded to f32: attention has the bits that it has over f32 pages of these.
constexpr int kKeyBlock = 32, kScaleColumns = 32;
// The parts of a vector with a scale each. Those of a key are counted from column 0, and from `split` on anew.
constexpr int64_t scale_parts(int64_t columns, int64_t split = 0) {
  return (split + kScaleColumns - 1) / kScaleColumns + (columns - split + kScaleColumns - 1) / kScaleColumns;
}
struct AttentionSpec {
  int heads = 0, kv_heads = 0;       // query head h reads kv head h / (heads / kv_heads)
  int head_dim = 0, v_head_dim = 0;
  float scale = 1;                   // of q.k
  int window = 0;                    // 0: all earlier keys; W: the last W, the row itself included
  int window_kv_heads = 0;           // the window is of the first so many kv heads only, the others see all; 0: of all
  float softcap = 0;                 // 0: none; c: c * tanh(score / c)
  int key_split = 0;                 // of i8 pages: a column at which a part of the key begins
};
// Where each row of a batch stands. i32: sequence[T] (an index into page_table), position[T], page_table[S, pages].
struct Rows {
  Tensor sequence, position, page_table;
};
// Latent attention's keys and values from kv_b[T, heads * (nope + v_head_dim)], which has each head's [k_nope | v], and
// k_rope[T, rope], which all heads share: k[T, heads * (nope + rope)] = [k_nope | k_rope], v[T, heads * v_head_dim].
DS_OP_CPU(assemble_kv, kv_b, (const Tensor& kv_b, const Tensor& k_rope, int heads, const Tensor& k, const Tensor& v), (kv_b, k_rope, heads, k, v))
// dkv_b and dk_rope are written; dk_rope is the sum over the heads in order.
DS_OP_CPU(assemble_kv_backward, dk, (const Tensor& dk, const Tensor& dv, int heads, const Tensor& dkv_b, const Tensor& dk_rope), (dk, dv, heads, dkv_b, dk_rope))
// Writes k[T, kv_heads * head_dim] and v[T, kv_heads * v_head_dim] to the pages of their rows. To i8: a part x of a vector,
// with a = max |x|, becomes x * (127 / a) to the nearest integer, ties to even, and the scale a / 127. Where a < 2^-100
// they are zeros; where x holds an infinity or a NaN the scale is NaN.
DS_OP_CPU(kv_write, k, (const Tensor& k, const Tensor& v, const Rows& at, const AttentionSpec& spec, const Tensor& k_pages, const Tensor& v_pages), (k, v, at, spec, k_pages, v_pages))
// x[T, heads * columns], in place, as it comes back from i8 pages, heads by themselves, `split` as of kv_write's keys: training
// with a rounded cache (its gradient passes straight through).
DS_OP_CPU(kv_round, x, (const Tensor& x, int columns, int split), (x, columns, split))
// out[T, heads * v_head_dim] = causal softmax(scale q k^T) v for q[T, heads * head_dim]; lse[T, heads] (may be empty)
// gets the log of each row's softmax denominator, which backward needs.
DS_OP_CPU(attention, q, (const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Rows& at, const AttentionSpec& spec, const Tensor& out, const Tensor& lse), (q, k_pages, v_pages, at, spec, out, lse))
// dq, dk, dv are written. The rows of a sequence must lie together in the batch, from position 0 on. Pages are f32.
DS_OP_CPU(attention_backward, dout, (const Tensor& dout, const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Rows& at, const AttentionSpec& spec, const Tensor& out, const Tensor& lse, const Tensor& dq, const Tensor& dk, const Tensor& dv), (dout, q, k_pages, v_pages, at, spec, out, lse, dq, dk, dv))

// ---- Attention patterns ----

// Which keys a row sees where that is neither all nor the last of them, and what becomes of its scores, for multi-head
// attention: a general path beside `attention`, whose cost is that of the keys visited (docs/attention.md). What a row sees
// depends on its position, and in lsh on its vectors, alone, so prefill, chunks and single steps give the same bits here too.
// With a row in block b (of kKeyBlock positions), of the keys up to its own it sees
//   all           what AttentionSpec says: those of the window
//   block_sparse  the blocks b, b-1, .. (local_blocks of them), and the blocks 0, stride, 2 stride, ..
//                 (with stride ~ sqrt(blocks), O(N sqrt N): Child et al., arXiv 1904.10509)
//   learned       the local blocks, and the global_blocks distances b - j >= local_blocks in blocks whose block_bias is
//                 highest (of equal ones the nearer); the bias is added to the scores of these
//   pooled        the window, and the mean key and the mean value of each block that lies wholly before it
//   compressed    the local blocks; and of all blocks before them a memory, sums M of f(k)^T v and z of f(k), f = ELU + 1, q
//                 and k without rotation: with g = sigmoid(memory_gate) the output is g * f(q) M / (f(q) z) + (1 - g) * local
//                 (Infini-attention, arXiv 2404.07143), and the local one alone where there is nothing before
//   lsh           the last lsh_keys keys whose bucket is the query's, and itself, in each of lsh_rounds rounds; the bucket
//                 of x in a round is the argmax of [xR; -xR], R of normal numbers (Reformer, arXiv 2001.04451)
struct AttentionPattern {
  enum class Kind : uint8_t { all, block_sparse, learned, pooled, compressed, lsh } kind = Kind::all;
  int local_blocks = 0, stride = 0, global_blocks = 0;
  int max_blocks = 0;                // of a sequence: columns of block_bias
  int position_buckets = 0, position_max_distance = 0;  // of position_bias
  int lsh_rounds = 0, lsh_buckets = 0, lsh_keys = 0;    // buckets: even
  bool rope_interleaved = false;     // compressed: how q and k were rotated
};
// What a pattern learns; an empty one is not in use. Scores are capped, then normalised over the row's keys (mean 0,
// variance 1, times score_norm), then biases are added: position_bias by the distance in buckets, those of T5
// (arXiv 1910.10683: half of them exact, the others logarithmic up to position_max_distance).
struct PatternWeights {
  Tensor score_norm;                 // [heads]
  Tensor position_bias;              // [heads * position_buckets]
  Tensor block_bias;                 // [heads * max_blocks]
  Tensor memory_gate;                // [heads]
  Tensor lsh_rotation;               // [lsh_rounds * head_dim * lsh_buckets / 2], drawn once, not learned
};
// What is kept with each page, f32[P, kv_heads, n], for n > 0: pooled: the mean key and value, once the page is full;
// compressed: M and z of the pages before it; lsh: where each bucket's list ends before the page, and its own links.
int64_t pattern_state_size(const AttentionPattern& pattern, int64_t head_dim, int64_t v_head_dim);
// The rotations that the keys have (ops.h: rope), which compressed takes back; empty otherwise.
struct PatternPages {
  Tensor k, v, state, cos, sin;
};
// After kv_write of the same rows, which of each sequence are positions without a gap: brings the pages' state up to date.
DS_OP_CPU(pattern_write, pages.k, (const PatternPages& pages, const Rows& at, const AttentionSpec& spec, const AttentionPattern& pattern, const PatternWeights& weights), (pages, at, spec, pattern, weights))
// As attention. lse is of the local part where the pattern is compressed.
DS_OP_CPU(pattern_attention, q, (const Tensor& q, const PatternPages& pages, const Rows& at, const AttentionSpec& spec, const AttentionPattern& pattern, const PatternWeights& weights, const Tensor& out, const Tensor& lse), (q, pages, at, spec, pattern, weights, out, lse))
// As attention_backward; the gradients of the weights are added to dweights.
DS_OP_CPU(pattern_attention_backward, dout, (const Tensor& dout, const Tensor& q, const PatternPages& pages, const Rows& at, const AttentionSpec& spec, const AttentionPattern& pattern, const PatternWeights& weights, const Tensor& out, const Tensor& lse, const Tensor& dq, const Tensor& dk, const Tensor& dv, const PatternWeights& dweights), (dout, q, pages, at, spec, pattern, weights, out, lse, dq, dk, dv, dweights))

// ---- Feed-forward ----

enum class Activation : uint8_t { silu, gelu_tanh, gelu };  // gelu: by the error function
// y = act(x), elementwise; dx is written.
DS_OP_CPU(activation, x, (const Tensor& x, Activation act, const Tensor& y), (x, act, y))
DS_OP_CPU(activation_backward, dy, (const Tensor& dy, const Tensor& x, Activation act, const Tensor& dx), (dy, x, act, dx))
// y = act(gate) * up, elementwise.
DS_OP_CPU(gated_activation, gate, (const Tensor& gate, const Tensor& up, Activation act, const Tensor& y), (gate, up, act, y))
DS_OP_CPU(gated_activation_backward, dy, (const Tensor& dy, const Tensor& gate, const Tensor& up, Activation act, const Tensor& dgate, const Tensor& dup), (dy, gate, up, act, dgate, dup))

// ---- Dropout ----

// x[T, H], in place: an element becomes 0 with probability rate (to 16 bits), and else x / (1 - rate). What falls is decided
// by (seed, stream, first_row + t, h) alone: on a gradient, it is the backward operation. (Srivastava et al., JMLR 2014)
struct DropoutSpec {
  float rate = 0;
  uint64_t seed = 0, stream = 0;
  int64_t first_row = 0;
};
DS_OP_CPU(dropout, x, (const Tensor& x, const DropoutSpec& spec), (x, spec))

// ---- Caps ----

// x clamped to [-limit, limit], in place; and x = cap * tanh(x / cap), in place (f32). (OLMoE's clip_qkv; Gemma 2's soft caps)
DS_OP_CPU(clamp, x, (const Tensor& x, float limit), (x, limit))
DS_OP_CPU(softcap, x, (const Tensor& x, float cap), (x, cap))
// dy, in place, to the gradient of what was capped: by x before clamp (passes where |x| <= limit), by y that softcap gave.
DS_OP_CPU(clamp_backward, dy, (const Tensor& dy, const Tensor& x, float limit), (dy, x, limit))
DS_OP_CPU(softcap_backward, dy, (const Tensor& dy, const Tensor& y, float cap), (dy, y, cap))

// ---- Mixture of experts ----

// How a token's experts are chosen, and with what weights. The gate's probabilities p are softmax(logits), or for top_k also
// sigmoid(logits); c are what experts are chosen by, the greatest first, and weights are from w. (docs/routers.md)
//   top_k             c = p + state, w = p. (Switch, arXiv 2101.03961; DeepSeek-V3, arXiv 2412.19437, section 2.1.2)
//   entropy_fallback  as top_k without state; but where H(p) / ln E > entropy_threshold, expert E alone, with weight 1
//   adaptive          p = softmax(logits / temperature), c = w = p / (state + 1e-6): the state is each expert's share of the load
//   three_layer       p = softmax(group_logits)[group] * softmax(logits within the group), c = w = p * state among the experts of
//                     the topk_group groups that the first factor ranks highest: the state is a factor by feedback
//   confidence        the fewest of the top_k, at least min_k, whose p together reach `confidence`. (arXiv 2403.07652)
// Weights are w times routed_scaling_factor, divided by the sum of the token's w where norm_topk_prob says so, and always
// for adaptive and three_layer. A token that has fewer than top_k experts has -1 and weight 0 in the slots behind them.
struct RouterSpec {
  enum class Kind : uint8_t { top_k, entropy_fallback, adaptive, three_layer, confidence } kind = Kind::top_k;
  enum class Scores : uint8_t { softmax, sigmoid } scores = Scores::softmax;
  enum class GroupScore : uint8_t { max, top2_sum } group_score = GroupScore::top2_sum;
  int top_k = 2;
  int n_group = 1, topk_group = 1;   // keep the topk_group best of n_group groups; 1 of 1: all experts
  bool norm_topk_prob = false;       // weights divided by (their sum + 1e-20)
  float routed_scaling_factor = 1;
  float temperature = 1;             // adaptive
  float entropy_threshold = 1;       // entropy_fallback
  float confidence = 1;              // confidence
  int min_k = 1;
};
// From logits[T, E]: scores[T, E], the p; indices i32[T, top_k], the experts chosen (ties to the lower index; in falling
// order of c); weights[T, top_k]. state[E] may be empty for top_k; group_logits[T, n_group] are of three_layer alone.
DS_OP_CPU(route, logits, (const Tensor& logits, const Tensor& state, const RouterSpec& spec, const Tensor& scores, const Tensor& indices, const Tensor& weights, const Tensor& group_logits = {}), (logits, state, spec, scores, indices, weights, group_logits))
// dlogits[T, E], and dgroup_logits[T, n_group] of three_layer, from dweights[T, top_k] and dscores[T, E] (the balance
// losses' part; may be empty). The choice and the state are held.
DS_OP_CPU(route_backward, dweights, (const Tensor& dweights, const Tensor& dscores, const Tensor& scores, const Tensor& indices, const Tensor& weights, const RouterSpec& spec, const Tensor& dlogits, const Tensor& dgroup_logits = {}), (dweights, dscores, scores, indices, weights, spec, dlogits, dgroup_logits))
// entropy[T] = H(p) / ln E, from 0 to 1, of p = scores[t] divided by their sum.
DS_OP_CPU(router_entropy, scores, (const Tensor& scores, const Tensor& entropy), (scores, entropy))
// *loss (a double, on the host) += coef * the mean over t of logsumexp(logits[t])^2, and dlogits[T, E] += its gradient.
// (ST-MoE, arXiv 2202.08906, eq. 5)
DS_OP_CPU(z_loss, logits, (const Tensor& logits, float coef, const Tensor& dlogits, double* loss), (logits, coef, dlogits, loss))

// Sorts the choices by expert, stably: offsets i32[E+1], and for row r of the sorted order slot_of_row[r] = token * top_k +
// k; row_of_slot is the inverse. Where slots are -1 there are fewer rows, offsets[E]: the rest of slot_of_row is -1, and so
// is row_of_slot there.
DS_OP_CPU(sort_by_expert, indices, (const Tensor& indices, const Tensor& offsets, const Tensor& slot_of_row, const Tensor& row_of_slot), (indices, offsets, slot_of_row, row_of_slot))
// y[r] = x[slot_of_row[r] / top_k], and back: dx[t] += the sum of dy over the token's slots in order.
DS_OP_CPU(gather_rows, x, (const Tensor& x, const Tensor& slot_of_row, int top_k, const Tensor& y), (x, slot_of_row, top_k, y))
DS_OP_CPU(gather_rows_backward, dy, (const Tensor& dy, const Tensor& row_of_slot, int top_k, const Tensor& dx), (dy, row_of_slot, top_k, dx))
// y[t] += sum over k, in order, of weights[t, k] * x[row_of_slot[t * top_k + k]].
DS_OP_CPU(combine, x, (const Tensor& x, const Tensor& row_of_slot, const Tensor& weights, const Tensor& y), (x, row_of_slot, weights, y))
// dx[r] = weight * dy[token], dweights[t, k] = dot(dy[t], x[row]), 0 in slots without a row.
DS_OP_CPU(combine_backward, dy, (const Tensor& dy, const Tensor& x, const Tensor& row_of_slot, const Tensor& weights, const Tensor& dx, const Tensor& dweights), (dy, x, row_of_slot, weights, dx, dweights))

// Attention among the outputs of a token's experts: y_i = x_i + gate[0] * sum over j of a_ij x_j, a_i = softmax over j of
// x_i.x_j / sqrt(H), j the token's experts of i's group (i / group_size is the same; i itself is one). x[R, H] and y are
// rows by expert, indices[T, top_k] and row_of_slot as above.
DS_OP_CPU(expert_attention, x, (const Tensor& x, const Tensor& indices, const Tensor& row_of_slot, int group_size, const Tensor& gate, const Tensor& y), (x, indices, row_of_slot, group_size, gate, y))
// dx[R, H] is written, dgate[1] added to, the tokens' parts summed in double in their order.
DS_OP_CPU(expert_attention_backward, dy, (const Tensor& dy, const Tensor& x, const Tensor& indices, const Tensor& row_of_slot, int group_size, const Tensor& gate, const Tensor& dx, const Tensor& dgate), (dy, x, indices, row_of_slot, group_size, gate, dx, dgate))

// The balance of a router's choices over the rows given: with f_i = count_i / the number of choices (T * top_k, less what is
// -1 or the fallback expert E), P_i the mean over t of p[t, i], and p the scores, each row divided by its sum: *loss (a double, on the host) += coef * E * sum_i f_i P_i, and
// dscores[T, E] += its gradient through P. (Switch, arXiv 2101.03961, as Megatron scales it; DeepSeek-V3 report, eq. 17-20)
DS_OP_CPU(balance_loss, scores, (const Tensor& scores, const Tensor& indices, float coef, const Tensor& dscores, double* loss), (scores, indices, coef, dscores, loss))

// ---- Loss ----

// loss[T] = -log softmax(logits[T, V])[targets[T]]; a target of -1 gives 0.
DS_OP(cross_entropy, logits, (const Tensor& logits, const Tensor& targets, const Tensor& loss), (logits, targets, loss))
// dlogits[t] = (softmax(logits[t]) - onehot(targets[t])) * weights[t]; zeros where the target is -1. May be in place.
DS_OP(cross_entropy_backward, logits, (const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& dlogits), (logits, targets, weights, dlogits))
// argmax i32[T] of each row, the lowest index among equals.
DS_OP_CPU(argmax, logits, (const Tensor& logits, const Tensor& indices), (logits, indices))

// ---- Optimizer ----

// *sum (a double, on the host) += the sum of squares of x, in a fixed order.
DS_OP(sum_of_squares, x, (const Tensor& x, double* sum), (x, sum))
// AdamW as in PyTorch: p *= 1 - lr * weight_decay; m, v moving averages of g and g^2; p -= lr * m^ / (sqrt(v^) + eps).
// Gradients are multiplied by grad_scale (clipping) before use. (Loshchilov & Hutter, arXiv 1711.05101)
struct AdamWSpec {
  float learning_rate = 1e-3f, beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f, weight_decay = 0.1f;
  int64_t step = 1;                  // from 1
  float grad_scale = 1;
};
DS_OP(adamw, p, (const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWSpec& spec), (p, g, m, v, spec))

// The same with moments of 8 bits: m_codes, v_codes u8[n], and a scale for each kMomentBlock of them, the block's largest
// magnitude, m_scales, v_scales f32[ceil(n / kMomentBlock)]. A code is a float of 3 bits of mantissa times the scale: of m
// a sign and 4 bits of exponent, of v 5 bits of exponent. A v too small for its code gets the smallest one, never zero, so
// that no update is divided by nothing. (Block-wise states: Dettmers et al., arXiv 2110.02861; the codes are ours.)
constexpr int64_t kMomentBlock = 256;
struct Moments8 {
  Tensor m_codes, m_scales, v_codes, v_scales;
};
DS_OP_CPU(adamw8, p, (const Tensor& p, const Tensor& g, const Moments8& moments, const AdamWSpec& spec), (p, g, moments, spec))

// ---- Packing ----

// A weight [N, K] (or experts [E, N, K]) repacked once as panels for repeated products on the CPU; the memory is the
// arena's. f32, f16 and bf16 keep their dtype (quantized weights: quantized.h). linear and grouped_linear take either
// layout and give the same bits.
Tensor pack(const Tensor& w, Arena& arena);
// The same in two steps: a weight [n, k] in panels, or [experts, n, k] where experts > 0, its memory from the arena and
// unset; and filling it, or an item of it, from rows that lie one after the other at `from`, not aligned (in a file).
Tensor make_panels(Arena& arena, DType dtype, int64_t experts, int64_t n, int64_t k);
void set_panels(const Tensor& w, const void* from);

}  // namespace ds
