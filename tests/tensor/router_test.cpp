#include <algorithm>
#include <numeric>

#include "tensor/check.h"

namespace ds {
namespace {

using Scores = RouterSpec::Scores;
using GroupScore = RouterSpec::GroupScore;

std::vector<double> reference_scores(const std::vector<double>& x, size_t experts, Scores kind) {
  std::vector<double> s(x.size());
  for (size_t row = 0; row < x.size(); row += experts) {
    double sum = 0;
    for (size_t e = 0; e < experts; ++e) sum += s[row + e] = kind == Scores::sigmoid ? 1 / (1 + std::exp(-x[row + e])) : std::exp(x[row + e]);
    for (size_t e = 0; kind == Scores::softmax && e < experts; ++e) s[row + e] /= sum;
  }
  return s;
}

// The order in which experts are chosen, by sorting: groups by their score, then the kept groups' experts.
std::vector<int32_t> reference_choice(std::vector<float> values, const RouterSpec& spec) {
  const size_t size = values.size() / spec.n_group;
  std::vector<std::pair<float, size_t>> groups;
  for (size_t g = 0; g < static_cast<size_t>(spec.n_group); ++g) {
    std::vector<float> in(values.begin() + g * size, values.begin() + (g + 1) * size);
    std::sort(in.rbegin(), in.rend());
    groups.push_back({-(spec.group_score == GroupScore::max || size < 2 ? in[0] : in[0] + in[1]), g});
  }
  std::stable_sort(groups.begin(), groups.end(), [](auto a, auto b) { return a.first < b.first; });
  std::vector<int32_t> order;
  for (int i = 0; i < spec.topk_group; ++i)
    for (size_t e = 0; e < size; ++e) order.push_back(static_cast<int32_t>(groups[i].second * size + e));
  std::sort(order.begin(), order.end());
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  order.resize(spec.top_k);
  return order;
}

std::vector<double> reference_weights(const std::vector<double>& scores, size_t experts, const Tensor& indices, const RouterSpec& spec) {
  std::vector<double> weights;
  const size_t k = spec.top_k;
  for (size_t t = 0; t < scores.size() / experts; ++t) {
    double sum = 0;
    for (size_t j = 0; j < k; ++j) sum += scores[t * experts + indices.i32()[t * k + j]];
    for (size_t j = 0; j < k; ++j)
      weights.push_back(scores[t * experts + indices.i32()[t * k + j]] / (spec.norm_topk_prob ? sum : 1) * spec.routed_scaling_factor);
  }
  return weights;
}

struct Routed {
  Arena arena;
  Tensor logits, bias, scores, indices, weights;
  Routed(int64_t t, int64_t experts, const RouterSpec& spec, bool with_bias) {
    logits = strided(arena, random_tensor(arena, {t, experts}, 1));
    if (with_bias) bias = random_tensor(arena, {experts}, 2, 0.1);
    scores = arena.make(DType::f32, {t, experts});
    indices = arena.make(DType::i32, {t, spec.top_k});
    weights = arena.make(DType::f32, {t, spec.top_k});
    route(logits, bias, spec, scores, indices, weights);
  }
};

struct Case {
  int64_t experts;
  RouterSpec spec;
  bool bias;
};

class Route : public testing::TestWithParam<Case> {};

TEST_P(Route, chooses_what_sorting_chooses_and_its_gradient_is_that_of_finite_differences) {
  const auto& [experts, spec, with_bias] = GetParam();
  const int64_t t = 30;
  Routed r(t, experts, spec, with_bias);
  const auto x = doubles(r.logits);
  const auto scores = reference_scores(x, experts, spec.scores);
  expect_close(r.scores, scores, 1e-6, "scores");
  for (int64_t row = 0; row < t; ++row) {
    std::vector<float> values(r.scores.f32() + row * experts, r.scores.f32() + (row + 1) * experts);
    for (int64_t e = 0; with_bias && e < experts; ++e) values[e] += r.bias.f32()[e];
    const std::vector<int32_t> got(r.indices.i32() + row * spec.top_k, r.indices.i32() + (row + 1) * spec.top_k);
    ASSERT_EQ(got, reference_choice(values, spec)) << row;
  }
  expect_close(r.weights, reference_weights(scores, experts, r.indices, spec), 1e-6, "weights");

  const Tensor dweights = random_tensor(r.arena, {t, spec.top_k}, 3), dlogits = strided(r.arena, random_tensor(r.arena, {t, experts}, 4));
  for (const Tensor& dscores : {Tensor{}, random_tensor(r.arena, {t, experts}, 5)}) {
    route_backward(dweights, dscores, r.scores, r.indices, r.weights, spec, dlogits);
    const auto loss = [&](const std::vector<double>& v) {
      const auto s = reference_scores(v, experts, spec.scores);
      return dot(doubles(dweights), reference_weights(s, experts, r.indices, spec)) + (dscores ? dot(doubles(dscores), s) : 0);
    };
    expect_close(dlogits, numeric_gradient(loss, x), 5e-6, "dlogits");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Route,
    testing::Values(Case{8, {.scores = Scores::softmax, .top_k = 2, .norm_topk_prob = true}, false},
                    Case{21, {.scores = Scores::softmax, .top_k = 4}, false},
                    Case{24, {.scores = Scores::softmax, .group_score = GroupScore::max, .top_k = 3, .n_group = 6, .topk_group = 2,
                              .routed_scaling_factor = 16}, false},
                    Case{32, {.scores = Scores::sigmoid, .top_k = 4, .n_group = 16, .topk_group = 4, .norm_topk_prob = true,
                              .routed_scaling_factor = 2.5f}, true},
                    Case{5, {.scores = Scores::sigmoid, .top_k = 5}, true}, Case{1, {.scores = Scores::softmax, .top_k = 1}, false}));

TEST(Route, ties_go_to_the_lower_index_and_nan_harms_nothing) {
  Arena arena;
  const RouterSpec spec{.scores = Scores::sigmoid, .top_k = 3, .n_group = 4, .topk_group = 2};
  const Tensor logits = arena.make(DType::f32, {2, 8}), scores = arena.make(DType::f32, {2, 8}), weights = arena.make(DType::f32, {2, 3});
  const Tensor indices = arena.make(DType::i32, {2, 3});
  fill(rows(logits, 1, 1), NAN);
  route(logits, {}, spec, scores, indices, weights);
  for (int j = 0; j < 3; ++j) EXPECT_EQ(indices.i32()[j], j);
  for (int j = 3; j < 6; ++j) EXPECT_TRUE(indices.i32()[j] >= 0 && indices.i32()[j] < 8);
}

TEST(Route, refuses_what_cannot_be_chosen) {
  const auto run = [](int64_t experts, const RouterSpec& spec) { Routed r(2, experts, spec, false); };
  EXPECT_THROW(run(8, {.top_k = 9}), Error);
  EXPECT_THROW(run(8, {.top_k = 0}), Error);
  EXPECT_THROW(run(8, {.top_k = 2, .n_group = 3, .topk_group = 1}), Error);
  EXPECT_THROW(run(8, {.top_k = 3, .n_group = 4, .topk_group = 1}), Error);
  EXPECT_THROW(run(8, {.top_k = 1, .n_group = 8, .topk_group = 2}), Error);  // no top two in groups of one
}

TEST(Route, same_bytes_and_a_row_alone_is_the_row_in_a_batch) {
  const RouterSpec spec{.scores = Scores::sigmoid, .top_k = 4, .n_group = 16, .topk_group = 4, .norm_topk_prob = true};
  for (const Scores kind : {Scores::sigmoid, Scores::softmax})
    expect_same_bytes([&](Arena& arena) {
      RouterSpec s = spec;
      s.scores = kind;
      const Tensor logits = random_tensor(arena, {300, 128}, 1), bias = random_tensor(arena, {128}, 2, 0.01);
      const Tensor scores = arena.make(DType::f32, {300, 128}), indices = arena.make(DType::i32, {300, 4}),
                   weights = arena.make(DType::f32, {300, 4}), dlogits = arena.make(DType::f32, {300, 128});
      route(logits, bias, s, scores, indices, weights);
      route_backward(weights, scores, scores, indices, weights, s, dlogits);
      const Tensor score = arena.make(DType::f32, {1, 128}), index = arena.make(DType::i32, {1, 4}), weight = arena.make(DType::f32, {1, 4});
      route(rows(logits, 77, 1), bias, s, score, index, weight);
      EXPECT_EQ(bytes(score), bytes(rows(scores, 77, 1)));
      EXPECT_EQ(bytes(weight), bytes(rows(weights, 77, 1)));
      return std::vector<Tensor>{scores, indices, weights, dlogits};
    });
}

}  // namespace
}  // namespace ds
