// The routers beyond top-k, the z-loss and the attention among experts, against their formulas in double.
#include <algorithm>
#include <map>

#include "tensor/check.h"

namespace ds {
namespace {

using Kind = RouterSpec::Kind;
using Vector = std::vector<double>;

Vector softmax(const double* x, size_t n) {
  Vector p(x, x + n);
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v);
  for (double& v : p) v /= sum;
  return p;
}

double share_of_entropy(const Vector& p) {
  double h = 0;
  for (const double v : p) h -= v * std::log(v);
  return h / std::log(static_cast<double>(p.size()));
}

struct Case {
  const char* name;
  int64_t experts;
  RouterSpec spec;
};

// One token: p, and what experts are chosen by.
struct Reference {
  Vector p, groups, choosing;
  Reference(const RouterSpec& spec, const double* logits, const double* group_logits, const float* state, size_t experts) {
    Vector z(logits, logits + experts);
    if (spec.kind == Kind::adaptive)
      for (double& v : z) v /= spec.temperature;
    p = softmax(z.data(), experts);
    if (spec.kind == Kind::three_layer) {
      const size_t size = experts / spec.n_group;
      groups = softmax(group_logits, spec.n_group);
      for (size_t e = 0; e < experts; ++e) p[e] = softmax(logits + e / size * size, size)[e % size] * groups[e / size];
    }
    choosing = p;
    for (size_t e = 0; e < experts; ++e)
      choosing[e] *= spec.kind == Kind::adaptive ? 1 / (state[e] + 1e-6) : spec.kind == Kind::three_layer ? state[e] : 1;
  }
  std::vector<int32_t> order(const RouterSpec& spec) const {
    std::vector<int32_t> all;
    const size_t size = p.size() / spec.n_group;
    for (size_t e = 0; e < p.size(); ++e) {
      const auto better = [&](double g) { return g > groups[e / size]; };
      if (groups.empty() || std::count_if(groups.begin(), groups.end(), better) < spec.topk_group) all.push_back(static_cast<int32_t>(e));
    }
    std::stable_sort(all.begin(), all.end(), [&](int a, int b) { return choosing[a] > choosing[b]; });
    all.resize(spec.top_k);
    size_t n = all.size();
    if (spec.kind == Kind::confidence) {
      double reached = 0;
      for (n = 0; n < all.size() && (n < static_cast<size_t>(spec.min_k) || reached < spec.confidence); ++n) reached += p[all[n]];
    }
    if (spec.kind == Kind::entropy_fallback && share_of_entropy(p) > spec.entropy_threshold) all[0] = static_cast<int32_t>(p.size()), n = 1;
    std::fill(all.begin() + static_cast<std::ptrdiff_t>(n), all.end(), -1);
    return all;
  }
  // The weights of a choice that is held.
  Vector weights(const RouterSpec& spec, const int32_t* chosen) const {
    Vector w(spec.top_k);
    double sum = 0;
    for (int j = 0; j < spec.top_k; ++j)
      if (chosen[j] == static_cast<int32_t>(p.size())) return w[0] = 1, w;
    for (int j = 0; j < spec.top_k && chosen[j] >= 0; ++j) sum += w[j] = choosing[chosen[j]];
    const bool normalised = spec.norm_topk_prob || spec.kind == Kind::adaptive || spec.kind == Kind::three_layer;
    for (double& v : w) v *= spec.routed_scaling_factor / (normalised ? sum : 1);
    return w;
  }
};

class RouteKinds : public testing::TestWithParam<Case> {};

TEST_P(RouteKinds, choose_and_weigh_by_their_formula_and_have_its_gradient) {
  const auto& [name, experts, spec] = GetParam();
  const int64_t t = 40, groups = spec.n_group;
  const auto n = static_cast<size_t>(experts), k = static_cast<size_t>(spec.top_k);
  const bool layered = spec.kind == Kind::three_layer;
  Arena arena;
  const Tensor logits = strided(arena, random_tensor(arena, {t, experts}, 1)), group_logits = layered ? random_tensor(arena, {t, groups}, 2) : Tensor{};
  for (int64_t row = 0; row < t; ++row)  // some sure, some not
    for (int64_t e = 0; e < experts; ++e) logits.f32()[row * logits.row_stride + e] *= 0.1f * static_cast<float>(row % 30);
  const Tensor state = arena.make(DType::f32, {experts});
  for (size_t e = 0; e < n; ++e) state.f32()[e] = 0.01f + 0.05f * static_cast<float>(e * 5 % n);
  const Tensor scores = arena.make(DType::f32, {t, experts}), indices = arena.make(DType::i32, {t, spec.top_k}), weights = arena.make(DType::f32, {t, spec.top_k});
  route(logits, state && (layered || spec.kind == Kind::adaptive) ? state : Tensor{}, spec, scores, indices, weights, group_logits);

  const Vector z = doubles(logits), u = layered ? doubles(group_logits) : Vector();
  const auto reference = [&](const Vector& x, const Vector& g, size_t row) {
    return Reference(spec, x.data() + row * n, layered ? g.data() + row * static_cast<size_t>(groups) : nullptr, state.f32(), n);
  };
  Vector p, w;
  std::map<int, int> counts;
  for (size_t row = 0; row < static_cast<size_t>(t); ++row) {
    const Reference r = reference(z, u, row);
    const std::vector<int32_t> got(indices.i32() + row * k, indices.i32() + (row + 1) * k);
    ASSERT_EQ(got, r.order(spec)) << name << " " << row;
    ++counts[static_cast<int>(std::count_if(got.begin(), got.end(), [](int32_t e) { return e >= 0; }))];
    p.insert(p.end(), r.p.begin(), r.p.end());
    const Vector own = r.weights(spec, got.data());
    w.insert(w.end(), own.begin(), own.end());
  }
  EXPECT_EQ(counts.size(), spec.kind == Kind::entropy_fallback ? 2u : spec.kind == Kind::confidence ? k - spec.min_k + 1u : 1u);
  expect_close(scores, p, 1e-6, "scores");
  expect_close(weights, w, 2e-6, "weights");

  const Tensor dweights = random_tensor(arena, {t, spec.top_k}, 3), dscores = random_tensor(arena, {t, experts}, 4);
  const Tensor dlogits = arena.make(DType::f32, {t, experts}), dgroups = layered ? arena.make(DType::f32, {t, groups}) : Tensor{};
  route_backward(dweights, dscores, scores, indices, weights, spec, dlogits, dgroups);
  const auto loss = [&](const Vector& x, const Vector& g) {
    double sum = 0;
    for (size_t row = 0; row < static_cast<size_t>(t); ++row) {
      const Reference r = reference(x, g, row);
      const Vector own = r.weights(spec, indices.i32() + row * k);
      for (size_t j = 0; j < k; ++j) sum += own[j] * dweights.f32()[row * k + j];
      for (size_t e = 0; e < n; ++e) sum += r.p[e] * dscores.f32()[row * n + e];
    }
    return sum;
  };
  expect_close(dlogits, numeric_gradient([&](const Vector& x) { return loss(x, u); }, z), 1e-5, "dlogits");
  if (layered) expect_close(dgroups, numeric_gradient([&](const Vector& g) { return loss(z, g); }, u), 1e-5, "dgroup_logits");
}

RouterSpec spec_of(Kind kind, int top_k) {
  RouterSpec spec;
  spec.kind = kind, spec.top_k = top_k;
  return spec;
}
std::vector<Case> cases() {
  std::vector<Case> all = {{"fallback", 12, spec_of(Kind::entropy_fallback, 3)}, {"fallback_normalised", 21, spec_of(Kind::entropy_fallback, 2)},
                           {"adaptive", 21, spec_of(Kind::adaptive, 4)},         {"three_layer", 24, spec_of(Kind::three_layer, 3)},
                           {"three_layer_all_groups", 24, spec_of(Kind::three_layer, 3)},
                           {"confidence", 21, spec_of(Kind::confidence, 4)},     {"confidence_normalised", 16, spec_of(Kind::confidence, 4)}};
  all[0].spec.entropy_threshold = 0.8f;
  all[1].spec.entropy_threshold = 0.9f, all[1].spec.norm_topk_prob = true, all[1].spec.routed_scaling_factor = 2;
  all[2].spec.temperature = 1.7f, all[2].spec.routed_scaling_factor = 2.5f;
  all[3].spec.n_group = 6, all[3].spec.topk_group = 2;
  all[4].spec.n_group = all[4].spec.topk_group = 4, all[4].spec.routed_scaling_factor = 3;
  all[5].spec.confidence = 0.6f, all[5].spec.min_k = 2;
  all[6].spec.confidence = 0.5f, all[6].spec.norm_topk_prob = true;
  return all;
}
INSTANTIATE_TEST_SUITE_P(Kinds, RouteKinds, testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

TEST(RouterKinds, same_bytes_and_a_row_alone_is_the_row_in_a_batch) {
  for (const Case& c : cases())
    expect_same_bytes([&](Arena& arena) {
      const bool layered = c.spec.kind == Kind::three_layer, stateful = layered || c.spec.kind == Kind::adaptive;
      const Tensor logits = random_tensor(arena, {300, c.experts}, 1), state = stateful ? arena.make(DType::f32, {c.experts}) : Tensor{};
      if (stateful) fill(state, 0.3f);
      const Tensor groups = layered ? random_tensor(arena, {300, c.spec.n_group}, 2) : Tensor{}, dgroups = layered ? random_tensor(arena, {300, c.spec.n_group}, 2) : Tensor{};
      const Tensor scores = arena.make(DType::f32, {300, c.experts}), indices = arena.make(DType::i32, {300, c.spec.top_k}),
                   weights = arena.make(DType::f32, {300, c.spec.top_k}), dlogits = arena.make(DType::f32, {300, c.experts}),
                   entropy = arena.make(DType::f32, {300}), z = arena.make(DType::f32, {1});
      route(logits, state, c.spec, scores, indices, weights, groups);
      route_backward(weights, scores, scores, indices, weights, c.spec, dlogits, dgroups);
      router_entropy(scores, entropy);
      double loss = 0;
      z_loss(logits, 0.1f, dlogits, &loss);
      z.f32()[0] = static_cast<float>(loss);
      const Tensor score = arena.make(DType::f32, {1, c.experts}), index = arena.make(DType::i32, {1, c.spec.top_k}), weight = arena.make(DType::f32, {1, c.spec.top_k});
      route(rows(logits, 77, 1), state, c.spec, score, index, weight, layered ? rows(groups, 77, 1) : Tensor{});
      EXPECT_EQ(bytes(score), bytes(rows(scores, 77, 1)));
      EXPECT_EQ(bytes(index), bytes(rows(indices, 77, 1)));
      EXPECT_EQ(bytes(weight), bytes(rows(weights, 77, 1)));
      return std::vector<Tensor>{scores, indices, weights, dlogits, entropy, z};
    });
}

TEST(RouterKinds, refuse_what_does_not_fit) {
  Arena arena;
  const Tensor x = random_tensor(arena, {2, 8}, 1), w = arena.make(DType::f32, {2, 2}), i = arena.make(DType::i32, {2, 2}), s = arena.make(DType::f32, {2, 8});
  EXPECT_THROW(route(x, {}, spec_of(Kind::adaptive, 2), s, i, w), Error);     // no load
  EXPECT_THROW(route(x, {}, spec_of(Kind::three_layer, 2), s, i, w), Error);  // no logits of groups
  RouterSpec sigmoid = spec_of(Kind::confidence, 2);
  sigmoid.scores = RouterSpec::Scores::sigmoid;
  EXPECT_THROW(route(x, {}, sigmoid, s, i, w), Error);
  i.i32()[1] = 8;  // the fallback, which only one kind has
  EXPECT_THROW(route_backward(w, {}, s, i, w, spec_of(Kind::confidence, 2), x), Error);
}

TEST(RouterEntropy, is_the_formula_for_scores_that_sum_to_anything) {
  Arena arena;
  const Tensor scores = random_tensor(arena, {9, 21}, 1), entropy = arena.make(DType::f32, {9});
  Vector want;
  for (int64_t t = 0; t < 9; ++t) {
    double sum = 0;
    Vector p;
    for (int64_t e = 0; e < 21; ++e) sum += scores.f32()[t * 21 + e] = std::fabs(scores.f32()[t * 21 + e]);
    for (int64_t e = 0; e < 21; ++e) p.push_back(scores.f32()[t * 21 + e] / sum);
    want.push_back(share_of_entropy(p));
  }
  router_entropy(scores, entropy);
  expect_close(entropy, want, 1e-6);
}

TEST(ZLoss, is_the_formula_and_has_its_gradient) {
  Arena arena;
  const Tensor logits = strided(arena, random_tensor(arena, {13, 21}, 1, 3)), dlogits = arena.make(DType::f32, {13, 21});
  const auto reference = [](const Vector& x) {
    double sum = 0;
    for (size_t t = 0; t < 13; ++t) {
      double of_row = 0;
      for (size_t e = 0; e < 21; ++e) of_row += std::exp(x[t * 21 + e]);
      sum += std::log(of_row) * std::log(of_row);
    }
    return 0.3 * sum / 13;
  };
  double loss = 1;
  z_loss(logits, 0.3f, dlogits, &loss);
  EXPECT_NEAR(loss, 1 + reference(doubles(logits)), 1e-5);
  expect_close(dlogits, numeric_gradient(reference, doubles(logits)), 5e-6);
}

// 12 tokens with 4 slots each, some of them empty; 8 experts in groups.
struct Mixed {
  static constexpr int64_t kTokens = 12, kTopK = 4, kExperts = 8, kColumns = 21;
  Arena arena;
  Tensor indices, row_of_slot, x, gate;
  int64_t count = 0;
  Mixed() {
    indices = arena.make(DType::i32, {kTokens, kTopK});
    for (int64_t t = 0; t < kTokens; ++t)
      for (int64_t j = 0; j < kTopK; ++j) indices.i32()[t * kTopK + j] = j > t % kTopK ? -1 : static_cast<int32_t>((3 * t + 5 * j) % kExperts);
    const Tensor offsets = arena.make(DType::i32, {kExperts + 1}), slots = arena.make(DType::i32, {kTokens * kTopK});
    row_of_slot = arena.make(DType::i32, {kTokens * kTopK});
    sort_by_expert(indices, offsets, slots, row_of_slot);
    count = offsets.i32()[kExperts];
    EXPECT_EQ(count, 3 * (1 + 2 + 3 + 4));
    for (int64_t i = 0; i < kTokens * kTopK; ++i) {
      EXPECT_EQ(row_of_slot.i32()[i] < 0, indices.i32()[i] < 0);
      EXPECT_EQ(slots.i32()[i] < 0, i >= count);
    }
    x = random_tensor(arena, {count, kColumns}, 1);
    gate = random_tensor(arena, {1}, 2);
  }
  Vector reference(const Vector& v, double g, int group) const {
    Vector y = v;
    const auto at = [&](int64_t slot, int64_t c) { return v[row_of_slot.i32()[slot] * kColumns + c]; };
    for (int64_t i = 0; i < kTokens * kTopK; ++i) {
      if (indices.i32()[i] < 0) continue;
      Vector a;
      std::vector<int64_t> others;
      for (int64_t j = i / kTopK * kTopK; j < (i / kTopK + 1) * kTopK; ++j) {
        if (indices.i32()[j] < 0 || indices.i32()[j] / group != indices.i32()[i] / group) continue;
        double dot = 0;
        for (int64_t c = 0; c < kColumns; ++c) dot += at(i, c) * at(j, c);
        a.push_back(dot / std::sqrt(static_cast<double>(kColumns)));
        others.push_back(j);
      }
      a = softmax(a.data(), a.size());
      for (size_t o = 0; o < others.size(); ++o)
        for (int64_t c = 0; c < kColumns; ++c) y[row_of_slot.i32()[i] * kColumns + c] += g * a[o] * at(others[o], c);
    }
    return y;
  }
};

TEST(ExpertAttention, is_the_formula_and_has_its_gradient) {
  for (const int group : {8, 4, 2}) {
    Mixed m;
    const Tensor y = random_tensor(m.arena, {m.count, Mixed::kColumns}, 3), dy = random_tensor(m.arena, {m.count, Mixed::kColumns}, 4);
    const Tensor dx = random_tensor(m.arena, {m.count, Mixed::kColumns}, 5), dgate = m.arena.make(DType::f32, {1});
    expert_attention(m.x, m.indices, m.row_of_slot, group, m.gate, y);
    const double g = m.gate.f32()[0];
    expect_close(y, m.reference(doubles(m.x), g, group), 5e-6, "y");
    fill(dgate, 1);  // is added to
    expert_attention_backward(dy, m.x, m.indices, m.row_of_slot, group, m.gate, dx, dgate);
    expect_close(dx, numeric_gradient([&](const Vector& v) { return dot(doubles(dy), m.reference(v, g, group)); }, doubles(m.x)), 1e-5, "dx");
    const Vector want = numeric_gradient([&](const Vector& v) { return dot(doubles(dy), m.reference(doubles(m.x), v[0], group)); }, {g});
    EXPECT_NEAR(dgate.f32()[0], 1 + want[0], 1e-5 * (1 + std::fabs(want[0])));
    m.row_of_slot.i32()[0] = static_cast<int32_t>(m.count);
    EXPECT_THROW(expert_attention(m.x, m.indices, m.row_of_slot, group, m.gate, y), Error);
  }
}

// Slots without a row count for nothing in what stands around the experts.
TEST(Moe, slots_without_a_row_are_left_out) {
  Mixed m;
  const int64_t slots = Mixed::kTokens * Mixed::kTopK, n = Mixed::kColumns;
  const Tensor w = random_tensor(m.arena, {Mixed::kTokens, Mixed::kTopK}, 6), y = m.arena.make(DType::f32, {Mixed::kTokens, n}), back = m.arena.make(DType::f32, {Mixed::kTokens, n});
  const Tensor dy = random_tensor(m.arena, {Mixed::kTokens, n}, 7), dx = m.arena.make(DType::f32, {m.count, n}), dw = random_tensor(m.arena, {Mixed::kTokens, Mixed::kTopK}, 8);
  combine(m.x, m.row_of_slot, w, y);
  combine_backward(dy, m.x, m.row_of_slot, w, dx, dw);
  gather_rows_backward(m.x, m.row_of_slot, Mixed::kTopK, back);
  Vector sums(Mixed::kTokens * n), plain(Mixed::kTokens * n), dots(slots);
  for (int64_t i = 0; i < slots; ++i) {
    const int32_t r = m.row_of_slot.i32()[i];
    for (int64_t c = 0; c < n && r >= 0; ++c) {
      sums[i / Mixed::kTopK * n + c] += static_cast<double>(w.f32()[i]) * m.x.f32()[r * n + c];
      plain[i / Mixed::kTopK * n + c] += m.x.f32()[r * n + c];
      dots[i] += static_cast<double>(dy.f32()[i / Mixed::kTopK * n + c]) * m.x.f32()[r * n + c];
      EXPECT_EQ(dx.f32()[r * n + c], dy.f32()[i / Mixed::kTopK * n + c] * w.f32()[i]);
    }
  }
  expect_close(y, sums, 1e-6);
  expect_close(back, plain, 1e-6);
  expect_close(dw, dots, 1e-6);
}

TEST(ExpertAttention, same_bytes) {
  expect_same_bytes([](Arena& arena) {
    Mixed m;
    const Tensor x = random_tensor(arena, {m.count, 700}, 1), y = arena.make(DType::f32, {m.count, 700}), dx = arena.make(DType::f32, {m.count, 700}), dgate = arena.make(DType::f32, {1});
    expert_attention(x, m.indices, m.row_of_slot, 4, m.gate, y);
    expert_attention_backward(y, x, m.indices, m.row_of_slot, 4, m.gate, dx, dgate);
    return std::vector<Tensor>{y, dx, dgate};
  });
}

}  // namespace
}  // namespace ds
