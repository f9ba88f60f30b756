// The blocks of GGUF's quantized types. Scales and minima are f32 products of a half and a small integer, which are exact.
// (The layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h)
#include <cstring>
#include <fstream>

#include "base/dtype.h"
#include "base/error.h"
#include "io/gguf.h"

namespace ds {

bool is_gguf(const std::string& path) {
  char magic[4] = {};
  std::ifstream in(path, std::ios::binary);
  return in.read(magic, 4) && std::memcmp(magic, "GGUF", 4) == 0;
}

static uint16_t u16_at(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
static uint32_t u32_at(const uint8_t* p) { return u16_at(p) | uint32_t{u16_at(p + 2)} << 16; }
static float half_at(const uint8_t* p) { return f16_to_f32(u16_at(p)); }
static int signed_at(const uint8_t* p) { return static_cast<int8_t>(*p); }

int64_t gguf_group_values(GgufType type) {
  const bool halves = type == GgufType::q2_k || type == GgufType::q3_k || type == GgufType::q6_k;
  return gguf_block_values(type) == 1 ? 0 : halves ? 16 : 32;
}
bool gguf_has_mins(GgufType type) {
  return type == GgufType::q4_1 || type == GgufType::q5_1 || type == GgufType::q2_k || type == GgufType::q4_k || type == GgufType::q5_k;
}

// Each function below takes one block apart: its integers, and the scale and minimum of each group of them.

// ---- Blocks of 32 ----

static int8_t nibble(const uint8_t* nibbles, int j) { return static_cast<int8_t>(j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4); }
// The fifth bits: bit j of `high` belongs to value j.
static int8_t five_bits(const uint8_t* nibbles, uint32_t high, int j) {
  return static_cast<int8_t>(nibble(nibbles, j) | static_cast<int>(high >> j & 1) << 4);
}

static void q4_0(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales[0] = half_at(b), mins[0] = 0;
  for (int j = 0; j < 32; ++j) q[j] = static_cast<int8_t>(nibble(b + 2, j) - 8);
}
static void q4_1(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales[0] = half_at(b), mins[0] = -half_at(b + 2);
  for (int j = 0; j < 32; ++j) q[j] = nibble(b + 4, j);
}
static void q5_0(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales[0] = half_at(b), mins[0] = 0;
  for (int j = 0; j < 32; ++j) q[j] = static_cast<int8_t>(five_bits(b + 6, u32_at(b + 2), j) - 16);
}
static void q5_1(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales[0] = half_at(b), mins[0] = -half_at(b + 2);
  for (int j = 0; j < 32; ++j) q[j] = five_bits(b + 8, u32_at(b + 4), j);
}
static void q8_0(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales[0] = half_at(b), mins[0] = 0;
  std::memcpy(q, b + 2, 32);
}

// ---- Blocks of 256 ----

// The 6-bit scale and minimum of group j (of 8) of Q4_K and Q5_K, in 12 bytes.
static void scale_min(const uint8_t* s, int j, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
  }
}
static void scales_mins(const uint8_t* b, float* scales, float* mins) {
  for (int j = 0; j < 8; ++j) {
    int scale, min;
    scale_min(b + 4, j, scale, min);
    scales[j] = half_at(b) * static_cast<float>(scale);
    mins[j] = half_at(b + 2) * static_cast<float>(min);
  }
}
static void q4_k(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales_mins(b, scales, mins);
  for (int i = 0; i < 256; ++i) q[i] = static_cast<int8_t>(b[16 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15);
}
static void q5_k(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  scales_mins(b, scales, mins);
  for (int i = 0; i < 256; ++i)
    q[i] = static_cast<int8_t>((b[48 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15) | (b[16 + i % 32] >> i / 32 & 1) << 4);
}
static void q6_k(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  const float d = half_at(b + 208);
  for (int g = 0; g < 16; ++g) scales[g] = d * static_cast<float>(signed_at(b + 192 + g)), mins[g] = 0;
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, r = i % 128 / 32, l = i % 32;
    const int bits = (b[64 * h + 32 * (r % 2) + l] >> 4 * (r / 2) & 15) | (b[128 + 32 * h + l] >> 2 * r & 3) << 4;
    q[i] = static_cast<int8_t>(bits - 32);
  }
}
static void q2_k(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int g = 0; g < 16; ++g) scales[g] = d * static_cast<float>(b[g] & 15), mins[g] = dmin * static_cast<float>(b[g] >> 4);
  for (int i = 0; i < 256; ++i) q[i] = static_cast<int8_t>(b[16 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3);
}
static void q3_k(const uint8_t* b, int8_t* q, float* scales, float* mins) {
  const float d = half_at(b + 108);
  const uint8_t* const s = b + 96;
  for (int g = 0; g < 16; ++g) {
    const int scale = (s[g % 8] >> 4 * (g / 8) & 15) | (s[8 + g % 4] >> 2 * (g / 4) & 3) << 4;
    scales[g] = d * static_cast<float>(scale - 32), mins[g] = 0;
  }
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, r = i % 128 / 32, l = i % 32;
    q[i] = static_cast<int8_t>((b[32 + 32 * h + l] >> 2 * r & 3) - (b[l] >> (4 * h + r) & 1 ? 0 : 4));
  }
}

static void split_block(GgufType type, const uint8_t* b, int8_t* q, float* scales, float* mins) {
  switch (type) {
    case GgufType::q4_0: return q4_0(b, q, scales, mins);
    case GgufType::q4_1: return q4_1(b, q, scales, mins);
    case GgufType::q5_0: return q5_0(b, q, scales, mins);
    case GgufType::q5_1: return q5_1(b, q, scales, mins);
    case GgufType::q8_0: return q8_0(b, q, scales, mins);
    case GgufType::q2_k: return q2_k(b, q, scales, mins);
    case GgufType::q3_k: return q3_k(b, q, scales, mins);
    case GgufType::q4_k: return q4_k(b, q, scales, mins);
    case GgufType::q5_k: return q5_k(b, q, scales, mins);
    case GgufType::q6_k: return q6_k(b, q, scales, mins);
    default: fail("a tensor of ", gguf_type_name(type), " has no groups");
  }
}

// The first block, after checking that all lie in the tensor.
static const uint8_t* blocks_at(const GgufTensor& tensor, int64_t begin, int64_t count) {
  const int64_t values = gguf_block_values(tensor.type), bytes = gguf_block_bytes(tensor.type);
  const int64_t blocks = static_cast<int64_t>(tensor.data.size()) / bytes;
  require(begin >= 0 && count >= 0 && begin % values == 0 && count % values == 0 && begin / values <= blocks &&
              count / values <= blocks - begin / values,
          tensor.name, ": values ", begin, " to ", begin + count, " are not whole blocks of it");
  return reinterpret_cast<const uint8_t*>(tensor.data.data()) + begin / values * bytes;
}

void split_gguf(const GgufTensor& tensor, int64_t begin, int64_t count, int8_t* q, float* scales, float* mins) {
  const uint8_t* b = blocks_at(tensor, begin, count);
  const int64_t values = gguf_block_values(tensor.type), groups = values == 1 ? 0 : values / gguf_group_values(tensor.type);
  for (int64_t i = 0; i < count; i += values, b += gguf_block_bytes(tensor.type), scales += groups, mins += groups)
    split_block(tensor.type, b, q + i, scales, mins);
}

void dequantize_gguf(const GgufTensor& tensor, int64_t begin, int64_t count, float* out) {
  const uint8_t* b = blocks_at(tensor, begin, count);
  if (tensor.type == GgufType::f32) {
    if (count) std::memcpy(out, b, static_cast<size_t>(count) * 4);
  } else if (tensor.type == GgufType::f16 || tensor.type == GgufType::bf16) {
    for (int64_t i = 0; i < count; ++i) out[i] = tensor.type == GgufType::f16 ? half_at(b + 2 * i) : bf16_to_f32(u16_at(b + 2 * i));
  } else {
    const int64_t values = gguf_block_values(tensor.type), group = gguf_group_values(tensor.type);
    int8_t q[256];
    float scales[16], mins[16];
    for (int64_t i = 0; i < count; i += values, b += gguf_block_bytes(tensor.type)) {
      split_block(tensor.type, b, q, scales, mins);
      for (int64_t j = 0; j < values; ++j) out[i + j] = static_cast<float>(q[j]) * scales[j / group] - mins[j / group];
    }
  }
}

}  // namespace ds
