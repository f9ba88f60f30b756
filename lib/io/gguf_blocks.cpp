// The blocks of GGUF's quantized types. Products of a scale with an integer are rounded to f32 once, as in ggml's reference.
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

// ---- Blocks of 32 ----

static void q4_0(const uint8_t* b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}
static void q4_1(const uint8_t* b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    y[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}
// The fifth bits: bit j of `high` belongs to value j.
static int q5_value(const uint8_t* nibbles, uint32_t high, int j) {
  const int low = j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4;
  return low | static_cast<int>(high >> j & 1) << 4;
}
static void q5_0(const uint8_t* b, float* y) {
  const float d = half_at(b);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(q5_value(b + 6, u32_at(b + 2), j) - 16);
}
static void q5_1(const uint8_t* b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(q5_value(b + 8, u32_at(b + 4), j)) + m;
}
static void q8_0(const uint8_t* b, float* y) {
  const float d = half_at(b);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(signed_at(b + 2 + j));
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
static void q4_k_or_q5_k(const uint8_t* b, const uint8_t* high, const uint8_t* nibbles, float* y) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int j = 0; j < 8; ++j) {
    int scale, min;
    scale_min(b + 4, j, scale, min);
    const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(min);
    for (int l = 0; l < 32; ++l) {
      int q = nibbles[32 * (j / 2) + l] >> 4 * (j % 2) & 15;
      if (high) q |= (high[l] >> j & 1) << 4;
      y[32 * j + l] = s * static_cast<float>(q) - m;
    }
  }
}
static void q6_k(const uint8_t* b, float* y) {
  const float d = half_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, r = i % 128 / 32, l = i % 32;
    const int q = (b[64 * h + 32 * (r % 2) + l] >> 4 * (r / 2) & 15) | (b[128 + 32 * h + l] >> 2 * r & 3) << 4;
    y[i] = d * static_cast<float>(signed_at(b + 192 + i / 16)) * static_cast<float>(q - 32);
  }
}
static void q2_k(const uint8_t* b, float* y) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, r = i % 128 / 32, l = i % 32, s = b[i / 16];
    y[i] = d * static_cast<float>(s & 15) * static_cast<float>(b[16 + 32 * h + l] >> 2 * r & 3) - dmin * static_cast<float>(s >> 4);
  }
}
static void q3_k(const uint8_t* b, float* y) {
  const float d = half_at(b + 108);
  const uint8_t* const s = b + 96;
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, r = i % 128 / 32, l = i % 32, g = i / 16;
    const int q = (b[32 + 32 * h + l] >> 2 * r & 3) - (b[l] >> (4 * h + r) & 1 ? 0 : 4);
    const int scale = (s[g % 8] >> 4 * (g / 8) & 15) | (s[8 + g % 4] >> 2 * (g / 4) & 3) << 4;
    y[i] = d * static_cast<float>(scale - 32) * static_cast<float>(q);
  }
}

static void dequantize_block(GgufType type, const uint8_t* b, float* y) {
  switch (type) {
    case GgufType::f32: std::memcpy(y, b, 4); return;
    case GgufType::f16: *y = half_at(b); return;
    case GgufType::bf16: *y = bf16_to_f32(u16_at(b)); return;
    case GgufType::q4_0: q4_0(b, y); return;
    case GgufType::q4_1: q4_1(b, y); return;
    case GgufType::q5_0: q5_0(b, y); return;
    case GgufType::q5_1: q5_1(b, y); return;
    case GgufType::q8_0: q8_0(b, y); return;
    case GgufType::q2_k: q2_k(b, y); return;
    case GgufType::q3_k: q3_k(b, y); return;
    case GgufType::q4_k: q4_k_or_q5_k(b, nullptr, b + 16, y); return;
    case GgufType::q5_k: q4_k_or_q5_k(b, b + 16, b + 48, y); return;
    case GgufType::q6_k: q6_k(b, y); return;
  }
}

void dequantize_gguf(const GgufTensor& tensor, int64_t begin, int64_t count, float* out) {
  const int64_t values = gguf_block_values(tensor.type), bytes = gguf_block_bytes(tensor.type);
  const int64_t blocks = static_cast<int64_t>(tensor.data.size()) / bytes;
  require(begin >= 0 && count >= 0 && begin % values == 0 && count % values == 0 && begin / values <= blocks &&
              count / values <= blocks - begin / values,
          tensor.name, ": values ", begin, " to ", begin + count, " are not whole blocks of it");
  const uint8_t* b = reinterpret_cast<const uint8_t*>(tensor.data.data()) + begin / values * bytes;
  for (float* const end = out + count; out != end; out += values, b += bytes) dequantize_block(tensor.type, b, out);
}

}  // namespace ds
