// Which experts a token goes to, and with what weights: route and its backward operation. (Switch, arXiv 2101.03961;
// group-limited top-k and the bias without a loss: DeepSeek-V3, arXiv 2412.19437, section 2.1.2.)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/router.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static void sigmoid_row(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(sigmoid(load(x + i, n - i)), y + i, n - i);
}

static void softmax_row(const float* x, float* y, size_t n) {
  const float lowest = -std::numeric_limits<float>::infinity();
  F32x16 greatest = lowest, sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) greatest = max(greatest, select(first_lanes(n - i), load(x + i, n - i), lowest));
  const float top = reduce_max(greatest);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 e = select(first_lanes(n - i), exp(load(x + i, n - i) - top), 0.0f);
    sum += e;
    store(e, y + i, n - i);
  }
  const float total = reduce_add(sum);
  for (size_t i = 0; i < n; i += kLanes) store(load(y + i, n - i) / total, y + i, n - i);
}

// dx = s (1 - s) ds
static void sigmoid_backward_row(const float* s, const float* ds, float* dx, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 si = load(s + i, n - i);
    store(neg_mul_add(si, si, si) * load(ds + i, n - i), dx + i, n - i);
  }
}

// dx = s (ds - sum of s ds)
static void softmax_backward_row(const float* s, const float* ds, float* dx, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) sum = mul_add(load(s + i, n - i), load(ds + i, n - i), sum);
  const float mean = reduce_add(sum);
  for (size_t i = 0; i < n; i += kLanes) store((load(ds + i, n - i) - mean) * load(s + i, n - i), dx + i, n - i);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <vector>

#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(sigmoid_row);
HWY_EXPORT(softmax_row);
HWY_EXPORT(sigmoid_backward_row);
HWY_EXPORT(softmax_backward_row);

constexpr float kSumEpsilon = 1e-20f;  // DeepSeek-V3's, where weights are normalised

static void check_spec(const char* op, const RouterSpec& spec, size_t experts) {
  const int64_t n = static_cast<int64_t>(experts);
  require(spec.n_group > 0 && n % spec.n_group == 0 && spec.topk_group > 0 && spec.topk_group <= spec.n_group, op, ": ", n,
          " experts in ", spec.n_group, " groups, ", spec.topk_group, " of them kept, is not possible");
  require(spec.top_k > 0 && spec.top_k <= n / spec.n_group * spec.topk_group, op, ": top_k ", spec.top_k, " of ",
          n / spec.n_group * spec.topk_group, " experts is not possible");
  require(spec.n_group == spec.topk_group || spec.group_score == RouterSpec::GroupScore::max || n / spec.n_group >= 2, op,
          ": groups of one expert have no two best scores");
}

// The k positions of the greatest values in falling order, the lower position among equals. `taken` marks what may not
// be chosen; it is marked with what was.
static void top_k(const float* values, size_t n, size_t k, uint8_t* taken, int32_t* chosen) {
  for (size_t j = 0; j < k; ++j) {
    size_t best = n;
    float greatest = 0;
    for (size_t i = 0; i < n; ++i) {  // without branches, which random scores would mispredict
      const bool better = (taken[i] == 0) & ((best == n) | (values[i] > greatest));
      best = better ? i : best;
      greatest = better ? values[i] : greatest;
    }
    taken[best] = 1;
    chosen[j] = static_cast<int32_t>(best);
  }
}

static float group_score(RouterSpec::GroupScore kind, const float* values, size_t n) {
  if (kind == RouterSpec::GroupScore::max) return *std::max_element(values, values + n);
  float first = std::max(values[0], values[1]), second = std::min(values[0], values[1]);
  for (size_t i = 2; i < n; ++i) {
    second = std::max(second, std::min(first, values[i]));
    first = std::max(first, values[i]);
  }
  return first + second;
}

// Chooses the experts of a token. Its buffers serve many tokens.
struct Chooser {
  const RouterSpec& spec;
  size_t experts;
  std::vector<float> groups, values;       // of groups; of the experts in the groups that are kept
  std::vector<uint8_t> taken, group_taken;
  std::vector<int32_t> kept, candidates;   // groups by score; experts in the order of `values`

  Chooser(const RouterSpec& s, size_t n)
      : spec(s), experts(n), groups(static_cast<size_t>(s.n_group)), values(n), taken(n), group_taken(groups.size()),
        kept(static_cast<size_t>(s.topk_group)), candidates(n) {}

  void choose(const float* scores, int32_t* chosen) {
    std::fill(taken.begin(), taken.end(), 0);
    if (kept.size() == groups.size()) return top_k(scores, experts, static_cast<size_t>(spec.top_k), taken.data(), chosen);
    const size_t size = experts / groups.size();
    for (size_t g = 0; g < groups.size(); ++g) groups[g] = group_score(spec.group_score, scores + g * size, size);
    std::fill(group_taken.begin(), group_taken.end(), 0);
    top_k(groups.data(), groups.size(), kept.size(), group_taken.data(), kept.data());
    size_t n = 0;
    for (size_t g = 0; g < groups.size(); ++g)
      for (size_t e = g * size; group_taken[g] && e < (g + 1) * size; ++e, ++n) {
        values[n] = scores[e];
        candidates[n] = static_cast<int32_t>(e);
      }
    top_k(values.data(), n, static_cast<size_t>(spec.top_k), taken.data(), chosen);
    for (int j = 0; j < spec.top_k; ++j) chosen[j] = candidates[static_cast<size_t>(chosen[j])];
  }
};

void route(const Tensor& logits, const Tensor& bias, const RouterSpec& spec, const Tensor& scores, const Tensor& indices,
           const Tensor& weights) {
  const Matrix in = matrix("route", logits), s = matrix("route", scores, in.rows, in.cols);
  check_spec("route", spec, in.cols);
  const size_t k = static_cast<size_t>(spec.top_k);
  const Matrix w = matrix("route", weights, in.rows, k);
  int32_t* const chosen = i32_array("route", indices, in.rows * k);
  const float* const b = bias ? f32_array("route", bias, in.cols) : nullptr;
  const auto kernel = spec.scores == RouterSpec::Scores::sigmoid ? DS_SIMD_DISPATCH(sigmoid_row) : DS_SIMD_DISPATCH(softmax_row);
  parallel_for(in.rows, row_grain(in.cols * 8), [&](size_t begin, size_t end) {
    Chooser chooser(spec, in.cols);
    std::vector<float> biased(in.cols);
    for (size_t t = begin; t < end; ++t) {
      float* const score = s.row(t);
      kernel(in.row(t), score, in.cols);
      for (size_t e = 0; e < in.cols; ++e) biased[e] = b ? score[e] + b[e] : score[e];
      chooser.choose(biased.data(), chosen + t * k);
      float sum = 0;
      for (size_t j = 0; j < k; ++j) sum += score[chosen[t * k + j]];
      const float divisor = spec.norm_topk_prob ? sum + kSumEpsilon : 1.0f;
      for (size_t j = 0; j < k; ++j) w.row(t)[j] = score[chosen[t * k + j]] / divisor * spec.routed_scaling_factor;
    }
  });
}

void route_backward(const Tensor& dweights, const Tensor& dscores, const Tensor& scores, const Tensor& indices,
                    const Tensor& weights, const RouterSpec& spec, const Tensor& dlogits) {
  const char* const op = "route_backward";
  const Matrix s = matrix(op, scores), out = matrix(op, dlogits, s.rows, s.cols);
  check_spec(op, spec, s.cols);
  const size_t k = static_cast<size_t>(spec.top_k);
  const Matrix dw = matrix(op, dweights, s.rows, k);
  matrix(op, weights, s.rows, k);
  const int32_t* const chosen = i32_array(op, indices, s.rows * k);
  for (size_t i = 0; i < s.rows * k; ++i)
    require(chosen[i] >= 0 && static_cast<size_t>(chosen[i]) < s.cols, op, ": expert ", chosen[i], " of ", s.cols);
  const Matrix extra = dscores ? matrix(op, dscores, s.rows, s.cols) : Matrix{};
  const auto kernel = spec.scores == RouterSpec::Scores::sigmoid ? DS_SIMD_DISPATCH(sigmoid_backward_row)
                                                                 : DS_SIMD_DISPATCH(softmax_backward_row);
  parallel_for(s.rows, row_grain(s.cols * 4), [&](size_t begin, size_t end) {
    std::vector<float> ds(s.cols);
    for (size_t t = begin; t < end; ++t) {
      if (dscores)
        std::copy(extra.row(t), extra.row(t) + s.cols, ds.begin());
      else
        std::fill(ds.begin(), ds.end(), 0.0f);
      // weight_j = factor s_j / sum: d s_j = factor / sum (dw_j - sum_i dw_i s_i / sum)
      const float* const score = s.row(t);
      const int32_t* const e = chosen + t * k;
      float sum = 0, mean = 0;
      for (size_t j = 0; j < k; ++j) sum += score[e[j]];
      const float divisor = spec.norm_topk_prob ? sum + kSumEpsilon : 1.0f;
      if (spec.norm_topk_prob)
        for (size_t j = 0; j < k; ++j) mean = std::fma(dw.row(t)[j], score[e[j]] / divisor, mean);
      for (size_t j = 0; j < k; ++j) ds[e[j]] += spec.routed_scaling_factor * (dw.row(t)[j] - mean) / divisor;
      kernel(score, ds.data(), out.row(t), s.cols);
    }
  });
}

}  // namespace ds::cpu
#endif
