// Attention among the outputs of a token's experts: expert_attention and its backward operation.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/expert_attention.cpp"
#include <hwy/foreach_target.h>
#include "tensor/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

static float dot_row(const float* x, const float* y, size_t n) {
  F32x16 sum = 0.0f;
  for (size_t i = 0; i < n; i += kLanes) sum = mul_add(load(x + i, n - i), load(y + i, n - i), sum);
  return reduce_add(sum);
}

// y += factor * x
static void add_multiple(float factor, const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) store(mul_add(load(x + i, n - i), factor, load(y + i, n - i)), y + i, n - i);
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/cpu/arguments.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/math.h"
#include "tensor/ops.h"

namespace ds::cpu {
HWY_EXPORT(dot_row);
HWY_EXPORT(add_multiple);

namespace {

// What both operations read, checked.
struct Attended {
  Matrix x;
  size_t tokens, top_k;
  const int32_t *expert, *row;
  int32_t group_size;
  float gate, scale;

  Attended(const char* op, const Tensor& x_in, const Tensor& indices, const Tensor& row_of_slot, int group, const Tensor& gate_in)
      : x(matrix(op, x_in)), group_size(group) {
    require(indices.rank == 2 && group > 0, op, ": experts ", describe(indices), " in groups of ", group);
    tokens = static_cast<size_t>(indices.rows());
    top_k = static_cast<size_t>(indices.cols());
    expert = i32_array(op, indices, tokens * top_k);
    row = i32_array(op, row_of_slot, tokens * top_k);
    gate = *f32_array(op, gate_in, 1);
    scale = 1.0f / std::sqrt(static_cast<float>(x.cols));
    for (size_t i = 0; i < tokens * top_k; ++i)
      require(row[i] >= -1 && row[i] < static_cast<int64_t>(x.rows) && (expert[i] < 0) == (row[i] < 0), op, ": row ", row[i], " of ", x.rows);
  }
};

// The slots of one token, and their attention.
struct Slots {
  const Attended& at;
  std::vector<size_t> rows;       // of x, of the slots that have an expert
  std::vector<int32_t> groups;
  std::vector<float> a;           // [slots, slots]; 0 between groups
  float (*const dot)(const float*, const float*, size_t) = DS_SIMD_DISPATCH(dot_row);
  void (*const add)(float, const float*, float*, size_t) = DS_SIMD_DISPATCH(add_multiple);

  explicit Slots(const Attended& attended) : at(attended), a(at.top_k * at.top_k) {}
  float& weight(size_t i, size_t j) { return a[i * at.top_k + j]; }
  const float* x(size_t i) const { return at.x.row(rows[i]); }

  void attend(size_t token) {
    rows.clear(), groups.clear();
    for (size_t j = token * at.top_k; j < (token + 1) * at.top_k; ++j)
      if (at.row[j] >= 0) rows.push_back(static_cast<size_t>(at.row[j])), groups.push_back(at.expert[j] / at.group_size);
    for (size_t i = 0; i < rows.size(); ++i) {
      float top = -std::numeric_limits<float>::infinity(), sum = 0;
      for (size_t j = 0; j < rows.size(); ++j) {
        weight(i, j) = groups[i] == groups[j] ? dot(x(i), x(j), at.x.cols) * at.scale : 0.0f;
        if (groups[i] == groups[j]) top = std::max(top, weight(i, j));
      }
      for (size_t j = 0; j < rows.size(); ++j) {
        if (groups[i] == groups[j]) weight(i, j) = math::exp(weight(i, j) - top);
        sum += weight(i, j);
      }
      for (size_t j = 0; j < rows.size(); ++j) weight(i, j) /= sum;
    }
  }
};

}  // namespace

void expert_attention(const Tensor& x, const Tensor& indices, const Tensor& row_of_slot, int group_size, const Tensor& gate,
                      const Tensor& y) {
  const char* const op = "expert_attention";
  const Attended at(op, x, indices, row_of_slot, group_size, gate);
  const Matrix out = matrix(op, y, at.x.rows, at.x.cols);
  parallel_for(at.tokens, row_grain(at.x.cols * at.top_k * at.top_k), [&](size_t begin, size_t end) {
    Slots slots(at);
    for (size_t t = begin; t < end; ++t) {
      slots.attend(t);
      for (size_t i = 0; i < slots.rows.size(); ++i) {
        float* const to = out.row(slots.rows[i]);
        std::memcpy(to, slots.x(i), at.x.cols * sizeof(float));
        for (size_t j = 0; j < slots.rows.size(); ++j)
          if (slots.groups[i] == slots.groups[j]) slots.add(at.gate * slots.weight(i, j), slots.x(j), to, at.x.cols);
      }
    }
  });
}

// With d_i = dy_i, b_ij = d_i.x_j and s_ij = scale x_i.x_j: dgate += sum of a_ij b_ij, and through the softmax ds_ij =
// gate a_ij (b_ij - sum over l of a_il b_il). Then dx_i = d_i + sum over j of gate a_ji d_j + scale (ds_ij + ds_ji) x_j.
void expert_attention_backward(const Tensor& dy, const Tensor& x, const Tensor& indices, const Tensor& row_of_slot, int group_size,
                               const Tensor& gate, const Tensor& dx, const Tensor& dgate) {
  const char* const op = "expert_attention_backward";
  const Attended at(op, x, indices, row_of_slot, group_size, gate);
  const Matrix d = matrix(op, dy, at.x.rows, at.x.cols), out = matrix(op, dx, at.x.rows, at.x.cols);
  float* const dg = f32_array(op, dgate, 1);
  std::vector<float> of_token(at.tokens);
  parallel_for(at.tokens, row_grain(at.x.cols * at.top_k * at.top_k * 3), [&](size_t begin, size_t end) {
    Slots slots(at);
    std::vector<float> ds(at.top_k * at.top_k);
    const size_t n = at.x.cols;
    for (size_t t = begin; t < end; ++t) {
      slots.attend(t);
      const size_t count = slots.rows.size();
      for (size_t i = 0; i < count; ++i) {
        float along = 0;
        for (size_t j = 0; j < count; ++j) {
          float& b = ds[i * at.top_k + j];
          b = slots.groups[i] == slots.groups[j] ? slots.dot(d.row(slots.rows[i]), slots.x(j), n) : 0.0f;
          along = std::fma(slots.weight(i, j), b, along);
        }
        for (size_t j = 0; j < count; ++j) {
          float& s = ds[i * at.top_k + j];
          s = at.gate * slots.weight(i, j) * (s - along) * at.scale;
        }
        of_token[t] += along;
      }
      for (size_t i = 0; i < count; ++i) {
        float* const to = out.row(slots.rows[i]);
        std::memcpy(to, d.row(slots.rows[i]), n * sizeof(float));
        for (size_t j = 0; j < count; ++j) {
          if (slots.groups[i] != slots.groups[j]) continue;
          slots.add(at.gate * slots.weight(j, i), d.row(slots.rows[j]), to, n);
          slots.add(ds[i * at.top_k + j] + ds[j * at.top_k + i], slots.x(j), to, n);
        }
      }
    }
  });
  double sum = 0;
  for (const float part : of_token) sum += part;
  *dg += static_cast<float>(sum);
}

}  // namespace ds::cpu
#endif
