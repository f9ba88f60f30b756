// The arguments of attention, checked once and read as plain pointers. It owns nothing.
#pragma once
#include <vector>

#include "tensor/cpu/arguments.h"
#include "tensor/ops.h"

namespace ds::cpu {

// Rows [begin, end) of a batch that lie together and belong to one sequence.
struct Run {
  size_t begin, end;
  int32_t sequence;
};

struct AttentionPages {
  const char* op;
  AttentionSpec spec;
  size_t heads, kv_heads, group, head_dim, v_head_dim;  // group: query heads of a kv head
  size_t tokens;
  const int32_t* sequence;
  const int32_t* position;
  const int32_t* table;  // [sequences, table_cols]
  size_t table_cols;
  bool rounded;          // pages are i8 with scales, else f32
  size_t key_parts, value_parts;  // that have a scale each
  void* k_pages;
  void* v_pages;
  float* k_scales;
  float* v_scales;

  // Where the keys and values of a block of one sequence lie, for one kv head; what follows takes this number.
  size_t entry(int32_t seq, size_t block, size_t kv_head) const {
    return static_cast<size_t>(table[static_cast<size_t>(seq) * table_cols + block]) * kv_heads + kv_head;
  }
  // Keys [head_dim][kKeyBlock] and values [kKeyBlock][v_head_dim] as T, float or int8_t; scales [key_parts][kKeyBlock] and
  // [value_parts][kKeyBlock].
  template <class T>
  T* keys(size_t entry) const { return static_cast<T*>(k_pages) + entry * head_dim * kKeyBlock; }
  template <class T>
  T* values(size_t entry) const { return static_cast<T*>(v_pages) + entry * v_head_dim * kKeyBlock; }
  float* key_scales(size_t entry) const { return k_scales + entry * key_parts * kKeyBlock; }
  float* value_scales(size_t entry) const { return v_scales + entry * value_parts * kKeyBlock; }
  // The columns [begin, end) of a part of a key and of a value.
  struct Part {
    size_t begin, end;
  };
  Part key_part(size_t part) const {
    const size_t split = static_cast<size_t>(spec.key_split), before = (split + kScaleColumns - 1) / kScaleColumns;
    if (part < before) return {part * kScaleColumns, std::min((part + 1) * kScaleColumns, split)};
    const size_t begin = split + (part - before) * kScaleColumns;
    return {begin, std::min(begin + kScaleColumns, head_dim)};
  }
  Part value_part(size_t part) const { return {part * kScaleColumns, std::min((part + 1) * kScaleColumns, v_head_dim)}; }
  // The first key that a row at position p sees, in one head and in any.
  bool has_window(size_t kv_head) const {
    return spec.window > 0 && (spec.window_kv_heads == 0 || kv_head < static_cast<size_t>(spec.window_kv_heads));
  }
  size_t first_key(size_t p, size_t kv_head) const {
    const size_t window = static_cast<size_t>(spec.window);
    return !has_window(kv_head) || p + 1 <= window ? 0 : p + 1 - window;
  }
  size_t first_key(size_t p) const { return first_key(p, kv_heads - 1); }
};

// Checks the spec, the pages and the rows: every page up to each row's position must be in the table.
AttentionPages attention_pages(const char* op, const Tensor& k_pages, const Tensor& v_pages, const Rows& at,
                               const AttentionSpec& spec);

// The runs of a batch, in order, none longer than `longest` rows.
std::vector<Run> sequence_runs(const AttentionPages& pages, size_t longest);

}  // namespace ds::cpu
