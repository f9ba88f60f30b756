// GGUF, the file format of llama.cpp: metadata by key, and tensors of which many are quantized in blocks. Versions 2 and 3,
// little-endian. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/input.h"

namespace ds {

// Tensor types by their numbers in the file; others are an Error that names the tensor.
enum class GgufType : uint32_t {
  f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q2_k = 10, q3_k = 11, q4_k = 12, q5_k = 13, q6_k = 14, bf16 = 30
};
std::string_view gguf_type_name(GgufType type);    // "Q4_K"
int64_t gguf_block_values(GgufType type);          // values in a block: 1, 32 or 256
int64_t gguf_block_bytes(GgufType type);

// A tensor of the file. `shape` is in the order of PyTorch (the last dimension contiguous: [N, K] of a linear layer);
// `data` points into the mapping and lives as long as the GgufFile.
struct GgufTensor {
  std::string name;
  GgufType type = GgufType::f32;
  std::vector<int64_t> shape;
  std::string_view data;
};

// A value of the metadata. Arrays of strings and numbers; an array of arrays is an Error.
struct GgufValue {
  enum class Type : uint8_t { integer, real, boolean, string, integers, reals, strings } type = Type::integer;
  int64_t integer = 0;                             // also boolean; u64 above 2^63 - 1 is an Error
  double real = 0;
  std::string_view string;                         // into the mapping
  std::vector<int64_t> integers;                   // also booleans
  std::vector<double> reals;
  std::vector<std::string_view> strings;
};

// One mapped file, its header checked: every count, length and offset against the size of the file, tensors without
// overlap, no name twice. A malformed file is an Error, never a read out of bounds.
class GgufFile {
 public:
  explicit GgufFile(const std::string& path);
  const std::string& path() const { return path_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  const GgufValue* get(std::string_view key) const;              // null: absent
  // With the type that the caller needs; a value of another type is an Error with path and key, an absent one gives `fallback`.
  int64_t integer_or(std::string_view key, int64_t fallback) const;
  double real_or(std::string_view key, double fallback) const;   // integers too
  bool flag_or(std::string_view key, bool fallback) const;
  std::string_view string_or(std::string_view key, std::string_view fallback) const;

 private:
  std::string path_;
  MappedFile file_;
  std::vector<GgufTensor> tensors_;                // in the file's order of offsets
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Checks the bytes of a file: the parser behind GgufFile, for tests and fuzzing.
void parse_gguf(std::string_view bytes, std::string_view where, std::vector<GgufTensor>& tensors,
                std::map<std::string, GgufValue, std::less<>>& metadata);

// True where a file begins as a GGUF does.
bool is_gguf(const std::string& path);

// Values [begin, begin + count) of a tensor as f32, exactly as the format defines them; both are multiples of the block.
void dequantize_gguf(const GgufTensor& tensor, int64_t begin, int64_t count, float* out);

// The same of a quantized type as integers with a scale and a minimum a group: value = q * scale - min. q lies in -8..7
// (Q4_0), 0..15 (Q4_1, Q4_K), -16..15 (Q5_0), 0..31 (Q5_1, Q5_K), -128..127 (Q8_0), 0..3 (Q2_K), -4..3 (Q3_K), -32..31 (Q6_K).
int64_t gguf_group_values(GgufType type);          // 16 or 32; f32, f16, bf16: 0
bool gguf_has_mins(GgufType type);                 // else every minimum is zero
void split_gguf(const GgufTensor& tensor, int64_t begin, int64_t count, int8_t* q, float* scales, float* mins);

}  // namespace ds
