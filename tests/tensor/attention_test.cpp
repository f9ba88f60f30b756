#include "tensor/check.h"

namespace ds {
namespace {

// A batch of whole sequences with their pages in a scattered order. Pages hold NaN where nothing was written.
struct Batch {
  AttentionSpec spec;
  std::vector<int> lengths;
  Arena arena;
  Tensor q, k, v, k_pages, v_pages, out, lse, dout, dq, dk, dv;
  Rows at;

  Batch(const AttentionSpec& s, std::vector<int> sequence_lengths, DType dtype = DType::f32, uint64_t seed = 1) : spec(s), lengths(std::move(sequence_lengths)) {
    std::vector<int32_t> sequence, position;
    int64_t most = 0, pages = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      for (int p = 0; p < lengths[i]; ++p) sequence.push_back(static_cast<int32_t>(i)), position.push_back(p);
      const int64_t needed = (lengths[i] + kKeyBlock - 1) / kKeyBlock;
      most = std::max(most, needed);
      pages += needed;
    }
    at.sequence = int_tensor(arena, sequence);
    at.position = int_tensor(arena, position);
    at.page_table = arena.make(DType::i32, {static_cast<int64_t>(lengths.size()), most});
    std::fill(at.page_table.i32(), at.page_table.i32() + at.page_table.elements(), -1);
    int64_t next = 0;
    for (size_t i = 0; i < lengths.size(); ++i)
      for (int64_t b = 0; b * kKeyBlock < lengths[i]; ++b, ++next)
        at.page_table.i32()[static_cast<int64_t>(i) * most + b] = static_cast<int32_t>(pages - 1 - next);
    const int64_t t = static_cast<int64_t>(position.size());
    q = strided(arena, random_tensor(arena, {t, s.heads * s.head_dim}, seed));
    k = strided(arena, random_tensor(arena, {t, s.kv_heads * s.head_dim}, seed + 1));
    v = strided(arena, random_tensor(arena, {t, s.kv_heads * s.v_head_dim}, seed + 2));
    dout = random_tensor(arena, {t, s.heads * s.v_head_dim}, seed + 3);
    out = arena.make(DType::f32, {t, s.heads * s.v_head_dim});
    lse = arena.make(DType::f32, {t, s.heads});
    dq = arena.make(DType::f32, {t, s.heads * s.head_dim});
    dk = arena.make(DType::f32, {t, s.kv_heads * s.head_dim});
    dv = arena.make(DType::f32, {t, s.kv_heads * s.v_head_dim});
    k_pages = arena.make(dtype, {pages, s.kv_heads, s.head_dim, kKeyBlock});
    v_pages = arena.make(dtype, {pages, s.kv_heads, kKeyBlock, s.v_head_dim});
    if (dtype == DType::f32) {
      fill(k_pages, NAN);
      fill(v_pages, NAN);
    } else {
      add_scales(k_pages, scale_parts(s.head_dim, s.key_split));
      add_scales(v_pages, scale_parts(s.v_head_dim));
    }
  }
  void add_scales(Tensor& of, int64_t parts) {
    const Tensor scales = arena.make(DType::f32, {of.shape[0], of.shape[1], parts, kKeyBlock});
    fill(scales, NAN);
    of.scales = scales.data;
    of.scale_dtype = DType::f32;
  }
  void forward() {
    kv_write(k, v, at, spec, k_pages, v_pages);
    attention(q, k_pages, v_pages, at, spec, out, lse);
  }
  void backward() { attention_backward(dout, q, k_pages, v_pages, at, spec, out, lse, dq, dk, dv); }
};

struct Result {
  std::vector<double> out, lse;
};

// Row i of the sequence that begins at row `start`, head h: appends its output and its log of the sum.
void reference_row(const Batch& b, const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v, int start,
                   int i, int h, Result& result) {
  const AttentionSpec& s = b.spec;
  const int d = s.head_dim, vd = s.v_head_dim, kv = h / (s.heads / s.kv_heads), first = s.window ? std::max(0, i - s.window + 1) : 0;
  std::vector<double> weight;
  double sum = 0;
  for (int j = first; j <= i; ++j) {
    double score = 0;
    for (int x = 0; x < d; ++x) score += q[((start + i) * s.heads + h) * d + x] * k[((start + j) * s.kv_heads + kv) * d + x];
    score *= s.scale;
    if (s.softcap > 0) score = s.softcap * std::tanh(score / s.softcap);
    weight.push_back(std::exp(score));
    sum += weight.back();
  }
  result.lse.push_back(std::log(sum));
  for (int x = 0; x < vd; ++x) {
    double value = 0;
    for (int j = first; j <= i; ++j) value += weight[j - first] / sum * v[((start + j) * s.kv_heads + kv) * vd + x];
    result.out.push_back(value);
  }
}

Result reference(const Batch& b, const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v) {
  Result result;
  int start = 0;
  for (const int length : b.lengths) {
    for (int i = 0; i < length; ++i)
      for (int h = 0; h < b.spec.heads; ++h) reference_row(b, q, k, v, start, i, h, result);
    start += length;
  }
  return result;
}

struct Case {
  AttentionSpec spec;
  std::vector<int> lengths;
};

AttentionSpec spec_of(int heads, int kv_heads, int head_dim, int v_head_dim, int window = 0, float softcap = 0) {
  return {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .v_head_dim = v_head_dim,
          .scale = 1 / std::sqrt(static_cast<float>(head_dim)), .window = window, .softcap = softcap};
}

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, agrees_with_the_reference_and_its_finite_differences) {
  Batch b(GetParam().spec, GetParam().lengths);
  b.forward();
  const auto q = doubles(b.q), k = doubles(b.k), v = doubles(b.v), dout = doubles(b.dout);
  const Result want = reference(b, q, k, v);
  expect_close(b.out, want.out, 2e-6, "out");
  expect_close(b.lse, want.lse, 2e-6, "lse");
  b.backward();
  // Some of the inputs' numbers, so that the differences take no minutes.
  const auto check = [&](const Tensor& got, const std::vector<double>& at, const auto& f) {
    std::vector<double> x = at, grad = doubles(got);
    double mean = 0;
    for (const double g : grad) mean += std::fabs(g) / static_cast<double>(grad.size());
    for (size_t i = 0; i < x.size(); i += 1 + x.size() / 97) {
      const double h = 1e-5;
      x[i] = at[i] + h;
      const double above = dot(dout, f(x).out);
      x[i] = at[i] - h;
      const double slope = (above - dot(dout, f(x).out)) / (2 * h);
      x[i] = at[i];
      ASSERT_LE(std::fabs(grad[i] - slope), 1e-5 * (mean + std::fabs(slope) + 0.1)) << i << ": " << grad[i] << ", not " << slope;
    }
  };
  check(b.dq, q, [&](const auto& x) { return reference(b, x, k, v); });
  check(b.dk, k, [&](const auto& x) { return reference(b, q, x, v); });
  check(b.dv, v, [&](const auto& x) { return reference(b, q, k, x); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Case{spec_of(2, 2, 8, 8), {5, 1, 40}}, Case{spec_of(4, 2, 12, 20), {33, 7}},
                                         Case{spec_of(6, 1, 5, 3), {37}}, Case{spec_of(1, 1, 16, 16, 10), {70}},
                                         Case{spec_of(2, 1, 7, 18, 33), {68, 3}}, Case{spec_of(2, 1, 6, 4, 1), {34}},
                                         Case{spec_of(2, 2, 8, 8, 0, 0.7f), {35, 2}}, Case{spec_of(4, 2, 4, 6, 5, 1.5f), {39}},
                                         Case{spec_of(40, 1, 6, 5), {4}}));

TEST(Attention, prefill_chunks_single_steps_and_batches_give_the_same_bytes) {
  for (const AttentionSpec& spec : {spec_of(4, 2, 24, 40), spec_of(3, 3, 16, 13, 20), spec_of(2, 1, 9, 16, 0, 2.0f)}) {
    on_each_target([&] {
      Batch whole(spec, {100, 3, 33});
      whole.forward();
      // The first sequence alone, position by position and in uneven chunks.
      for (const int chunk : {1, 7, 50}) {
        Batch steps(spec, {100, 3, 33});
        for (int64_t t = 0; t < 100; t += chunk) {
          const int64_t n = std::min<int64_t>(chunk, 100 - t);
          const Rows at{rows(steps.at.sequence, t, n), rows(steps.at.position, t, n), steps.at.page_table};
          kv_write(rows(steps.k, t, n), rows(steps.v, t, n), at, spec, steps.k_pages, steps.v_pages);
          attention(rows(steps.q, t, n), steps.k_pages, steps.v_pages, at, spec, rows(steps.out, t, n), rows(steps.lse, t, n));
        }
        EXPECT_EQ(bytes(rows(steps.out, 0, 100)), bytes(rows(whole.out, 0, 100))) << chunk;
        EXPECT_EQ(bytes(rows(steps.lse, 0, 100)), bytes(rows(whole.lse, 0, 100))) << chunk;
      }
    });
  }
}

// Single rows of a sequence that is longer than a section, whose sections are shared out where there are few heads.
void attend_rows(Batch& b, const std::vector<int>& which) {
  for (const int t : which) {
    const Rows at{rows(b.at.sequence, t, 1), rows(b.at.position, t, 1), b.at.page_table};
    attention(rows(b.q, t, 1), b.k_pages, b.v_pages, at, b.spec, rows(b.out, t, 1), rows(b.lse, t, 1));
  }
}

TEST(Attention, long_sequences_agree_with_the_reference_and_their_rows_one_by_one) {
  const std::vector<int> some = {0, 31, 127, 128, 1022, 1023, 1024, 1151, 2047, 2048, 2049, 2299};
  for (const AttentionSpec& spec : {spec_of(2, 1, 24, 20), spec_of(1, 1, 16, 16, 0, 3.0f), spec_of(3, 3, 8, 16, 1100), spec_of(8, 1, 40, 33, 300)}) {
    Batch whole(spec, {2300});
    whole.forward();
    const auto q = doubles(whole.q), k = doubles(whole.k), v = doubles(whole.v);
    for (const int t : some) {
      Result want;
      for (int h = 0; h < spec.heads; ++h) reference_row(whole, q, k, v, 0, t, h, want);
      expect_close(rows(whole.out, t, 1), want.out, 1e-5, "out");
      expect_close(rows(whole.lse, t, 1), want.lse, 1e-5, "lse");
    }
    for (const size_t count : {1u, 2u, 5u}) {
      set_threads(count);
      on_each_target([&] {
        Batch steps(spec, {2300});
        kv_write(steps.k, steps.v, steps.at, spec, steps.k_pages, steps.v_pages);
        attend_rows(steps, some);
        for (const int t : some) {
          ASSERT_EQ(bytes(rows(steps.out, t, 1)), bytes(rows(whole.out, t, 1))) << t << " with " << count << " threads";
          ASSERT_EQ(bytes(rows(steps.lse, t, 1)), bytes(rows(whole.lse, t, 1))) << t << " with " << count << " threads";
        }
      });
    }
    set_threads(0);
  }
}

TEST(Attention, one_wide_key_head_for_all_query_heads) {  // latent attention in its absorbed form
  const AttentionSpec spec = spec_of(16, 1, 576, 512);
  Batch b(spec, {70, 3});
  b.forward();
  const Result want = reference(b, doubles(b.q), doubles(b.k), doubles(b.v));
  expect_close(b.out, want.out, 1e-5, "out");  // chains of 576 products
  expect_close(b.lse, want.lse, 1e-5, "lse");
}

// Alone, a row's heads are cut into as many tiles as threads need.
TEST(Attention, heads_of_one_row_are_the_same_for_any_number_of_threads) {
  for (const int heads : {3, 8, 70}) {
    Batch b(spec_of(heads, 1, 40, 24), {200});
    b.forward();
    const std::string out = bytes(rows(b.out, 199, 1)), lse = bytes(rows(b.lse, 199, 1));
    const Rows at{rows(b.at.sequence, 199, 1), rows(b.at.position, 199, 1), b.at.page_table};
    for (const size_t count : {1, 2, 3, 8}) {
      set_threads(count);
      fill(b.out, 0);
      attention(rows(b.q, 199, 1), b.k_pages, b.v_pages, at, b.spec, rows(b.out, 199, 1), rows(b.lse, 199, 1));
      EXPECT_EQ(bytes(rows(b.out, 199, 1)), out) << heads << " heads, " << count << " threads";
      EXPECT_EQ(bytes(rows(b.lse, 199, 1)), lse) << heads << " heads, " << count << " threads";
    }
    set_threads(0);
  }
}

TEST(Attention, pages_before_the_window_may_be_gone) {
  const AttentionSpec spec = spec_of(2, 1, 16, 16, 100);
  Batch b(spec, {1300});
  b.forward();
  const auto want = bytes(rows(b.out, 1200, 100));
  // Row 1200 sees from key 1101 on, of block 34.
  std::fill(b.at.page_table.i32(), b.at.page_table.i32() + 34, -1);
  const Rows at{rows(b.at.sequence, 1200, 100), rows(b.at.position, 1200, 100), b.at.page_table};
  attention(rows(b.q, 1200, 100), b.k_pages, b.v_pages, at, spec, rows(b.out, 1200, 100), rows(b.lse, 1200, 100));
  EXPECT_EQ(bytes(rows(b.out, 1200, 100)), want);
  b.at.page_table.i32()[34] = -1;
  EXPECT_THROW(attention(rows(b.q, 1200, 100), b.k_pages, b.v_pages, at, spec, rows(b.out, 1200, 100), rows(b.lse, 1200, 100)), Error);
}

TEST(Attention, a_sequences_gradients_do_not_depend_on_its_batch) {
  const AttentionSpec spec = spec_of(4, 2, 24, 40);
  Batch both(spec, {45, 70}), one(spec, {45});
  both.forward(), both.backward();
  std::copy(both.dout.f32(), both.dout.f32() + one.dout.elements(), one.dout.f32());
  for (auto [from, to] : {std::pair{&both.q, &one.q}, {&both.k, &one.k}, {&both.v, &one.v}})
    for (int64_t r = 0; r < 45; ++r) std::copy_n(from->f32() + r * from->row_stride, from->shape[1], to->f32() + r * to->row_stride);
  one.forward(), one.backward();
  EXPECT_EQ(bytes(one.dq), bytes(rows(both.dq, 0, 45)));
  EXPECT_EQ(bytes(one.dk), bytes(rows(both.dk, 0, 45)));
  EXPECT_EQ(bytes(one.dv), bytes(rows(both.dv, 0, 45)));
}

TEST(Attention, same_bytes) {
  for (const AttentionSpec& spec : {spec_of(4, 2, 24, 40), spec_of(3, 3, 16, 13, 20), spec_of(2, 1, 48, 32, 0, 2.0f)}) {
    std::vector<std::unique_ptr<Batch>> alive;
    expect_same_bytes([&](Arena&) {
      alive.push_back(std::make_unique<Batch>(spec, std::vector<int>{130, 1, 31, 64}));
      Batch& b = *alive.back();
      b.forward(), b.backward();
      return std::vector<Tensor>{b.out, b.lse, b.dq, b.dk, b.dv};
    });
  }
}

TEST(Attention, great_scores_do_not_overflow) {
  Batch b(spec_of(1, 1, 8, 8), {40});
  scale(b.q, 300);
  b.forward();
  for (const double x : doubles(b.out)) ASSERT_TRUE(std::isfinite(x));
}

TEST(Attention, refuses_rows_without_pages) {
  Batch b(spec_of(2, 2, 8, 8), {40, 5});
  b.forward();
  b.at.position.i32()[3] = 64;
  EXPECT_THROW(b.forward(), Error);
  b.at.position.i32()[3] = 4;
  EXPECT_NO_THROW(b.forward());
  EXPECT_THROW(b.backward(), Error);  // positions no longer count from 0
  b.at.position.i32()[3] = 3;
  b.at.sequence.i32()[2] = 2;
  EXPECT_THROW(b.forward(), Error);
  b.at.sequence.i32()[2] = 1;
  EXPECT_THROW(b.backward(), Error);  // rows of a sequence apart
  b.at.sequence.i32()[2] = 0;
  b.at.page_table.i32()[1] = 99;
  EXPECT_THROW(b.forward(), Error);
}

// ---- Pages in 8 bits ----

// The numbers that i8 pages hold, as f32 pages. rows: one scale for each (values), else one for each column (keys).
Tensor widened(Arena& arena, const Tensor& pages, bool rows, int64_t split) {
  const Tensor wide = arena.make(DType::f32, {pages.shape[0], pages.shape[1], pages.shape[2], pages.shape[3]});
  const auto* scales = static_cast<const float*>(pages.scales);
  const int64_t cols = pages.shape[3], parts = rows ? (cols + 31) / 32 : (split + 31) / 32 + (pages.shape[2] - split + 31) / 32;
  for (int64_t i = 0; i < wide.elements(); ++i) {
    const int64_t entry = i / (pages.shape[2] * cols), row = i / cols % pages.shape[2], col = i % cols;
    const int64_t column = rows ? col : row, part = column < split ? column / 32 : (split + 31) / 32 + (column - split) / 32;
    const float scale = scales[(entry * parts + part) * kKeyBlock + (rows ? row : col)];
    wide.f32()[i] = static_cast<float>(pages.as<int8_t>()[i]) * scale;
  }
  return wide;
}

TEST(RoundedPages, hold_the_nearest_integers_and_their_scales) {
  const AttentionSpec spec{.heads = 1, .kv_heads = 1, .head_dim = 6, .v_head_dim = 5, .key_split = 4};
  Batch b(spec, {40}, DType::i8);
  const auto set = [](const Tensor& x, int64_t row, std::initializer_list<float> values) {
    std::copy(values.begin(), values.end(), x.f32() + row * x.row_stride);
  };
  set(b.k, 33, {-254, 1, 3, -5, 12.7f, 0.05f});  // halves go to the even integer; the last two have a scale of their own
  set(b.v, 33, {0, 0, 0, 0, 0});
  set(b.k, 34, {1, INFINITY, 0, 0, 1, -1});
  set(b.v, 34, {1e-35f, 0, 0, 0, 0});
  set(b.v, 35, {3.0e38f, -3.0e38f, 0, 1.5e38f, 1});
  set(b.v, 36, {0, 1, 2, NAN, 0});
  kv_write(b.k, b.v, b.at, spec, b.k_pages, b.v_pages);
  const int64_t page = b.at.page_table.i32()[1];
  const auto key = [&](int64_t d, int64_t slot) { return int{b.k_pages.as<int8_t>()[(page * 6 + d) * kKeyBlock + slot]}; };
  const auto value = [&](int64_t d, int64_t slot) { return int{b.v_pages.as<int8_t>()[(page * kKeyBlock + slot) * 5 + d]}; };
  const auto k_scale = [&](int part, int64_t slot) { return static_cast<const float*>(b.k_pages.scales)[(page * 2 + part) * kKeyBlock + slot]; };
  const auto v_scale = [&](int64_t slot) { return static_cast<const float*>(b.v_pages.scales)[page * kKeyBlock + slot]; };
  const int want[] = {-127, 0, 2, -2, 127, 0};
  for (int d = 0; d < 6; ++d) EXPECT_EQ(key(d, 1), want[d]) << d;
  EXPECT_EQ(k_scale(0, 1), 2.0f);
  EXPECT_EQ(k_scale(1, 1), 12.7f / 127);
  EXPECT_EQ(v_scale(1), 0);
  EXPECT_TRUE(std::isnan(k_scale(0, 2)));
  EXPECT_EQ(k_scale(1, 2), 1 / 127.0f);
  EXPECT_EQ(key(5, 2), -127);
  EXPECT_EQ(v_scale(2), 0);  // too small to be told from zeros
  EXPECT_EQ(value(0, 3), 127);
  EXPECT_EQ(value(1, 3), -127);
  EXPECT_EQ(value(3, 3), 64);
  EXPECT_TRUE(std::isnan(v_scale(4)));
  // Random rows: no further from what was written than half a step.
  const Tensor keys = widened(b.arena, b.k_pages, false, 4), values = widened(b.arena, b.v_pages, true, 0);
  for (int64_t p = 0; p < 32; ++p) {
    const int64_t first = b.at.page_table.i32()[0];
    float most = 0;
    for (int64_t d = 0; d < 4; ++d) most = std::max(most, std::fabs(b.k.f32()[p * b.k.row_stride + d]));
    for (int64_t d = 0; d < 4; ++d)
      EXPECT_NEAR(keys.f32()[(first * 6 + d) * kKeyBlock + p], b.k.f32()[p * b.k.row_stride + d], most / 127 * 0.50001f);
    most = 0;
    for (int64_t d = 0; d < 5; ++d) most = std::max(most, std::fabs(b.v.f32()[p * b.v.row_stride + d]));
    for (int64_t d = 0; d < 5; ++d)
      EXPECT_NEAR(values.f32()[(first * kKeyBlock + p) * 5 + d], b.v.f32()[p * b.v.row_stride + d], most / 127 * 0.50001f);
  }
}

AttentionSpec split_spec(int heads, int head_dim, int v_head_dim, int split) {
  AttentionSpec spec = spec_of(heads, 1, head_dim, v_head_dim);
  spec.key_split = split;
  return spec;
}

class RoundedAttention : public testing::TestWithParam<Case> {};

TEST_P(RoundedAttention, has_the_bits_of_f32_pages_with_the_same_numbers) {
  const auto& [spec, lengths] = GetParam();
  Batch b(spec, lengths, DType::i8);
  b.forward();
  const std::string out = bytes(b.out), lse = bytes(b.lse);
  const Tensor keys = widened(b.arena, b.k_pages, false, spec.key_split), values = widened(b.arena, b.v_pages, true, 0);
  attention(b.q, keys, values, b.at, spec, b.out, b.lse);
  EXPECT_TRUE(bytes(b.out) == out && bytes(b.lse) == lse);
  // And those agree with the plain formula over the numbers as rows.
  std::vector<double> k, v;
  for (int64_t t = 0; t < b.k.rows(); ++t) {
    const int64_t position = b.at.position.i32()[t], slot = position % kKeyBlock;
    const int64_t page = b.at.page_table.i32()[b.at.sequence.i32()[t] * b.at.page_table.shape[1] + position / kKeyBlock];
    for (int64_t h = 0; h < spec.kv_heads; ++h) {
      const int64_t entry = page * spec.kv_heads + h;
      for (int64_t d = 0; d < spec.head_dim; ++d) k.push_back(keys.f32()[(entry * spec.head_dim + d) * kKeyBlock + slot]);
      for (int64_t d = 0; d < spec.v_head_dim; ++d) v.push_back(values.f32()[(entry * kKeyBlock + slot) * spec.v_head_dim + d]);
    }
  }
  const Result want = reference(b, doubles(b.q), k, v);
  expect_close(b.out, want.out, 1e-5, "out");
  expect_close(b.lse, want.lse, 1e-5, "lse");
}

INSTANTIATE_TEST_SUITE_P(Shapes, RoundedAttention,
                         testing::Values(Case{spec_of(2, 2, 8, 8), {5, 1, 40}}, Case{spec_of(4, 2, 12, 20), {133, 7}},
                                         Case{spec_of(6, 1, 5, 3), {37}}, Case{spec_of(2, 1, 7, 18, 33), {68, 3}},
                                         Case{spec_of(1, 1, 64, 64, 300), {1200}}, Case{spec_of(4, 2, 4, 6, 5, 1.5f), {39}},
                                         Case{spec_of(2, 2, 64, 64), {1100}}, Case{split_spec(16, 72, 64, 64), {150, 3}},
                                         Case{spec_of(2, 1, 65, 130), {70}}, Case{split_spec(4, 230, 150, 150), {100}}));

TEST(RoundedAttention, same_bytes) {
  for (const AttentionSpec& spec : {spec_of(4, 2, 24, 40), spec_of(3, 3, 16, 13, 20), split_spec(8, 140, 99, 99)}) {
    std::vector<std::unique_ptr<Batch>> alive;
    expect_same_bytes([&](Arena&) {
      alive.push_back(std::make_unique<Batch>(spec, std::vector<int>{130, 1, 31, 64}, DType::i8));
      Batch& b = *alive.back();
      b.forward();
      return std::vector<Tensor>{b.out, b.lse, b.k_pages, b.v_pages};
    });
  }
}

TEST(RoundedAttention, chunks_single_steps_and_threads_give_the_same_bytes) {
  for (const AttentionSpec& spec : {spec_of(2, 1, 24, 40), spec_of(2, 2, 16, 13, 200), split_spec(5, 40, 33, 33)}) {
    Batch whole(spec, {1100, 3}, DType::i8);
    whole.forward();
    for (const int chunk : {1, 7, 50}) {
      Batch steps(spec, {1100, 3}, DType::i8);
      set_threads(static_cast<size_t>(chunk % 4));
      on_each_target([&] {
        for (int64_t t = 0; t < 1100; t += chunk) {
          const int64_t n = std::min<int64_t>(chunk, 1100 - t);
          const Rows at{rows(steps.at.sequence, t, n), rows(steps.at.position, t, n), steps.at.page_table};
          kv_write(rows(steps.k, t, n), rows(steps.v, t, n), at, spec, steps.k_pages, steps.v_pages);
          attention(rows(steps.q, t, n), steps.k_pages, steps.v_pages, at, spec, rows(steps.out, t, n), rows(steps.lse, t, n));
        }
        EXPECT_TRUE(bytes(rows(steps.out, 0, 1100)) == bytes(rows(whole.out, 0, 1100))) << chunk;
        EXPECT_TRUE(bytes(rows(steps.lse, 0, 1100)) == bytes(rows(whole.lse, 0, 1100))) << chunk;
      });
      set_threads(0);
    }
  }
}

TEST(RoundedAttention, refuses_pages_without_scales_and_training) {
  Batch b(spec_of(2, 2, 8, 8), {40}, DType::i8);
  b.forward();
  EXPECT_THROW(b.backward(), Error);
  b.v_pages.scales = nullptr;
  EXPECT_THROW(b.forward(), Error);
  Batch mixed(spec_of(2, 2, 8, 8), {40}, DType::i8), floats(spec_of(2, 2, 8, 8), {40});
  mixed.v_pages = floats.v_pages;
  EXPECT_THROW(mixed.forward(), Error);
}

}  // namespace
}  // namespace ds
