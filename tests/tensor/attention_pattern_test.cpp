#include <algorithm>
#include <memory>
#include <numeric>

#include "tensor/check.h"

namespace ds {
namespace {

using Kind = AttentionPattern::Kind;

struct Case {
  const char* name;
  AttentionSpec spec;
  AttentionPattern pattern;
  bool norm = false;
  std::vector<int> lengths = {70, 3};
};

AttentionSpec spec_of(int heads, int kv_heads, int head_dim, int v_head_dim, int window = 0, float softcap = 0) {
  return {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .v_head_dim = v_head_dim,
          .scale = 1 / std::sqrt(static_cast<float>(head_dim)), .window = window, .softcap = softcap};
}
AttentionPattern sparse(int local, int stride) { return {.kind = Kind::block_sparse, .local_blocks = local, .stride = stride}; }
AttentionPattern with_buckets(AttentionPattern p, int buckets = 8, int distance = 40) {
  p.position_buckets = buckets, p.position_max_distance = distance;
  return p;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"full_norm", spec_of(4, 2, 12, 20), {}, true},
      {"full_bias", spec_of(2, 2, 7, 5), with_buckets({}), false},
      {"window_norm_bias", spec_of(4, 2, 8, 18, 37, 1.5f), with_buckets({}), true, {100, 40}},
      {"sparse", spec_of(4, 2, 12, 20), sparse(1, 2), false, {230, 3}},
      {"sparse_norm_bias", spec_of(4, 2, 8, 16, 0, 0.9f), with_buckets(sparse(2, 2)), true, {180, 40}},
      {"heads_with_windows", [] { AttentionSpec s = spec_of(6, 3, 8, 8, 20); s.window_kv_heads = 1; return s; }(), with_buckets({}), false, {70}},
      {"learned", spec_of(4, 2, 12, 20), {.kind = Kind::learned, .local_blocks = 1, .global_blocks = 2, .max_blocks = 9}, false, {230, 3}},
      {"learned_norm", spec_of(2, 1, 8, 8), {.kind = Kind::learned, .local_blocks = 2, .global_blocks = 1, .max_blocks = 9}, true, {180, 33}},
      {"pooled", spec_of(4, 2, 12, 20, 21), {.kind = Kind::pooled}, false, {150, 3}},
      {"pooled_norm_bias", spec_of(2, 2, 8, 8, 40), with_buckets({.kind = Kind::pooled}), true, {140, 64}},
      {"compressed", spec_of(4, 2, 12, 20), {.kind = Kind::compressed, .local_blocks = 1}, false, {140, 33}},
      {"compressed_two", spec_of(2, 1, 8, 8), {.kind = Kind::compressed, .local_blocks = 2, .rope_interleaved = true}, false, {150}},
      {"lsh", spec_of(4, 2, 8, 12), {.kind = Kind::lsh, .lsh_rounds = 2, .lsh_buckets = 8, .lsh_keys = 9}, false, {150, 3}},
  };
  return all;
}

// The blocks' pages in a scattered order, NaN where nothing was written.
struct Batch {
  Case c;
  Arena arena;
  Tensor q, k, v, out, lse, dout, dq, dk, dv;
  PatternPages pages;
  PatternWeights weights, dweights;
  Rows at;

  explicit Batch(const Case& from) : c(from) {
    const AttentionSpec& s = c.spec;
    std::vector<int32_t> sequence, position;
    const int64_t columns = (*std::max_element(c.lengths.begin(), c.lengths.end()) + kKeyBlock - 1) / kKeyBlock;
    const auto sequences = static_cast<int64_t>(c.lengths.size());
    at.page_table = arena.make(DType::i32, {sequences, columns});
    for (int32_t i = 0; i < sequences; ++i) {
      for (int32_t p = 0; p < c.lengths[static_cast<size_t>(i)]; ++p) sequence.push_back(i), position.push_back(p);
      for (int64_t b = 0; b < columns; ++b)
        at.page_table.i32()[i * columns + b] = b * kKeyBlock < c.lengths[static_cast<size_t>(i)] ? static_cast<int32_t>(sequences * columns - 1 - i * columns - b) : -1;
    }
    at.sequence = int_tensor(arena, sequence);
    at.position = int_tensor(arena, position);
    const auto t = static_cast<int64_t>(position.size());
    q = random_tensor(arena, {t, s.heads * s.head_dim}, 1);
    k = strided(arena, random_tensor(arena, {t, s.kv_heads * s.head_dim}, 2));
    v = random_tensor(arena, {t, s.kv_heads * s.v_head_dim}, 3);
    dout = random_tensor(arena, {t, s.heads * s.v_head_dim}, 4);
    out = arena.make(DType::f32, {t, s.heads * s.v_head_dim});
    lse = arena.make(DType::f32, {t, s.heads});
    dq = arena.make(DType::f32, {t, s.heads * s.head_dim});
    dk = arena.make(DType::f32, {t, s.kv_heads * s.head_dim});
    dv = arena.make(DType::f32, {t, s.kv_heads * s.v_head_dim});
    pages.k = arena.make(DType::f32, {sequences * columns, s.kv_heads, s.head_dim, kKeyBlock});
    pages.v = arena.make(DType::f32, {sequences * columns, s.kv_heads, kKeyBlock, s.v_head_dim});
    fill(pages.k, NAN), fill(pages.v, NAN);
    if (const int64_t n = pattern_state_size(c.pattern, s.head_dim, s.v_head_dim)) {
      pages.state = arena.make(DType::f32, {sequences * columns, s.kv_heads, n});
      fill(pages.state, NAN);
    }
    if (c.pattern.kind == Kind::compressed) {
      pages.cos = random_tensor(arena, {columns * kKeyBlock, s.head_dim / 2}, 7);
      pages.sin = arena.make(DType::f32, {columns * kKeyBlock, s.head_dim / 2});
      for (int64_t i = 0; i < pages.cos.elements(); ++i) {
        const float angle = pages.cos.f32()[i];
        pages.cos.f32()[i] = std::cos(angle), pages.sin.f32()[i] = std::sin(angle);
      }
    }
    const auto weight = [&](bool used, int64_t n, uint64_t stream, Tensor& w, Tensor& dw) {
      if (used) w = random_tensor(arena, {n}, stream, 0.7), dw = arena.make(DType::f32, {n});
    };
    const AttentionPattern& p = c.pattern;
    weight(c.norm, s.heads, 11, weights.score_norm, dweights.score_norm);
    weight(p.position_buckets > 0, s.heads * p.position_buckets, 12, weights.position_bias, dweights.position_bias);
    weight(p.kind == Kind::learned, s.heads * p.max_blocks, 13, weights.block_bias, dweights.block_bias);
    weight(p.kind == Kind::compressed, s.heads, 14, weights.memory_gate, dweights.memory_gate);
    weight(p.kind == Kind::lsh, int64_t{p.lsh_rounds} * s.head_dim * (p.lsh_buckets / 2), 15, weights.lsh_rotation, dweights.lsh_rotation);
  }
  // Rows [t, t + n) of the batch.
  void forward(int64_t t, int64_t n) {
    const Rows part{rows(at.sequence, t, n), rows(at.position, t, n), at.page_table};
    AttentionSpec needed = c.spec;  // of the pages
    if (c.pattern.kind == Kind::compressed) needed.window = c.pattern.local_blocks * kKeyBlock;
    kv_write(rows(k, t, n), rows(v, t, n), part, needed, pages.k, pages.v);
    pattern_write(pages, part, c.spec, c.pattern, weights);
    pattern_attention(rows(q, t, n), pages, part, c.spec, c.pattern, weights, rows(out, t, n), rows(lse, t, n));
  }
  void forward() { forward(0, q.rows()); }
  void backward() { pattern_attention_backward(dout, q, pages, at, c.spec, c.pattern, weights, out, lse, dq, dk, dv, dweights); }
};

// ---- The reference: each row by itself, in double, from the definition ----

struct Inputs {
  std::vector<double> q, k, v, score_norm, position_bias, block_bias, memory_gate;
};
using Vector = std::vector<double>;
struct Seen {
  Vector key, value;
  double bias;
};

int bucket_of(int n, int buckets, int distance) {
  const int exact = buckets / 2;
  if (n < exact) return n;
  return std::min(buckets - 1, exact + static_cast<int>(std::log(static_cast<double>(n) / exact) / std::log(static_cast<double>(distance) / exact) * (buckets - exact)));
}

struct Reference {
  const Batch& b;
  const Inputs& in;
  int start, kv;  // of the sequence in the batch, and the kv head

  Vector key(int j) const {
    const int d = b.c.spec.head_dim;
    const auto at = in.k.begin() + ((start + j) * b.c.spec.kv_heads + kv) * d;
    return {at, at + d};
  }
  Vector value(int j) const {
    const int d = b.c.spec.v_head_dim;
    const auto at = in.v.begin() + ((start + j) * b.c.spec.kv_heads + kv) * d;
    return {at, at + d};
  }
  std::vector<int> buckets(const Vector& x) const {
    const AttentionPattern& p = b.c.pattern;
    const int half = p.lsh_buckets / 2;
    std::vector<int> all;
    for (int round = 0; round < p.lsh_rounds; ++round) {
      Vector y;
      for (int i = 0; i < half; ++i) {
        double sum = 0;
        for (size_t d = 0; d < x.size(); ++d) sum += x[d] * b.weights.lsh_rotation.f32()[(round * static_cast<int>(x.size()) + static_cast<int>(d)) * half + i];
        y.push_back(sum);
      }
      for (int i = 0; i < half; ++i) y.push_back(-y[static_cast<size_t>(i)]);
      all.push_back(static_cast<int>(std::max_element(y.begin(), y.end()) - y.begin()));
    }
    return all;
  }
  std::vector<Seen> seen(int i, int h, const Vector& q) const {
    const AttentionSpec& s = b.c.spec;
    const AttentionPattern& p = b.c.pattern;
    std::vector<Seen> all;
    const auto position_bias = [&](int j) {
      return p.position_buckets ? in.position_bias[static_cast<size_t>(h * p.position_buckets + bucket_of(i - j, p.position_buckets, p.position_max_distance))] : 0.0;
    };
    const bool window = s.window > 0 && (s.window_kv_heads == 0 || kv < s.window_kv_heads);
    const int first = window ? std::max(0, i + 1 - s.window) : 0, own = i / kKeyBlock;
    std::vector<int> distances;
    if (p.kind == Kind::learned) {
      for (int d = p.local_blocks; d <= own; ++d) distances.push_back(d);
      std::stable_sort(distances.begin(), distances.end(), [&](int x, int y) { return in.block_bias[static_cast<size_t>(h * p.max_blocks + x)] > in.block_bias[static_cast<size_t>(h * p.max_blocks + y)]; });
      distances.resize(std::min(distances.size(), static_cast<size_t>(p.global_blocks)));
    }
    std::vector<bool> listed(static_cast<size_t>(i + 1), false);
    if (p.kind == Kind::lsh) {
      const std::vector<int> mine = buckets(q);
      listed[static_cast<size_t>(i)] = true;
      for (size_t round = 0; round < mine.size(); ++round)
        for (int j = i, left = p.lsh_keys; j >= 0 && left > 0; --j)
          if (buckets(key(j))[round] == mine[round]) listed[static_cast<size_t>(j)] = true, --left;
    }
    for (int j = 0; j <= i; ++j) {
      const int block = j / kKeyBlock, away = own - block;
      bool sees = j >= first;
      double bias = position_bias(j);
      if (p.kind == Kind::block_sparse) sees = away < p.local_blocks || block % p.stride == 0;
      if (p.kind == Kind::compressed) sees = away < p.local_blocks;
      if (p.kind == Kind::lsh) sees = listed[static_cast<size_t>(j)];
      if (p.kind == Kind::learned) {
        const bool global = std::find(distances.begin(), distances.end(), away) != distances.end();
        sees = away < p.local_blocks || global;
        if (global) bias += in.block_bias[static_cast<size_t>(h * p.max_blocks + away)];
      }
      if (sees) all.push_back({key(j), value(j), bias});
    }
    for (int block = 0; p.kind == Kind::pooled && (block + 1) * kKeyBlock <= first; ++block) {
      Seen mean{Vector(static_cast<size_t>(s.head_dim)), Vector(static_cast<size_t>(s.v_head_dim)), position_bias(block * kKeyBlock + kKeyBlock - 1)};
      for (int j = 0; j < kKeyBlock; ++j) {
        const Vector k = key(block * kKeyBlock + j), v = value(block * kKeyBlock + j);
        for (size_t x = 0; x < k.size(); ++x) mean.key[x] += k[x] / kKeyBlock;
        for (size_t x = 0; x < v.size(); ++x) mean.value[x] += v[x] / kKeyBlock;
      }
      all.push_back(mean);
    }
    return all;
  }
  Vector feature(Vector x, int position) const {
    const int64_t pairs = b.pages.cos.cols();
    for (int64_t i = 0; i < pairs; ++i) {
      double &a = x[static_cast<size_t>(b.c.pattern.rope_interleaved ? 2 * i : i)], &c = x[static_cast<size_t>(b.c.pattern.rope_interleaved ? 2 * i + 1 : i + pairs)];
      const double cos = b.pages.cos.f32()[position * pairs + i], sin = b.pages.sin.f32()[position * pairs + i], was = a;
      a = was * cos + c * sin;
      c = c * cos - was * sin;
    }
    for (double& y : x) y = y > 0 ? y + 1 : std::exp(y);
    return x;
  }
  Vector row(int i, int h) const {
    const AttentionSpec& s = b.c.spec;
    const auto from = in.q.begin() + ((start + i) * s.heads + h) * s.head_dim;
    const Vector q(from, from + s.head_dim);
    const std::vector<Seen> all = seen(i, h, q);
    Vector score;
    for (const Seen& one : all) {
      double x = dot(q, one.key) * s.scale;
      if (s.softcap > 0) x = s.softcap * std::tanh(x / s.softcap);
      score.push_back(x);
    }
    if (b.c.norm) {
      double mean = 0, variance = 0;
      for (const double x : score) mean += x / static_cast<double>(score.size());
      for (const double x : score) variance += (x - mean) * (x - mean) / static_cast<double>(score.size());
      for (double& x : score) x = (x - mean) / std::sqrt(variance + 1e-5) * in.score_norm[static_cast<size_t>(h)];
    }
    double sum = 0;
    for (size_t j = 0; j < all.size(); ++j) sum += std::exp(score[j] + all[j].bias);
    Vector out(static_cast<size_t>(s.v_head_dim));
    for (size_t j = 0; j < all.size(); ++j)
      for (size_t x = 0; x < out.size(); ++x) out[x] += std::exp(score[j] + all[j].bias) / sum * all[j].value[x];
    const int before = (i / kKeyBlock + 1 - b.c.pattern.local_blocks) * kKeyBlock;
    if (b.c.pattern.kind != Kind::compressed || before <= 0) return out;
    const Vector f = feature(q, i);
    Vector memory(out.size());
    double below = 1e-6;
    for (int j = 0; j < before; ++j) {
      const double w = dot(f, feature(key(j), j));
      const Vector v = value(j);
      below += w;
      for (size_t x = 0; x < v.size(); ++x) memory[x] += w * v[x];
    }
    const double gate = 1 / (1 + std::exp(-in.memory_gate[static_cast<size_t>(h)]));
    for (size_t x = 0; x < out.size(); ++x) out[x] = gate * memory[x] / below + (1 - gate) * out[x];
    return out;
  }
};

// The outputs of every `step`-th row.
Vector reference(const Batch& b, const Inputs& in, int step = 1) {
  Vector out;
  int start = 0;
  for (const int length : b.c.lengths) {
    for (int i = 0; i < length; ++i)
      for (int h = 0; h < b.c.spec.heads; ++h) {
        const Reference r{b, in, start, h / (b.c.spec.heads / b.c.spec.kv_heads)};
        const Vector row = i % step == 0 ? r.row(i, h) : Vector(static_cast<size_t>(b.c.spec.v_head_dim));
        out.insert(out.end(), row.begin(), row.end());
      }
    start += length;
  }
  return out;
}

Inputs inputs_of(const Batch& b) {
  const auto get = [](const Tensor& t) { return t ? doubles(t) : Vector{}; };
  return {doubles(b.q), doubles(b.k), doubles(b.v), get(b.weights.score_norm), get(b.weights.position_bias), get(b.weights.block_bias), get(b.weights.memory_gate)};
}

class Pattern : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, Pattern, testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

TEST_P(Pattern, agrees_with_the_definition_and_its_finite_differences) {
  Batch b(GetParam());
  b.forward();
  Inputs in = inputs_of(b);
  expect_close(b.out, reference(b, in), 5e-6, "out");
  // Some rows count, so that the differences take no minutes.
  constexpr int kStep = 23;
  for (int64_t t = 0; t < b.dout.rows(); ++t)
    if (b.at.position.i32()[t] % kStep != 0) std::fill_n(b.dout.f32() + t * b.dout.cols(), b.dout.cols(), 0.0f);
  const Vector dout = doubles(b.dout);
  b.backward();
  const auto check = [&](const Tensor& got, Vector Inputs::*which, const char* name) {
    if (!got) return;
    const Vector grad = doubles(got), at = in.*which;
    double mean = 0;
    for (const double g : grad) mean += std::fabs(g) / static_cast<double>(grad.size());
    size_t checked = 0;
    for (size_t i = 0; i < at.size(); i += 1 + at.size() / 29, ++checked) {
      const double h = 1e-5;
      (in.*which)[i] = at[i] + h;
      const double above = dot(dout, reference(b, in, kStep));
      (in.*which)[i] = at[i] - h;
      const double slope = (above - dot(dout, reference(b, in, kStep))) / (2 * h);
      (in.*which)[i] = at[i];
      ASSERT_LE(std::fabs(grad[i] - slope), 2e-5 * (mean + std::fabs(slope) + 0.2)) << name << " [" << i << "]: " << grad[i] << ", not " << slope;
    }
    EXPECT_GT(checked, 0u) << name;
    EXPECT_GT(mean, 1e-4) << name;
  };
  check(b.dq, &Inputs::q, "dq");
  check(b.dk, &Inputs::k, "dk");
  check(b.dv, &Inputs::v, "dv");
  check(b.dweights.score_norm, &Inputs::score_norm, "score_norm");
  check(b.dweights.position_bias, &Inputs::position_bias, "position_bias");
  check(b.dweights.block_bias, &Inputs::block_bias, "block_bias");
  check(b.dweights.memory_gate, &Inputs::memory_gate, "memory_gate");
}

TEST_P(Pattern, prefill_chunks_and_single_steps_give_the_same_bytes) {
  Batch whole(GetParam());
  whole.forward();
  const int64_t length = GetParam().lengths[0];
  for (const int64_t chunk : {1, 7, 50}) {
    Batch steps(GetParam());
    for (int64_t t = 0; t < length; t += chunk) steps.forward(t, std::min(chunk, length - t));
    EXPECT_EQ(bytes(rows(steps.out, 0, length)), bytes(rows(whole.out, 0, length))) << chunk;
    EXPECT_EQ(bytes(rows(steps.lse, 0, length)), bytes(rows(whole.lse, 0, length))) << chunk;
  }
}

// Rows that are taken back and written anew, as wrong guesses are.
TEST_P(Pattern, rows_written_again_give_the_same_bytes) {
  Batch once(GetParam()), twice(GetParam());
  const int64_t length = GetParam().lengths[0];
  once.forward(0, length);
  twice.forward(0, 60);
  scale(twice.k, -1);  // other keys from 20 on, and then the right ones
  twice.forward(20, length - 20);
  scale(twice.k, -1);
  twice.forward(20, length - 20);
  EXPECT_EQ(bytes(rows(twice.out, 0, length)), bytes(rows(once.out, 0, length)));
}

TEST_P(Pattern, same_bytes) {
  std::vector<std::unique_ptr<Batch>> alive;
  expect_same_bytes([&](Arena&) {
    alive.push_back(std::make_unique<Batch>(GetParam()));
    Batch& b = *alive.back();
    b.forward(), b.backward();
    std::vector<Tensor> all{b.out, b.lse, b.dq, b.dk, b.dv};
    for (const Tensor& t : {b.dweights.score_norm, b.dweights.position_bias, b.dweights.block_bias, b.dweights.memory_gate})
      if (t) all.push_back(t);
    return all;
  });
}

// Without a pattern it is attention.
TEST(PatternAttention, of_all_keys_agrees_with_attention) {
  for (const int heads_with_windows : {0, 1}) {
    Case c{"", spec_of(4, 2, 16, 12, 30), {}, false, {90}};
    c.spec.window_kv_heads = heads_with_windows;
    Batch b(c);
    b.forward(), b.backward();
    const Vector out = doubles(b.out), dq = doubles(b.dq), dk = doubles(b.dk), dv = doubles(b.dv);
    attention(b.q, b.pages.k, b.pages.v, b.at, c.spec, b.out, b.lse);
    attention_backward(b.dout, b.q, b.pages.k, b.pages.v, b.at, c.spec, b.out, b.lse, b.dq, b.dk, b.dv);
    expect_close(b.out, out, 1e-5, "out");
    expect_close(b.dq, dq, 1e-5, "dq");
    expect_close(b.dk, dk, 1e-5, "dk");
    expect_close(b.dv, dv, 1e-5, "dv");
  }
}

// The memory stands for pages that are gone.
TEST(PatternAttention, compressed_needs_only_its_local_pages) {
  Case c{"", spec_of(4, 2, 16, 12), {.kind = Kind::compressed, .local_blocks = 2}, false, {200}};
  Batch whole(c), b(c);
  whole.forward();
  for (int64_t t = 0; t < 200; ++t) {
    if (t >= 96) b.at.page_table.i32()[t / kKeyBlock - 3] = -1;
    b.forward(t, 1);
  }
  EXPECT_EQ(bytes(b.out), bytes(whole.out));
}

}  // namespace
}  // namespace ds
