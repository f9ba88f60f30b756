// Times attention and its patterns, forward and backward, for one sequence of 1K to 32K tokens: 4 heads of 64 over 2 key
// heads. What a run needs beside q, k, v, their pages and their gradients is the growth of the peak of memory.
//   attention [threads] [longest]
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/ops.h"

using namespace ds;
using Kind = AttentionPattern::Kind;

namespace {

constexpr int kHeads = 4, kKvHeads = 2, kDim = 64;

struct Timed {
  const char* name;
  AttentionSpec spec;
  AttentionPattern pattern;
  bool general, norm;
};

Tensor normal(Arena& arena, std::initializer_list<int64_t> shape, uint64_t stream) {
  const Tensor t = arena.make(DType::f32, shape);
  const Rng rng{1, stream};
  for (int64_t i = 0; i < t.elements(); ++i) t.f32()[i] = static_cast<float>(rng.uniform(static_cast<uint64_t>(i)) * 4 - 2);
  return t;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void run(const Timed& timed, int64_t T) {
  Arena a;
  const AttentionSpec& spec = timed.spec;
  const AttentionPattern& p = timed.pattern;
  const int64_t pages = T / kKeyBlock, q_cols = kHeads * kDim, kv_cols = kKvHeads * kDim;
  const Tensor q = normal(a, {T, q_cols}, 1), k = normal(a, {T, kv_cols}, 2), v = normal(a, {T, kv_cols}, 3), dout = normal(a, {T, q_cols}, 4);
  const Tensor out = normal(a, {T, q_cols}, 5), lse = normal(a, {T, kHeads}, 6), dq = normal(a, {T, q_cols}, 7), dk = normal(a, {T, kv_cols}, 8),
               dv = normal(a, {T, kv_cols}, 9);
  PatternPages at_pages{normal(a, {pages, kKvHeads, kDim, kKeyBlock}, 10), normal(a, {pages, kKvHeads, kKeyBlock, kDim}, 11), {}, {}, {}};
  const Rows at{a.make(DType::i32, {T}), a.make(DType::i32, {T}), a.make(DType::i32, {1, pages})};
  for (int32_t t = 0; t < T; ++t) at.position.i32()[t] = t;
  for (int32_t b = 0; b < pages; ++b) at.page_table.i32()[b] = b;
  const double before = peak_mib();
  if (const int64_t n = pattern_state_size(p, kDim, kDim)) at_pages.state = a.make(DType::f32, {pages, kKvHeads, n});
  PatternWeights w, dw;
  const auto weight = [&](bool used, int64_t n, Tensor& x, Tensor& dx) {
    if (used) x = normal(a, {n}, 12), dx = a.make(DType::f32, {n});
  };
  weight(timed.norm, kHeads, w.score_norm, dw.score_norm);
  weight(p.position_buckets > 0, int64_t{kHeads} * p.position_buckets, w.position_bias, dw.position_bias);
  weight(p.kind == Kind::learned, int64_t{kHeads} * p.max_blocks, w.block_bias, dw.block_bias);
  weight(p.kind == Kind::compressed, kHeads, w.memory_gate, dw.memory_gate);
  weight(p.kind == Kind::lsh, int64_t{p.lsh_rounds} * kDim * (p.lsh_buckets / 2), w.lsh_rotation, dw.lsh_rotation);
  double best[2] = {1e9, 1e9};
  for (int i = 0; i < (T <= 4096 ? 3 : 1); ++i) {
    const double begin = seconds();
    kv_write(k, v, at, spec, at_pages.k, at_pages.v);
    if (timed.general) pattern_write(at_pages, at, spec, p, w);
    if (timed.general) pattern_attention(q, at_pages, at, spec, p, w, out, lse);
    else attention(q, at_pages.k, at_pages.v, at, spec, out, lse);
    const double middle = seconds();
    if (timed.general) pattern_attention_backward(dout, q, at_pages, at, spec, p, w, out, lse, dq, dk, dv, dw);
    else attention_backward(dout, q, at_pages.k, at_pages.v, at, spec, out, lse, dq, dk, dv);
    best[0] = std::min(best[0], middle - begin), best[1] = std::min(best[1], seconds() - middle);
  }
  std::printf("%-18s %6lld  %9.1f %9.1f  %8.1f\n", timed.name, static_cast<long long>(T), best[0] * 1e3, best[1] * 1e3, peak_mib() - before);
}

}  // namespace

int main(int argc, char** argv) {
  const size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  const int64_t longest = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 32768;
  std::printf("%-18s %6s  %9s %9s  %8s\n", "pattern", "tokens", "fwd ms", "bwd ms", "MiB more");
  std::fflush(stdout);
  for (int64_t T = 1024; T <= longest; T *= 2) {
    AttentionSpec plain{.heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .v_head_dim = kDim, .scale = 0.125f};
    AttentionSpec window = plain, some_heads = plain, pooled = plain;
    window.window = 1024, some_heads.window = 256, some_heads.window_kv_heads = 1, pooled.window = 128;
    int stride = 1;
    while (int64_t{stride} * stride < T / kKeyBlock) ++stride;
    const AttentionPattern sparse{.kind = Kind::block_sparse, .local_blocks = 4, .stride = stride};
    AttentionPattern biased = sparse;
    biased.position_buckets = 32, biased.position_max_distance = 128;
    const Timed all[] = {
        {"full", plain, {}, false, false},
        {"full, normed", plain, {}, true, true},
        {"window 1024", window, {}, false, false},
        {"local_global", some_heads, {}, false, false},
        {"block_sparse", plain, sparse, true, false},
        {"sparse, norm, bias", plain, biased, true, true},
        {"learned", plain, {.kind = Kind::learned, .local_blocks = 4, .global_blocks = 4, .max_blocks = static_cast<int>(T / kKeyBlock)}, true, false},
        {"pooled", pooled, {.kind = Kind::pooled}, true, false},
        {"compressed", plain, {.kind = Kind::compressed, .local_blocks = 4}, true, false},
        {"lsh", plain, {.kind = Kind::lsh, .lsh_rounds = 2, .lsh_buckets = 32, .lsh_keys = 64}, true, false}};
    for (const Timed& timed : all) {
      // A process of its own, whose peak is its own.
      const pid_t child = fork();
      if (child == 0) {
        set_threads(count);
        run(timed, T);
        std::fflush(stdout);
        _exit(0);
      }
      int status = 0;
      if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) return 1;
    }
  }
}
