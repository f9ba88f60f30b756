#include <bit>
#include <limits>

#include "tensor/cpu/attention.h"

namespace ds::cpu {

// Which pages the rows of each sequence need is decided by their greatest position; each of these is looked at once.
static void check_rows(const AttentionPages& a, size_t sequences, size_t page_count) {
  std::vector<size_t> blocks(sequences), first(sequences, SIZE_MAX);
  for (size_t t = 0; t < a.tokens; ++t) {
    const int32_t s = a.sequence[t], p = a.position[t];
    require(s >= 0 && static_cast<size_t>(s) < sequences, a.op, ": sequence ", s, " of ", sequences, " at row ", t);
    require(p >= 0 && static_cast<size_t>(p) / kKeyBlock < a.table_cols, a.op, ": position ", p, " at row ", t, " is past the ",
            a.table_cols, " pages of a sequence");
    const size_t row = static_cast<size_t>(s), at = static_cast<size_t>(p);
    blocks[row] = std::max(blocks[row], at / kKeyBlock + 1);
    first[row] = std::min(first[row], a.first_key(at) / kKeyBlock);
  }
  for (size_t s = 0; s < sequences; ++s)
    for (size_t b = first[s]; b < blocks[s]; ++b) {
      const int32_t page = a.table[s * a.table_cols + b];
      require(page >= 0 && static_cast<size_t>(page) < page_count, a.op, ": page ", page, " of ", page_count, " for block ", b,
              " of sequence ", s);
    }
}

AttentionPages attention_pages(const char* op, const Tensor& k_pages, const Tensor& v_pages, const Rows& at,
                               const AttentionSpec& spec) {
  require(spec.heads > 0 && spec.kv_heads > 0 && spec.heads % spec.kv_heads == 0 && spec.head_dim > 0 && spec.v_head_dim > 0 &&
              spec.window >= 0 && spec.window_kv_heads >= 0 && spec.window_kv_heads <= spec.kv_heads && spec.softcap >= 0 && spec.key_split >= 0 && spec.key_split < spec.head_dim,
          op, ": ", spec.heads, " heads of ", spec.head_dim, " over ", spec.kv_heads, " key heads and values of ", spec.v_head_dim,
          " are not possible");
  AttentionPages a{};
  a.op = op;
  a.spec = spec;
  a.heads = static_cast<size_t>(spec.heads);
  a.kv_heads = static_cast<size_t>(spec.kv_heads);
  a.group = a.heads / a.kv_heads;
  a.head_dim = static_cast<size_t>(spec.head_dim);
  a.v_head_dim = static_cast<size_t>(spec.v_head_dim);
  const auto check_pages = [&](const Tensor& pages, int64_t dim2, int64_t dim3) {
    require(pages.dtype == k_pages.dtype && pages.rank == 4 && pages.shape[1] == spec.kv_heads && pages.shape[2] == dim2 &&
                pages.shape[3] == dim3 && pages.shape[0] == k_pages.shape[0],
            op, ": pages of ", dtype_name(k_pages.dtype), "[", k_pages.shape[0], ", ", spec.kv_heads, ", ", dim2, ", ", dim3, "] are expected, not ", describe(pages));
  };
  check_pages(k_pages, spec.head_dim, kKeyBlock);
  check_pages(v_pages, kKeyBlock, spec.v_head_dim);
  const auto has_scales = [](const Tensor& pages) { return pages.scales && pages.scale_dtype == DType::f32; };
  require(k_pages.dtype == DType::f32 || (k_pages.dtype == DType::i8 && has_scales(k_pages) && has_scales(v_pages)), op,
          ": pages are f32, or i8 with scales in f32, not ", describe(k_pages));
  a.rounded = k_pages.dtype == DType::i8;
  a.key_parts = static_cast<size_t>(scale_parts(spec.head_dim, spec.key_split));
  a.value_parts = static_cast<size_t>(scale_parts(spec.v_head_dim));
  a.k_pages = k_pages.data;
  a.v_pages = v_pages.data;
  a.k_scales = static_cast<float*>(const_cast<void*>(k_pages.scales));
  a.v_scales = static_cast<float*>(const_cast<void*>(v_pages.scales));
  a.tokens = static_cast<size_t>(at.sequence.elements());
  a.sequence = i32_array(op, at.sequence, a.tokens);
  a.position = i32_array(op, at.position, a.tokens);
  require(at.page_table.rank == 2, op, ": a page table has two dimensions, not ", describe(at.page_table));
  a.table = i32_array(op, at.page_table, static_cast<size_t>(at.page_table.elements()));
  a.table_cols = static_cast<size_t>(at.page_table.shape[1]);
  check_rows(a, static_cast<size_t>(at.page_table.shape[0]), static_cast<size_t>(k_pages.shape[0]));
  return a;
}

std::vector<Run> sequence_runs(const AttentionPages& pages, size_t longest) {
  std::vector<Run> runs;
  for (size_t t = 0; t < pages.tokens; ++t) {
    if (runs.empty() || runs.back().sequence != pages.sequence[t] || runs.back().end - runs.back().begin >= longest)
      runs.push_back({t, t, pages.sequence[t]});
    runs.back().end = t + 1;
  }
  return runs;
}

// x[n] as integers, `step` apart, and their scale.
static void round_part(const float* x, size_t n, int8_t* to, size_t step, float& scale) {
  // As integers the sizes of floats have the same order, infinities and NaN above them.
  uint32_t most = 0;
  for (size_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffff);
  const float a = std::bit_cast<float>(most);
  const bool finite = most < 0x7f800000, zero = !finite || a < 0x1p-100f;
  scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0 : a / 127;
  const float inverse = zero ? 0 : 127 / a;
  constexpr float kRound = 0x1.8p23f;  // added to a small number, it leaves an integer, ties to even
  for (size_t i = 0; i < n; ++i) to[i * step] = zero ? int8_t{0} : static_cast<int8_t>((x[i] * inverse + kRound) - kRound);
}

// One row's key and value of a kv head, to its block's slot.
static void write_rounded(const AttentionPages& a, size_t entry, size_t slot, const float* key, const float* value) {
  for (size_t part = 0; part < a.key_parts; ++part) {
    const auto [begin, end] = a.key_part(part);
    round_part(key + begin, end - begin, a.keys<int8_t>(entry) + begin * kKeyBlock + slot, kKeyBlock,
               a.key_scales(entry)[part * kKeyBlock + slot]);
  }
  for (size_t part = 0; part < a.value_parts; ++part) {
    const auto [begin, end] = a.value_part(part);
    round_part(value + begin, end - begin, a.values<int8_t>(entry) + slot * a.v_head_dim + begin, 1,
               a.value_scales(entry)[part * kKeyBlock + slot]);
  }
}

void kv_write(const Tensor& k, const Tensor& v, const Rows& at, const AttentionSpec& spec, const Tensor& k_pages,
              const Tensor& v_pages) {
  const AttentionPages a = attention_pages("kv_write", k_pages, v_pages, at, spec);
  const Matrix keys = matrix("kv_write", k, a.tokens, a.kv_heads * a.head_dim);
  const Matrix values = matrix("kv_write", v, a.tokens, a.kv_heads * a.v_head_dim);
  parallel_for(a.tokens, 8, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const size_t block = static_cast<size_t>(a.position[t]) / kKeyBlock, slot = static_cast<size_t>(a.position[t]) % kKeyBlock;
      for (size_t h = 0; h < a.kv_heads; ++h) {
        const size_t entry = a.entry(a.sequence[t], block, h);
        const float* const key = keys.row(t) + h * a.head_dim;
        const float* const value = values.row(t) + h * a.v_head_dim;
        if (a.rounded) {
          write_rounded(a, entry, slot, key, value);
          continue;
        }
        float* const to = a.keys<float>(entry) + slot;
        for (size_t d = 0; d < a.head_dim; ++d) to[d * kKeyBlock] = key[d];
        std::copy(value, value + a.v_head_dim, a.values<float>(entry) + slot * a.v_head_dim);
      }
    }
  });
}

void kv_round(const Tensor& x, int columns, int split) {
  const Matrix m = matrix("kv_round", x);
  require(columns > 0 && split >= 0 && split < columns && m.cols % static_cast<size_t>(columns) == 0, "kv_round: heads of ", columns,
          " columns, split at ", split, ", in ", describe(x));
  const auto width = static_cast<size_t>(columns), cut = static_cast<size_t>(split);
  parallel_for(m.rows, row_grain(m.cols), [&](size_t begin, size_t end) {
    int8_t integers[kScaleColumns];
    for (size_t t = begin; t < end; ++t)
      for (float* head = m.row(t); head < m.row(t) + m.cols; head += width)
        for (size_t from = 0, to; from < width; from = to) {
          to = std::min<size_t>(from + kScaleColumns, from < cut ? cut : width);
          float scale = 0;
          round_part(head + from, to - from, integers, 1, scale);
          for (size_t i = from; i < to; ++i) head[i] = static_cast<float>(integers[i - from]) * scale;
        }
  });
}

}  // namespace ds::cpu
