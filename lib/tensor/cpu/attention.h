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
  float* k_pages;
  float* v_pages;

  // The page of a block of one sequence: keys [head_dim][kKeyBlock], values [kKeyBlock][v_head_dim].
  float* keys(int32_t seq, size_t block, size_t kv_head) const {
    return k_pages + (page(seq, block) * kv_heads + kv_head) * head_dim * kKeyBlock;
  }
  float* values(int32_t seq, size_t block, size_t kv_head) const {
    return v_pages + (page(seq, block) * kv_heads + kv_head) * v_head_dim * kKeyBlock;
  }
  // The first key that a row at position p sees.
  size_t first_key(size_t p) const {
    const size_t window = static_cast<size_t>(spec.window);
    return window == 0 || p + 1 <= window ? 0 : p + 1 - window;
  }

 private:
  size_t page(int32_t seq, size_t block) const {
    return static_cast<size_t>(table[static_cast<size_t>(seq) * table_cols + block]);
  }
};

// Checks the spec, the pages and the rows: every page up to each row's position must be in the table.
AttentionPages attention_pages(const char* op, const Tensor& k_pages, const Tensor& v_pages, const Rows& at,
                               const AttentionSpec& spec);

// The runs of a batch, in order, none longer than `longest` rows.
std::vector<Run> sequence_runs(const AttentionPages& pages, size_t longest);

}  // namespace ds::cpu
