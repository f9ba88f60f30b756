#include "quantize/awq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/math.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "quantize/quantizer.h"

namespace ds {

// ---- Calibration ----

static void add_rows(InputStats& stats, const Tensor& x) {
  if (x.rows() == 0) return;
  linear_backward_weight(x, x, stats.gram);
  for (int64_t t = 0; t < x.rows(); ++t)
    for (int64_t k = 0; k < x.cols(); ++k) stats.abs_sum[static_cast<size_t>(k)] += std::fabs(x.f32()[t * x.row_stride + k]);
  stats.rows += x.rows();
}

static InputStats* new_stats(Calibration& c, int64_t channels) {
  c.stats.push_back(std::make_unique<InputStats>());
  InputStats& stats = *c.stats.back();
  stats.gram = c.arena.make(DType::f32, {channels, channels});
  stats.abs_sum.resize(static_cast<size_t>(channels));
  return &stats;
}

// The distinct inputs of a layer's matrices, in the order in which they are computed.
struct LayerStats {
  InputStats *attn_in = nullptr, *q_a = nullptr, *kv_a = nullptr, *attn_out = nullptr, *mlp_in = nullptr, *act = nullptr;
  std::vector<InputStats*> expert_act;
};

static LayerStats bind_stats(Calibration& c, const LayerWeights& w) {
  LayerStats s;
  const auto bind = [&](InputStats*& stats, std::initializer_list<const Tensor*> consumers) {
    for (const Tensor* const t : consumers) {
      if (!*t) continue;
      if (!stats) stats = new_stats(c, t->cols());
      c.inputs[t->data] = stats;
    }
  };
  bind(s.attn_in, {&w.q_a_proj, &w.q_proj, &w.kv_a_proj, &w.k_proj, &w.v_proj});
  bind(s.q_a, {&w.q_b_proj});
  bind(s.kv_a, {&w.kv_b_proj});
  bind(s.attn_out, {&w.o_proj});
  bind(s.mlp_in, {&w.gate_proj, &w.up_proj, &w.shared_gate, &w.shared_up});
  bind(s.act, {&w.down_proj, &w.shared_down});
  if (w.experts_gate) {
    for (int64_t e = 0; e < w.experts_gate.shape[0]; ++e) {
      const Tensor gate = item(w.experts_gate, e), up = item(w.experts_up, e), down = item(w.experts_down, e);
      bind(s.mlp_in, {&gate, &up});
      InputStats* act = nullptr;
      bind(act, {&down});
      s.expert_act.push_back(act);
    }
  }
  return s;
}

Calibration calibrate(Model& model, const std::vector<std::vector<int32_t>>& token_rows) {
  Calibration c;
  std::vector<LayerStats> layers;
  for (const LayerWeights& w : model.weights.layers) layers.push_back(bind_stats(c, w));
  Activations acts;
  acts.after_layer = [&](int64_t layer, const LayerActivations& a) {
    const LayerStats& s = layers[static_cast<size_t>(layer)];
    const auto add = [](InputStats* stats, const Tensor& x) {
      if (stats && x) add_rows(*stats, x);
    };
    add(s.attn_in, a.attn_in);
    add(s.q_a, a.q_a_normed);
    add(s.kv_a, a.kv_a_normed);
    add(s.attn_out, a.attn_out);
    add(s.mlp_in, a.mlp_in);
    add(s.act, a.act);
    for (size_t e = 0; e < s.expert_act.size(); ++e) {
      const int32_t begin = a.offsets.i32()[e], end = a.offsets.i32()[e + 1];
      add(s.expert_act[e], rows(a.expert_act, begin, end - begin));
    }
  };
  uint64_t done = 0;
  for (const auto& tokens : token_rows) {
    throw_if_stopped();
    TokenBatch batch;
    for (size_t i = 0; i < tokens.size(); ++i) {
      batch.tokens.push_back(tokens[i]);
      batch.sequences.push_back(0);
      batch.positions.push_back(static_cast<int32_t>(i));
    }
    KvCache cache(model.config, 1, static_cast<int64_t>(tokens.size()));
    forward(model.config, model.weights, batch, cache, acts);
    progress({.label = "calibrate", .unit = "rows", .done = ++done, .total = token_rows.size(), .detail = ""});
  }
  return c;
}

// ---- Error of a change of weights ----

// tr(delta gram delta^T), each row's part summed in order.
static double quadratic_error(const Tensor& delta, const Tensor& gram, Arena& scratch) {
  const Tensor product = scratch.make_uninitialized(DType::f32, {delta.rows(), delta.cols()});
  linear(delta, gram, product);  // gram is symmetric
  double sum = 0;
  for (int64_t i = 0; i < delta.elements(); ++i) sum += static_cast<double>(delta.f32()[i]) * product.f32()[i];
  return std::max(sum, 0.0);
}

double relative_output_error(const Tensor& w, const Tensor& other, const InputStats& stats) {
  Arena scratch;
  const Tensor delta = scratch.make_uninitialized(DType::f32, {w.rows(), w.cols()});
  for (int64_t i = 0; i < w.elements(); ++i) delta.f32()[i] = other.f32()[i] - w.f32()[i];
  const double power = quadratic_error(w, stats.gram, scratch);
  return power > 0 ? quadratic_error(delta, stats.gram, scratch) / power : 0;
}

// ---- Scales ----

namespace {

// Matrices that read the same channels, and what produces them.
struct ScaleGroup {
  InputStats* stats = nullptr;
  std::vector<Tensor> consumers;   // quantized, [N, K]
  std::vector<Tensor> compensated; // kept in float, [N, K]: the router
  Tensor norm;                     // producer: a norm's weight [K], divided by the scales
  float norm_offset = 0;           // what that norm adds to its weight (1 + w: Gemma)
  Tensor producer;                 // or a matrix [K, ...] whose rows are divided
};

}  // namespace

static double pow_positive(double base, double exponent) { return base <= 0 ? 0 : math::pow(base, exponent); }

// Mean over all outputs of |w| relative to its group's largest.
static std::vector<double> weight_means(const std::vector<Tensor>& consumers, int64_t group_size) {
  const int64_t k = consumers[0].cols();
  std::vector<double> mean(static_cast<size_t>(k));
  int64_t outputs = 0;
  for (const Tensor& w : consumers) {
    outputs += w.rows();
    for (int64_t n = 0; n < w.rows(); ++n)
      for (int64_t g = 0; g < k; g += group_size) {
        const float* const values = w.f32() + n * k + g;
        float largest = 0;
        for (int64_t i = 0; i < group_size; ++i) largest = std::max(largest, std::fabs(values[i]));
        for (int64_t i = 0; i < group_size; ++i) mean[static_cast<size_t>(g + i)] += std::fabs(values[i]) / (largest + 1e-6f);
      }
  }
  for (double& m : mean) m /= static_cast<double>(outputs);
  return mean;
}

// Scales of one ratio, brought to a geometric middle of 1.
static std::vector<float> candidate_scales(const std::vector<double>& x_mean, const std::vector<double>& w_mean, double ratio) {
  std::vector<double> s(x_mean.size());
  for (size_t k = 0; k < s.size(); ++k)
    s[k] = std::max(pow_positive(x_mean[k], ratio) / (pow_positive(w_mean[k], 1 - ratio) + 1e-4), 1e-4);
  const auto [low, high] = std::minmax_element(s.begin(), s.end());
  const double middle = std::sqrt(*low * *high);
  std::vector<float> scales(s.size());
  for (size_t k = 0; k < s.size(); ++k) {
    const double scale = s[k] / middle;
    scales[k] = std::isfinite(scale) && scale > 0 ? static_cast<float>(scale) : 1.0f;
  }
  return scales;
}

// The summed output error of all consumers when quantized under the scales.
static double scaled_error(const ScaleGroup& group, const std::vector<float>& scales, int64_t group_size) {
  double error = 0;
  Arena scratch;
  for (const Tensor& w : group.consumers) {
    scratch.reset();
    const int64_t k = w.cols();
    const Tensor scaled = scratch.make_uninitialized(DType::f32, {w.rows(), k});
    const Tensor rounded = scratch.make_uninitialized(DType::f32, {w.rows(), k});
    for (int64_t i = 0; i < w.elements(); ++i) scaled.f32()[i] = w.f32()[i] * scales[static_cast<size_t>(i % k)];
    fake_quantize(scaled, group_size, rounded);
    for (int64_t i = 0; i < w.elements(); ++i)
      rounded.f32()[i] = rounded.f32()[i] / scales[static_cast<size_t>(i % k)] - w.f32()[i];
    error += quadratic_error(rounded, group.stats->gram, scratch);
  }
  return error;
}

static void multiply_columns(const Tensor& w, const std::vector<float>& scales) {
  for (int64_t n = 0; n < w.rows(); ++n)
    for (int64_t k = 0; k < w.cols(); ++k) w.f32()[n * w.cols() + k] *= scales[static_cast<size_t>(k)];
}

static void apply_scales(const ScaleGroup& group, const std::vector<float>& scales) {
  for (const Tensor& w : group.consumers) multiply_columns(w, scales);
  for (const Tensor& w : group.compensated) multiply_columns(w, scales);
  const auto channels = static_cast<int64_t>(scales.size());
  for (int64_t k = 0; k < channels; ++k) {
    const float s = scales[static_cast<size_t>(k)];
    if (group.norm) group.norm.f32()[k] = (group.norm.f32()[k] + group.norm_offset) / s - group.norm_offset;
    if (group.producer)
      for (int64_t i = 0; i < group.producer.cols(); ++i) group.producer.f32()[k * group.producer.cols() + i] /= s;
    // The inputs shrink by s, so their statistics do.
    group.stats->abs_sum[static_cast<size_t>(k)] /= s;
    for (int64_t j = 0; j < channels; ++j)
      group.stats->gram.f32()[k * channels + j] /= s * scales[static_cast<size_t>(j)];
  }
}

static void search_scales(const ScaleGroup& group, int64_t group_size) {
  if (group.stats->rows == 0) return;  // an expert that calibration never reached keeps neutral scales
  const auto channels = static_cast<size_t>(group.consumers[0].cols());
  std::vector<double> x_mean(channels);
  for (size_t k = 0; k < channels; ++k) x_mean[k] = group.stats->abs_sum[k] / static_cast<double>(group.stats->rows);
  const std::vector<double> w_mean = weight_means(group.consumers, group_size);
  std::vector<float> best(channels, 1.0f);
  double best_error = scaled_error(group, best, group_size);
  constexpr int kRatios = 20;
  std::vector<std::vector<float>> candidates;
  std::vector<double> errors(kRatios);
  for (int r = 0; r < kRatios; ++r) candidates.push_back(candidate_scales(x_mean, w_mean, static_cast<double>(r) / kRatios));
  parallel_for(kRatios, 1, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) errors[r] = scaled_error(group, candidates[r], group_size);
  });
  bool scaled = false;
  for (size_t r = 0; r < kRatios; ++r)
    if (errors[r] < best_error) best_error = errors[r], best = candidates[r], scaled = true;
  if (scaled) apply_scales(group, best);
}

static InputStats* stats_of(const Calibration& calibration, const Tensor& w) {
  const auto found = calibration.inputs.find(w.data);
  require(found != calibration.inputs.end(), "a linear layer was not calibrated");
  return found->second;
}

// The groups of a layer; a matrix that is both consumer and producer (up) is scaled as a consumer first.
static std::vector<ScaleGroup> scale_groups(LayerWeights& w, const Calibration& c) {
  std::vector<ScaleGroup> groups;
  const auto add = [&](std::vector<Tensor> consumers, Tensor norm, Tensor producer, std::vector<Tensor> compensated) {
    std::erase_if(consumers, [](const Tensor& t) { return !t; });
    if (consumers.empty()) return;
    std::erase_if(compensated, [](const Tensor& t) { return !t; });
    InputStats* const stats = stats_of(c, consumers[0]);
    groups.push_back({.stats = stats, .consumers = std::move(consumers), .compensated = std::move(compensated), .norm = norm,
                      .producer = producer});
  };
  add({w.q_a_proj, w.q_proj, w.kv_a_proj, w.k_proj, w.v_proj}, w.input_norm, {}, {});
  if (w.q_b_proj) add({w.q_b_proj}, w.q_a_norm, {}, {});
  if (w.kv_b_proj) add({w.kv_b_proj}, w.kv_a_norm, {}, {});
  std::vector<Tensor> mlp = {w.gate_proj, w.up_proj, w.shared_gate, w.shared_up};
  const int64_t experts = w.experts_gate ? w.experts_gate.shape[0] : 0;
  for (int64_t e = 0; e < experts; ++e) mlp.push_back(item(w.experts_gate, e)), mlp.push_back(item(w.experts_up, e));
  add(mlp, w.post_attention_norm, {}, {w.router, w.group_gate});
  add({w.down_proj}, {}, w.up_proj, {});
  add({w.shared_down}, {}, w.shared_up, {});
  for (int64_t e = 0; e < experts; ++e) add({item(w.experts_down, e)}, {}, item(w.experts_up, e), {});
  return groups;
}

void awq_scale(Model& model, Calibration& calibration, int64_t group_size) {
  uint64_t done = 0;
  for (LayerWeights& layer : model.weights.layers) {
    throw_if_stopped();
    for (ScaleGroup& group : scale_groups(layer, calibration)) {
      group.norm_offset = model.config.norm_plus_one ? 1 : 0;
      search_scales(group, group_size);
    }
    progress({.label = "scale", .unit = "layers", .done = ++done, .total = model.weights.layers.size(), .detail = ""});
  }
}

// ---- Clipping ----

// For each row's part in one group of inputs: the shrink factor of the group's largest magnitude, of 1, 0.95 .. 0.55,
// under which the rounded part errs least on the inputs; then clamps to it.
static void clip_group(const Tensor& w, int64_t begin, int64_t group_size, const InputStats& stats) {
  constexpr int kSteps = 10;
  const int64_t n = w.rows(), k = w.cols();
  Arena scratch;
  const Tensor gram = scratch.make_uninitialized(DType::f32, {group_size, group_size});
  for (int64_t i = 0; i < group_size; ++i)
    std::memcpy(gram.f32() + i * group_size, stats.gram.f32() + (begin + i) * k + begin, static_cast<size_t>(group_size) * sizeof(float));
  const auto fresh = [&] { return scratch.make_uninitialized(DType::f32, {n, group_size}); };
  const Tensor original = fresh(), clipped = fresh(), rounded = fresh(), product = fresh();
  std::vector<float> largest(static_cast<size_t>(n)), best_limit(static_cast<size_t>(n));
  std::vector<double> best_error(static_cast<size_t>(n), HUGE_VAL);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t i = 0; i < group_size; ++i) {
      const float value = w.f32()[row * k + begin + i];
      original.f32()[row * group_size + i] = value;
      largest[static_cast<size_t>(row)] = std::max(largest[static_cast<size_t>(row)], std::fabs(value));
    }
  for (int step = 0; step < kSteps; ++step) {
    const auto limit_of = [&](int64_t row) { return largest[static_cast<size_t>(row)] * (1 - static_cast<float>(step) / 20); };
    for (int64_t i = 0; i < original.elements(); ++i) {
      const float limit = limit_of(i / group_size);
      clipped.f32()[i] = std::clamp(original.f32()[i], -limit, limit);
    }
    fake_quantize(clipped, group_size, rounded);
    for (int64_t i = 0; i < original.elements(); ++i) rounded.f32()[i] -= original.f32()[i];
    linear(rounded, gram, product);
    for (int64_t row = 0; row < n; ++row) {
      double error = 0;
      for (int64_t i = row * group_size; i < (row + 1) * group_size; ++i)
        error += static_cast<double>(rounded.f32()[i]) * product.f32()[i];
      if (error < best_error[static_cast<size_t>(row)]) {
        best_error[static_cast<size_t>(row)] = error;
        best_limit[static_cast<size_t>(row)] = limit_of(row);
      }
    }
  }
  for (int64_t row = 0; row < n; ++row)
    for (int64_t i = 0; i < group_size; ++i) {
      float& value = w.f32()[row * k + begin + i];
      value = std::clamp(value, -best_limit[static_cast<size_t>(row)], best_limit[static_cast<size_t>(row)]);
    }
}

void awq_clip(Model& model, const Calibration& calibration, int64_t group_size) {
  uint64_t done = 0;
  for (LayerWeights& w : model.weights.layers) {
    throw_if_stopped();
    // Queries and keys are left as they are: clipping them disturbs attention scores more than rounding does (AutoAWQ).
    std::vector<Tensor> clipped = {w.kv_a_proj, w.kv_b_proj, w.v_proj, w.o_proj, w.gate_proj, w.up_proj, w.down_proj,
                                   w.shared_gate, w.shared_up, w.shared_down};
    std::erase_if(clipped, [](const Tensor& t) { return !t; });
    const int64_t experts = w.experts_gate ? w.experts_gate.shape[0] : 0;
    for (int64_t e = 0; e < experts; ++e)
      for (const Tensor& matrix : {item(w.experts_gate, e), item(w.experts_up, e), item(w.experts_down, e)})
        clipped.push_back(matrix);
    parallel_for(clipped.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const InputStats& stats = *stats_of(calibration, clipped[i]);
        if (stats.rows == 0) continue;
        for (int64_t g = 0; g < clipped[i].cols(); g += group_size) clip_group(clipped[i], g, group_size, stats);
      }
    });
    progress({.label = "clip", .unit = "layers", .done = ++done, .total = model.weights.layers.size(), .detail = ""});
  }
}

}  // namespace ds
