// Times the CPU operations other than matrix products at training shapes: milliseconds, the bytes that they must move,
// and their share of the bandwidth of a plain copy measured in the same run.
//   ops [threads]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "base/math.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/ops.h"

using namespace ds;

namespace {

double copy_bytes_per_second = 1;

// The least time of a few runs, in seconds.
double least(const std::function<void()>& run) {
  double best = 1e9;
  const auto seconds = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  const double start = seconds();
  for (int i = 0; i < 3 || (i < 200 && seconds() - start < 0.5); ++i) {
    const double begin = seconds();
    run();
    best = std::min(best, seconds() - begin);
  }
  return best;
}

void report(const char* name, double bytes, double flops, const std::function<void()>& run) {
  const double s = least(run);
  std::printf("%-26s %8.3f ms  %6.2f GB/s  %4.0f %% of copy", name, s * 1e3, bytes / s * 1e-9, 100 * bytes / s / copy_bytes_per_second);
  if (flops > 0) std::printf("  %6.1f GFLOP/s", flops / s * 1e-9);
  std::printf("\n");
}

Tensor normal(Arena& arena, std::initializer_list<int64_t> shape, uint64_t stream) {
  const Tensor t = arena.make(DType::f32, shape);
  const Rng rng{1, stream};
  for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.uniform(static_cast<uint64_t>(i)) * 4 - 2);
  return t;
}

void bench_attention(int64_t length) {
  constexpr int64_t T = 2048;
  Arena a;
  const AttentionSpec spec{.heads = 6, .kv_heads = 6, .head_dim = 48, .v_head_dim = 32, .scale = 0.14f};
  const int64_t pages = T / kKeyBlock;
  const Tensor q = normal(a, {T, 6 * 48}, 1), k = normal(a, {T, 6 * 48}, 2), v = normal(a, {T, 6 * 32}, 3), dout = normal(a, {T, 6 * 32}, 4);
  const Tensor out = normal(a, {T, 6 * 32}, 5), lse = normal(a, {T, 6}, 6), dq = normal(a, {T, 6 * 48}, 7), dk = normal(a, {T, 6 * 48}, 8),
               dv = normal(a, {T, 6 * 32}, 9);
  const Tensor k_pages = a.make(DType::f32, {pages, 6, 48, kKeyBlock}), v_pages = a.make(DType::f32, {pages, 6, kKeyBlock, 32});
  const Rows at{a.make(DType::i32, {T}), a.make(DType::i32, {T}), a.make(DType::i32, {T / length, length / kKeyBlock})};
  for (int32_t t = 0; t < T; ++t) at.sequence.i32()[t] = t / static_cast<int32_t>(length), at.position.i32()[t] = t % static_cast<int32_t>(length);
  for (int32_t p = 0; p < pages; ++p) at.page_table.i32()[p] = p;
  const double pairs = static_cast<double>(T) * 6 * static_cast<double>(length + 1) / 2;
  const std::string name = "of " + std::to_string(length);
  report(("kv_write " + name).c_str(), T * 6 * 80 * 8.0, 0, [&] { kv_write(k, v, at, spec, k_pages, v_pages); });
  report(("attention " + name).c_str(), T * 6 * 160 * 4.0, pairs * 2 * 80, [&] { attention(q, k_pages, v_pages, at, spec, out, lse); });
  report(("attention_backward " + name).c_str(), T * 6 * 352 * 4.0, pairs * 2 * (3 * 48 + 2 * 32),
         [&] { attention_backward(dout, q, k_pages, v_pages, at, spec, out, lse, dq, dk, dv); });
}

void bench_experts(Arena& a, const Tensor& x, const Tensor& dy) {
  constexpr int64_t T = 2048, H = 192, E = 128, K = 4;
  const RouterSpec spec{.scores = RouterSpec::Scores::sigmoid, .top_k = K, .n_group = 16, .topk_group = 4, .norm_topk_prob = true};
  const Tensor logits = normal(a, {T, E}, 20), bias = normal(a, {E}, 21), scores = a.make(DType::f32, {T, E}), indices = a.make(DType::i32, {T, K}),
               weights = a.make(DType::f32, {T, K}), dlogits = a.make(DType::f32, {T, E}), dw = a.make(DType::f32, {T, K});
  report("route", T * E * 8.0, 0, [&] { route(logits, bias, spec, scores, indices, weights); });
  report("route_backward", T * E * 8.0, 0, [&] { route_backward(weights, {}, scores, indices, weights, spec, dlogits); });
  const Tensor offsets = a.make(DType::i32, {E + 1}), slots = a.make(DType::i32, {T * K}), rows = a.make(DType::i32, {T * K});
  report("sort_by_expert", T * K * 12.0, 0, [&] { sort_by_expert(indices, offsets, slots, rows); });
  const Tensor in = normal(a, {T * K, H}, 22), out = normal(a, {T * K, H}, 23);
  report("gather_rows", T * H * 4.0 * (K + 1), 0, [&] { gather_rows(x, slots, K, in); });
  report("gather_rows_backward", T * H * 4.0 * (K + 2), 0, [&] { gather_rows_backward(in, rows, K, x); });
  report("combine", T * H * 4.0 * (K + 2), 0, [&] { combine(in, rows, weights, x); });
  report("combine_backward", T * H * 4.0 * (2 * K + 1), 0, [&] { combine_backward(dy, in, rows, weights, out, dw); });
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(argc > 1 ? static_cast<size_t>(std::atoi(argv[1])) : 1);
  constexpr int64_t T = 2048, H = 192, V = 4096, P = 16'000'000;
  Arena a;
  const Tensor p = a.make(DType::f32, {P}), g = normal(a, {P}, 1), m = a.make(DType::f32, {P}), v = a.make(DType::f32, {P});
  copy_bytes_per_second = 8.0 * P / least([&] {
    parallel_for(P, 16384, [&](size_t begin, size_t end) { std::memcpy(m.f32() + begin, g.f32() + begin, (end - begin) * 4); });
  });
  std::printf("%zu threads; a copy moves %.2f GB/s\n", threads(), copy_bytes_per_second * 1e-9);
  fill(m, 0);
  report("adamw 16M", 28.0 * P, 0, [&] { adamw(p, g, m, v, {}); });
  double sum = 0;
  report("sum_of_squares 16M", 4.0 * P, 0, [&] { sum_of_squares(g, &sum); });
  const Tensor x = normal(a, {T, H}, 2), y = normal(a, {T, H}, 3), dy = normal(a, {T, H}, 4), w = normal(a, {H}, 5), dw = normal(a, {H}, 6);
  report("rms_norm", T * H * 8.0, 0, [&] { rms_norm(x, w, 1e-6f, false, y); });
  report("rms_norm_backward", T * H * 12.0, 0, [&] { rms_norm_backward(dy, x, w, 1e-6f, false, y, dw, false); });
  report("add", T * H * 12.0, 0, [&] { add(x, y); });
  report("gated_activation", T * H * 12.0, 0, [&] { gated_activation(x, dy, Activation::silu, y); });
  const Tensor dg = normal(a, {T, H}, 7), du = normal(a, {T, H}, 8);
  report("gated_activation_backward", T * H * 20.0, 0, [&] { gated_activation_backward(dy, x, y, Activation::silu, dg, du); });
  const Tensor cos = normal(a, {512, 8}, 9), at = a.make(DType::i32, {T});
  report("rope (6 heads, 8 pairs)", T * 6 * 16 * 8.0, 0, [&] { rope(x, at, cos, cos, {.head_dim = 32, .offset = 16, .interleaved = true}); });
  bench_experts(a, x, dy);
  const Tensor tokens = a.make(DType::i32, {T}), table = normal(a, {V, H}, 10), loss = a.make(DType::f32, {T}), ones = a.make(DType::f32, {T});
  for (int64_t t = 0; t < T; ++t) tokens.i32()[t] = static_cast<int32_t>(t * t % V);
  report("embedding", T * H * 8.0, 0, [&] { embedding(table, tokens, y); });
  report("embedding_backward", T * H * 12.0, 0, [&] { embedding_backward(dy, tokens, table); });
  const Tensor logits = normal(a, {T, V}, 11), dlogits = normal(a, {T, V}, 12);
  report("cross_entropy", T * V * 4.0, 0, [&] { cross_entropy(logits, tokens, loss); });
  report("cross_entropy_backward", T * V * 8.0, 0, [&] { cross_entropy_backward(logits, tokens, ones, dlogits); });
  for (const int64_t length : {128, 512}) bench_attention(length);
}
