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

// y = exp(x - the greatest of x); returns that and the sum.
struct Exponentials {
  float top, total;
};
static HWY_INLINE Exponentials exponentials(const float* x, float* y, size_t n) {
  const float lowest = -std::numeric_limits<float>::infinity();
  F32x16 greatest = lowest, sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) greatest = max(greatest, select(first_lanes(n - i), load(x + i, n - i), lowest));
  const float top = reduce_max(greatest);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 e = select(first_lanes(n - i), exp(load(x + i, n - i) - top), 0.0f);
    sum += e;
    store(e, y + i, n - i);
  }
  return {top, reduce_add(sum)};
}

static void softmax_row(const float* x, float* y, size_t n) {
  const float total = exponentials(x, y, n).total;
  for (size_t i = 0; i < n; i += kLanes) store(load(y + i, n - i) / total, y + i, n - i);
}

// dx += factor * logsumexp(x) * softmax(x); returns logsumexp(x). e has room for n numbers.
static float z_row(const float* x, float factor, float* e, float* dx, size_t n) {
  const auto [top, total] = exponentials(x, e, n);
  const float z = top + math::log(total), slope = factor * z / total;
  for (size_t i = 0; i < n; i += kLanes) store(mul_add(load(e + i, n - i), slope, load(dx + i, n - i)), dx + i, n - i);
  return z;
}

// The entropy of p = s / sum(s): ln(sum) - sum of s ln(s) / sum.
static float entropy_row(const float* s, size_t n) {
  F32x16 sum = 0.0f, products = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 x = load(s + i, n - i);
    sum += x;
    products += select(x < std::numeric_limits<float>::min(), 0.0f, x * log(x));
  }
  const float total = reduce_add(sum);
  return math::log(total) - reduce_add(products) / total;
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
#include "tensor/cpu/math.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(sigmoid_row);
HWY_EXPORT(softmax_row);
HWY_EXPORT(sigmoid_backward_row);
HWY_EXPORT(softmax_backward_row);
HWY_EXPORT(z_row);
HWY_EXPORT(entropy_row);

using Kind = RouterSpec::Kind;
constexpr float kSumEpsilon = 1e-20f;   // DeepSeek-V3's, where weights are normalised
constexpr float kLoadEpsilon = 1e-6f;   // of an expert without load, where probabilities are divided by it

static void check_spec(const char* op, const RouterSpec& spec, size_t experts) {
  const int64_t n = static_cast<int64_t>(experts);
  require(spec.n_group > 0 && n % spec.n_group == 0 && spec.topk_group > 0 && spec.topk_group <= spec.n_group, op, ": ", n,
          " experts in ", spec.n_group, " groups, ", spec.topk_group, " of them kept, is not possible");
  require(spec.top_k > 0 && spec.top_k <= n / spec.n_group * spec.topk_group, op, ": top_k ", spec.top_k, " of ",
          n / spec.n_group * spec.topk_group, " experts is not possible");
  require(spec.kind == Kind::three_layer || spec.n_group == spec.topk_group || spec.group_score == RouterSpec::GroupScore::max || n / spec.n_group >= 2, op,
          ": groups of one expert have no two best scores");
  require(spec.kind == Kind::top_k || spec.scores == RouterSpec::Scores::softmax, op, ": this kind of router goes with softmax alone");
  require(spec.temperature > 0 && spec.min_k > 0 && spec.min_k <= spec.top_k, op, ": a temperature of ", spec.temperature, " and ",
          spec.min_k, " to ", spec.top_k, " experts are not possible");
}

// Whether a weight is the expert's part of what all chosen ones have together.
static bool is_normalised(const RouterSpec& spec) {
  return spec.norm_topk_prob || spec.kind == Kind::adaptive || spec.kind == Kind::three_layer;
}

// ln E, that of which an entropy is a share; of one expert the entropy is 0.
static float greatest_entropy(size_t experts) { return experts > 1 ? math::log(static_cast<float>(experts)) : 1.0f; }

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

  // `ranks` are the scores of groups, where they come from elsewhere than the experts' scores.
  void choose(const float* scores, int32_t* chosen, const float* ranks = nullptr) {
    std::fill(taken.begin(), taken.end(), 0);
    if (kept.size() == groups.size()) return top_k(scores, experts, static_cast<size_t>(spec.top_k), taken.data(), chosen);
    const size_t size = experts / groups.size();
    for (size_t g = 0; g < groups.size(); ++g) groups[g] = ranks ? ranks[g] : group_score(spec.group_score, scores + g * size, size);
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

// Routes the tokens of a thread one by one.
struct TokenRouter {
  const RouterSpec& spec;
  const float* state;                      // [E], or null
  size_t experts;
  Chooser chooser;
  std::vector<float> choosing, ranks;      // what experts are chosen by; three_layer: the groups' probabilities
  void (*const probabilities)(const float*, float*, size_t);
  float (*const entropy)(const float*, size_t);

  TokenRouter(const RouterSpec& s, const float* of_experts, size_t n)
      : spec(s), state(of_experts), experts(n), chooser(s, n), choosing(n), ranks(static_cast<size_t>(s.n_group)),
        probabilities(s.scores == RouterSpec::Scores::sigmoid ? DS_SIMD_DISPATCH(sigmoid_row) : DS_SIMD_DISPATCH(softmax_row)),
        entropy(DS_SIMD_DISPATCH(entropy_row)) {}

  void score(const float* logits, const float* group_logits, float* scores) {
    if (spec.kind == Kind::adaptive) {
      for (size_t e = 0; e < experts; ++e) choosing[e] = logits[e] / spec.temperature;
      probabilities(choosing.data(), scores, experts);
    } else if (spec.kind == Kind::three_layer) {
      const size_t size = experts / ranks.size();
      probabilities(group_logits, ranks.data(), ranks.size());
      for (size_t g = 0; g < ranks.size(); ++g) {
        probabilities(logits + g * size, scores + g * size, size);
        for (size_t e = g * size; e < (g + 1) * size; ++e) scores[e] *= ranks[g];
      }
    } else {
      probabilities(logits, scores, experts);
    }
  }

  void weigh_choice(const float* scores) {
    if (spec.kind == Kind::adaptive)
      for (size_t e = 0; e < experts; ++e) choosing[e] = scores[e] / (state[e] + kLoadEpsilon);
    else if (spec.kind == Kind::three_layer)
      for (size_t e = 0; e < experts; ++e) choosing[e] = scores[e] * state[e];
    else
      for (size_t e = 0; e < experts; ++e) choosing[e] = state ? scores[e] + state[e] : scores[e];
  }

  // How many of the chosen experts the token gets: where the router is sure, the first ones.
  size_t count(const float* scores, const int32_t* chosen) const {
    const auto k = static_cast<size_t>(spec.top_k);
    if (spec.kind != Kind::confidence) return k;
    float reached = 0;
    for (size_t j = 0; j < k; ++j) {
      reached += scores[chosen[j]];
      if (j + 1 >= static_cast<size_t>(spec.min_k) && reached >= spec.confidence) return j + 1;
    }
    return k;
  }

  void route(const float* logits, const float* group_logits, float* scores, int32_t* chosen, float* weights) {
    const auto k = static_cast<size_t>(spec.top_k);
    score(logits, group_logits, scores);
    if (spec.kind == Kind::entropy_fallback && entropy(scores, experts) > spec.entropy_threshold * greatest_entropy(experts)) {
      std::fill(chosen, chosen + k, -1);
      std::fill(weights, weights + k, 0.0f);
      chosen[0] = static_cast<int32_t>(experts);
      weights[0] = 1;
      return;
    }
    weigh_choice(scores);
    chooser.choose(choosing.data(), chosen, spec.kind == Kind::three_layer ? ranks.data() : nullptr);
    const bool by_choice = spec.kind == Kind::adaptive || spec.kind == Kind::three_layer;
    const float* const w = by_choice ? choosing.data() : scores;
    const size_t n = count(scores, chosen);
    float sum = 0;
    for (size_t j = 0; j < n; ++j) sum += w[chosen[j]];
    const float divisor = is_normalised(spec) ? sum + kSumEpsilon : 1.0f;
    for (size_t j = 0; j < n; ++j) weights[j] = w[chosen[j]] / divisor * spec.routed_scaling_factor;
    std::fill(chosen + n, chosen + k, -1);
    std::fill(weights + n, weights + k, 0.0f);
  }
};

static void check_kind(const char* op, const RouterSpec& spec, const Tensor& group_logits) {
  require((spec.kind == Kind::three_layer) == static_cast<bool>(group_logits), op, ": ",
          group_logits ? "only a router in three layers has logits of groups" : "a router in three layers has logits of groups");
}

void route(const Tensor& logits, const Tensor& state, const RouterSpec& spec, const Tensor& scores, const Tensor& indices,
           const Tensor& weights, const Tensor& group_logits) {
  const Matrix in = matrix("route", logits), s = matrix("route", scores, in.rows, in.cols);
  check_spec("route", spec, in.cols);
  check_kind("route", spec, group_logits);
  require(state || (spec.kind != Kind::adaptive && spec.kind != Kind::three_layer), "route: the state of the experts is missing");
  const size_t k = static_cast<size_t>(spec.top_k);
  const Matrix w = matrix("route", weights, in.rows, k);
  const Matrix groups = group_logits ? matrix("route", group_logits, in.rows, static_cast<size_t>(spec.n_group)) : Matrix{};
  int32_t* const chosen = i32_array("route", indices, in.rows * k);
  const float* const of_experts = state ? f32_array("route", state, in.cols) : nullptr;
  parallel_for(in.rows, row_grain(in.cols * 8), [&](size_t begin, size_t end) {
    TokenRouter router(spec, of_experts, in.cols);
    for (size_t t = begin; t < end; ++t)
      router.route(in.row(t), group_logits ? groups.row(t) : nullptr, s.row(t), chosen + t * k, w.row(t));
  });
}

// Of one token of a router whose weights are w / sum(w): with m the mean of dweights by the weights, d loss / d ln w_j =
// weight_j (dweight_j - m), where weights carry the scaling factor and m does not. Then, with t_i = d loss / d ln p_i,
//   adaptive     dlogits_i = (t_i - p_i * sum of t) / temperature
//   three_layer  dlogits_i = t_i - (p_i / P_g) * T_g, dgroup_logits_g = T_g - P_g * sum of t; P_g and T_g are p's and t's sums in a group
static void weighed_backward(const RouterSpec& spec, const float* p, const int32_t* chosen, const float* weights, const float* dweights,
                             const float* dscores, size_t experts, float* t, float* dlogits, float* dgroups) {
  const auto k = static_cast<size_t>(spec.top_k);
  for (size_t i = 0; i < experts; ++i) t[i] = dscores ? p[i] * dscores[i] : 0.0f;
  float mean = 0, total = 0;
  for (size_t j = 0; j < k; ++j) mean = std::fma(dweights[j], weights[j] / spec.routed_scaling_factor, mean);
  for (size_t j = 0; j < k; ++j) t[chosen[j]] += weights[j] * (dweights[j] - mean);
  for (size_t i = 0; i < experts; ++i) total += t[i];
  if (spec.kind == Kind::adaptive) {
    for (size_t i = 0; i < experts; ++i) dlogits[i] = std::fma(-p[i], total, t[i]) / spec.temperature;
    return;
  }
  const auto groups = static_cast<size_t>(spec.n_group), size = experts / groups;
  for (size_t g = 0; g < groups; ++g) {
    float of_group = 0, probability = 0;
    for (size_t i = g * size; i < (g + 1) * size; ++i) of_group += t[i], probability += p[i];
    const float slope = probability > 0 ? of_group / probability : 0.0f;
    for (size_t i = g * size; i < (g + 1) * size; ++i) dlogits[i] = std::fma(-p[i], slope, t[i]);
    dgroups[g] = std::fma(-probability, total, of_group);
  }
}

void route_backward(const Tensor& dweights, const Tensor& dscores, const Tensor& scores, const Tensor& indices,
                    const Tensor& weights, const RouterSpec& spec, const Tensor& dlogits, const Tensor& dgroup_logits) {
  const char* const op = "route_backward";
  const Matrix s = matrix(op, scores), out = matrix(op, dlogits, s.rows, s.cols);
  check_spec(op, spec, s.cols);
  check_kind(op, spec, dgroup_logits);
  const size_t k = static_cast<size_t>(spec.top_k);
  const Matrix dw = matrix(op, dweights, s.rows, k), w = matrix(op, weights, s.rows, k);
  const Matrix groups = dgroup_logits ? matrix(op, dgroup_logits, s.rows, static_cast<size_t>(spec.n_group)) : Matrix{};
  const int32_t* const chosen = i32_array(op, indices, s.rows * k);
  // Whether a slot may be empty or the fallback's, of which no score is to blame.
  const bool may_lack = spec.kind == Kind::entropy_fallback || spec.kind == Kind::confidence;
  const auto lowest = may_lack ? -1 : 0, highest = static_cast<int32_t>(s.cols) - (spec.kind == Kind::entropy_fallback ? 0 : 1);
  for (size_t i = 0; i < s.rows * k; ++i)
    require(chosen[i] >= lowest && chosen[i] <= highest, op, ": expert ", chosen[i], " of ", s.cols);
  const Matrix extra = dscores ? matrix(op, dscores, s.rows, s.cols) : Matrix{};
  const auto kernel = spec.scores == RouterSpec::Scores::sigmoid ? DS_SIMD_DISPATCH(sigmoid_backward_row)
                                                                 : DS_SIMD_DISPATCH(softmax_backward_row);
  parallel_for(s.rows, row_grain(s.cols * 4), [&](size_t begin, size_t end) {
    std::vector<float> ds(s.cols);
    for (size_t t = begin; t < end; ++t) {
      const float* const score = s.row(t);
      const int32_t* const e = chosen + t * k;
      if (spec.kind == Kind::adaptive || spec.kind == Kind::three_layer) {
        weighed_backward(spec, score, e, w.row(t), dw.row(t), dscores ? extra.row(t) : nullptr, s.cols, ds.data(), out.row(t),
                         dgroup_logits ? groups.row(t) : nullptr);
        continue;
      }
      if (dscores)
        std::copy(extra.row(t), extra.row(t) + s.cols, ds.begin());
      else
        std::fill(ds.begin(), ds.end(), 0.0f);
      // weight_j = factor s_j / sum: d s_j = factor / sum (dw_j - sum_i dw_i s_i / sum)
      size_t n = 0;  // slots of scored experts: the first ones
      while (n < k && e[n] >= 0 && static_cast<size_t>(e[n]) < s.cols) ++n;
      float sum = 0, mean = 0;
      for (size_t j = 0; j < n; ++j) sum += score[e[j]];
      const float divisor = spec.norm_topk_prob ? sum + kSumEpsilon : 1.0f;
      if (spec.norm_topk_prob)
        for (size_t j = 0; j < n; ++j) mean = std::fma(dw.row(t)[j], score[e[j]] / divisor, mean);
      for (size_t j = 0; j < n; ++j) ds[e[j]] += spec.routed_scaling_factor * (dw.row(t)[j] - mean) / divisor;
      kernel(score, ds.data(), out.row(t), s.cols);
    }
  });
}

void router_entropy(const Tensor& scores, const Tensor& entropy) {
  const Matrix s = matrix("router_entropy", scores);
  float* const out = f32_array("router_entropy", entropy, s.rows);
  const float greatest = greatest_entropy(s.cols);
  const auto kernel = DS_SIMD_DISPATCH(entropy_row);
  parallel_for(s.rows, row_grain(s.cols * 8), [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) out[t] = kernel(s.row(t), s.cols) / greatest;
  });
}

void z_loss(const Tensor& logits, float coef, const Tensor& dlogits, double* loss) {
  const Matrix in = matrix("z_loss", logits), out = matrix("z_loss", dlogits, in.rows, in.cols);
  if (in.rows == 0) return;
  std::vector<float> z(in.rows);
  const float factor = 2 * coef / static_cast<float>(in.rows);
  const auto kernel = DS_SIMD_DISPATCH(z_row);
  parallel_for(in.rows, row_grain(in.cols * 8), [&](size_t begin, size_t end) {
    std::vector<float> e(in.cols);
    for (size_t t = begin; t < end; ++t) z[t] = kernel(in.row(t), factor, e.data(), out.row(t), in.cols);
  });
  double squares = 0;
  for (const float x : z) squares += double{x} * x;
  *loss += static_cast<double>(coef) * squares / static_cast<double>(in.rows);
}

}  // namespace ds::cpu
#endif
