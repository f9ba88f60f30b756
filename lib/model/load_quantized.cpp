#include "model/load_quantized.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"

namespace ds {

using Format = Quantization::Format;

namespace {

uint32_t word_at(const StoredTensor& t, int64_t i) {
  uint32_t word;
  std::memcpy(&word, t.data.data() + i * 4, 4);
  return word;
}

// How a word of 32 bits holds values: value i (from the lowest bits on) is number order[i] of those in the word.
struct Words {
  int bits;
  bool awq_order = false;
  int per_word() const { return 32 / bits; }
  int position(int i) const {
    static constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    return awq_order ? kAwqOrder[i] : i;
  }
  uint8_t value(uint32_t word, int i) const { return static_cast<uint8_t>(word >> (bits * i) & ((1u << bits) - 1)); }
};

// Words [rows, outputs / per_word] that hold outputs side by side, to values [outputs, rows].
void unpack_outputs(const StoredTensor& t, int64_t rows, int64_t outputs, const Words& words, std::vector<uint8_t>& out) {
  out.resize(static_cast<size_t>(rows * outputs));
  const int64_t count = outputs / words.per_word();
  // A cache line of words at a time, a few rows, so that the lines written stay in the cache too.
  parallel_for(static_cast<size_t>(count), 16, [&](size_t begin, size_t end) {
    for (int64_t row0 = 0; row0 < rows; row0 += 64)
      for (auto c = static_cast<int64_t>(begin); c < static_cast<int64_t>(end); ++c)
        for (int64_t row = row0; row < std::min(rows, row0 + 64); ++row) {
          const uint32_t word = word_at(t, row * count + c);
          for (int i = 0; i < words.per_word(); ++i)
            out[static_cast<size_t>((c * words.per_word() + words.position(i)) * rows + row)] = words.value(word, i);
        }
  });
}

// Words [inputs / per_word, outputs] that hold inputs side by side, to values [outputs, inputs].
void unpack_inputs(const StoredTensor& t, int64_t inputs, int64_t outputs, const Words& words, std::vector<uint8_t>& out) {
  out.resize(static_cast<size_t>(inputs * outputs));
  const int64_t count = inputs / words.per_word();
  parallel_for(static_cast<size_t>(outputs), 16, [&](size_t begin, size_t end) {
    for (int64_t r = 0; r < count; ++r)
      for (auto n = static_cast<int64_t>(begin); n < static_cast<int64_t>(end); ++n) {
        const uint32_t word = word_at(t, r * outputs + n);
        for (int i = 0; i < words.per_word(); ++i)
          out[static_cast<size_t>(n * inputs + r * words.per_word() + i)] = words.value(word, i);
      }
  });
}

// Scales [N, G] from a tensor of f32, f16 or bf16 [G, N] (`transposed`) or [N, G].
void read_scales(const StoredTensor& t, int64_t n, int64_t groups, bool transposed, StoredMatrix& out) {
  out.format.scale_dtype = t.dtype == DType::f16 ? DType::f16 : DType::f32;
  out.scales.resize(static_cast<size_t>(n * groups));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t g = 0; g < groups; ++g)
      out.scales[static_cast<size_t>(i * groups + g)] = stored_number(t, transposed ? g * n + i : i * groups + g);
}

// Sorts the inputs by their group, where they are not: column i of the values is then input k_order[i].
void sort_by_group(Binder& binder, const StoredTensor& index, StoredMatrix& m) {
  const int64_t groups = m.groups(), size = m.format.group_size;
  std::vector<int32_t> group_of(static_cast<size_t>(m.k));
  std::vector<int64_t> counts(static_cast<size_t>(groups));
  std::memcpy(group_of.data(), index.data.data(), index.data.size());
  for (const int32_t g : group_of) {
    require(g >= 0 && g < groups, binder.folder(), ": ", index.name, " has the group ", g, " of ", groups);
    ++counts[static_cast<size_t>(g)];
  }
  if (std::is_sorted(group_of.begin(), group_of.end()) && std::all_of(counts.begin(), counts.end() - 1, [&](int64_t c) { return c == size; }))
    return;
  for (int64_t g = 0; g < groups; ++g)
    require(counts[static_cast<size_t>(g)] == std::min(size, m.k - g * size), binder.folder(), ": ", index.name, " puts ",
            counts[static_cast<size_t>(g)], " inputs into group ", g, ", which has ", std::min(size, m.k - g * size));
  m.k_order.resize(static_cast<size_t>(m.k));
  std::iota(m.k_order.begin(), m.k_order.end(), 0);
  std::stable_sort(m.k_order.begin(), m.k_order.end(), [&](int32_t a, int32_t b) { return group_of[a] < group_of[b]; });
  parallel_for(static_cast<size_t>(m.n), 16, [&](size_t begin, size_t end) {
    std::vector<uint8_t> row(static_cast<size_t>(m.k));
    for (size_t n = begin; n < end; ++n) {
      uint8_t* const values = m.value_memory.data() + n * row.size();
      for (size_t i = 0; i < row.size(); ++i) row[i] = values[m.k_order[i]];
      std::copy(row.begin(), row.end(), values);
    }
  });
}

// Turns unsigned 8-bit values with zero points [N, G] into signed ones (q8), with minima unless all zeros are 128.
// zero - 128 and its product with an f16 scale are exact, and the product of a value too.
void center_bytes(StoredMatrix& m, const std::vector<int>& zeros, bool symmetric) {
  m.dtype = m.format.dtype = DType::q8;
  for (uint8_t& value : m.value_memory) value = static_cast<uint8_t>(value - 128);
  m.format.mins = !symmetric;
  if (symmetric) {
    require(std::all_of(zeros.begin(), zeros.end(), [](int z) { return z == 128; }), m.name,
            ": config.json calls the weights symmetric, and a zero point is not in the middle");
    return;
  }
  m.mins.resize(zeros.size());
  for (size_t i = 0; i < zeros.size(); ++i) m.mins[i] = static_cast<float>(zeros[i] - 128) * m.scales[i];
}

void use_4_bits(StoredMatrix& m, const std::vector<int>& zeros) {
  m.dtype = m.format.dtype = DType::q4;
  m.format.zeros = true;
  m.zeros.assign(zeros.begin(), zeros.end());
}

int64_t group_size_of(const Quantization& q, const StoredMatrix& m, bool whole_groups) {
  const int64_t size = q.group_size == -1 ? m.k : q.group_size;
  require(!whole_groups || m.k % size == 0, m.name, " of ", m.k, " inputs does not fit groups of ", size);
  return size;
}

void read_awq(Binder& binder, const Quantization& q, const std::string& module, StoredMatrix& m) {
  m.format.group_size = group_size_of(q, m, true);
  require(m.n % 8 == 0, m.name, " of ", m.n, " outputs does not fit words of 8 values");
  const int64_t groups = m.groups();
  const Words words{4, true};
  unpack_outputs(binder.need(module + ".qweight", {m.k, m.n / 8}, DType::i32), m.k, m.n, words, m.value_memory);
  std::vector<uint8_t> zeros;
  unpack_outputs(binder.need(module + ".qzeros", {groups, m.n / 8}, DType::i32), groups, m.n, words, zeros);
  read_scales(binder.need_float(module + ".scales", {groups, m.n}), m.n, groups, true, m);
  use_4_bits(m, {zeros.begin(), zeros.end()});
}

void read_gptq(Binder& binder, const Quantization& q, const std::string& module, StoredMatrix& m) {
  m.format.group_size = group_size_of(q, m, false);
  const int64_t groups = m.groups();
  const Words words{q.bits};
  const int per = words.per_word();
  require(m.n % per == 0 && m.k % per == 0, m.name, " of ", m.n, " outputs and ", m.k, " inputs does not fit words of ", per, " values");
  unpack_inputs(binder.need(module + ".qweight", {m.k / per, m.n}, DType::i32), m.k, m.n, words, m.value_memory);
  std::vector<uint8_t> stored;
  unpack_outputs(binder.need(module + ".qzeros", {groups, m.n / per}, DType::i32), groups, m.n, words, stored);
  std::vector<int> zeros(stored.begin(), stored.end());
  for (int& zero : zeros) zero += q.zeros_less_one;
  read_scales(binder.need_float(module + ".scales", {groups, m.n}), m.n, groups, true, m);
  if (q.bits == 4) use_4_bits(m, zeros);
  else center_bytes(m, zeros, q.symmetric);
  if (binder.has(module + ".g_idx")) sort_by_group(binder, binder.need(module + ".g_idx", {m.k}, DType::i32), m);
  else if (q.reordered) binder.fail_missing(module + ".g_idx");
}

// ---- compressed-tensors ----

// Values of rows of words, each row beginning with a word of its own.
void unpack_rows(const StoredTensor& t, int64_t rows, int64_t cols, const Words& words, std::vector<uint8_t>& out) {
  out.resize(static_cast<size_t>(rows * cols));
  const int per = words.per_word();
  const int64_t count = (cols + per - 1) / per;
  parallel_for(static_cast<size_t>(rows), 16, [&](size_t begin, size_t end) {
    for (auto row = static_cast<int64_t>(begin); row < static_cast<int64_t>(end); ++row)
      for (int64_t i = 0; i < cols; ++i)
        out[static_cast<size_t>(row * cols + i)] = words.value(word_at(t, row * count + i / per), static_cast<int>(i % per));
  });
}

// Scales [N, G], or one number for all.
void read_weight_scale(Binder& binder, const Quantization& q, const std::string& name, StoredMatrix& m) {
  if (q.group_rows != -1) return read_scales(binder.need_float(name, {m.n, m.groups()}), m.n, m.groups(), false, m);
  const StoredTensor* scale = binder.find(name);
  if (!scale) binder.fail_missing(name);
  const StoredTensor& t = binder.need_float(name, scale->shape.empty() ? std::vector<int64_t>{} : std::vector<int64_t>{1});
  m.format.scale_dtype = t.dtype == DType::f16 ? DType::f16 : DType::f32;
  m.scales.assign(static_cast<size_t>(m.n), stored_number(t, 0));
}

void read_packed(Binder& binder, const Quantization& q, const std::string& module, StoredMatrix& m) {
  m.format.group_size = group_size_of(q, m, false);
  const int64_t groups = m.groups();
  const Words words{q.bits};
  const int per = words.per_word();
  unpack_rows(binder.need(module + ".weight_packed", {m.n, (m.k + per - 1) / per}, DType::i32), m.n, m.k, words, m.value_memory);
  read_weight_scale(binder, q, module + ".weight_scale", m);
  if (const StoredTensor* shape = binder.find(module + ".weight_shape")) {
    int64_t sizes[2] = {};
    require(shape->dtype == DType::i64 && shape->data.size() == sizeof sizes, m.name, ": weight_shape is not two I64");
    std::memcpy(sizes, shape->data.data(), sizeof sizes);
    require(sizes[0] == m.n && sizes[1] == m.k, m.name, ": weight_shape is [", sizes[0], ", ", sizes[1],
            "], and config.json makes it [", m.n, ", ", m.k, "]");
  }
  std::vector<int> zeros(static_cast<size_t>(m.n * groups), 1 << (q.bits - 1));
  if (!q.symmetric) {
    const StoredTensor& t = binder.need(module + ".weight_zero_point", {(m.n + per - 1) / per, groups}, DType::i32);
    for (int64_t n = 0; n < m.n; ++n)
      for (int64_t g = 0; g < groups; ++g)
        zeros[static_cast<size_t>(n * groups + g)] = words.value(word_at(t, n / per * groups + g), static_cast<int>(n % per));
  }
  if (q.bits == 4) use_4_bits(m, zeros);
  else center_bytes(m, zeros, q.symmetric);
  if (q.reordered) sort_by_group(binder, binder.need(module + ".weight_g_idx", {m.k}, DType::i32), m);
}

void read_int8(Binder& binder, const Quantization& q, const std::string& module, const StoredTensor& weight, StoredMatrix& m) {
  m.dtype = m.format.dtype = DType::q8;
  m.format.group_size = group_size_of(q, m, false);
  m.values = {reinterpret_cast<const uint8_t*>(weight.data.data()), weight.data.size()};
  read_weight_scale(binder, q, module + ".weight_scale", m);
  m.format.mins = !q.symmetric;
  if (q.symmetric) return;
  const StoredTensor& zeros = binder.need(module + ".weight_zero_point", {m.n, m.groups()}, DType::i8);
  m.mins.resize(m.scales.size());
  for (size_t i = 0; i < m.mins.size(); ++i) m.mins[i] = static_cast<float>(static_cast<int8_t>(zeros.data[i])) * m.scales[i];
}

// ---- 8-bit floats ----

void read_f8(Binder& binder, const Quantization& q, const std::string& module, const StoredTensor& weight, StoredMatrix& m) {
  m.dtype = m.format.dtype = DType::f8_e4m3;
  m.format.group_size = group_size_of(q, m, false);
  m.values = {reinterpret_cast<const uint8_t*>(weight.data.data()), weight.data.size()};
  const std::string name = module + (binder.has(module + ".weight_scale_inv") ? ".weight_scale_inv" : ".weight_scale");
  if (q.group_rows <= 1) return read_weight_scale(binder, q, name, m);
  const int64_t groups = m.groups(), blocks = (m.n + q.group_rows - 1) / q.group_rows;
  const StoredTensor& scales = binder.need_float(name, {blocks, groups});
  m.format.scale_dtype = DType::f32;
  m.scales.resize(static_cast<size_t>(m.n * groups));
  for (int64_t n = 0; n < m.n; ++n)
    for (int64_t g = 0; g < groups; ++g)
      m.scales[static_cast<size_t>(n * groups + g)] = stored_number(scales, n / q.group_rows * groups + g);
}

}  // namespace

bool read_quantized(Binder& binder, const Quantization& q, const std::string& name, StoredMatrix& m) {
  if (!name.ends_with(".weight")) return false;
  const std::string module = name.substr(0, name.size() - std::string_view(".weight").size());
  m.format = {};
  m.k_order.clear();
  m.zeros.clear();
  m.mins.clear();
  m.values = {};
  m.int8_activations = q.int8_activations;
  if (q.format == Format::int8 || q.format == Format::f8_e4m3) {
    const DType dtype = q.format == Format::int8 ? DType::i8 : DType::f8_e4m3;
    const StoredTensor* weight = binder.find(name);
    if (!weight || weight->dtype != dtype) return false;
    binder.need(name, {m.n, m.k});
    m.stored = weight->data;
    if (q.format == Format::int8) read_int8(binder, q, module, *weight, m);
    else read_f8(binder, q, module, *weight, m);
  } else {
    const bool packed = q.format == Format::packed;
    const StoredTensor* const weight = binder.find(module + (packed ? ".weight_packed" : ".qweight"));
    if (!weight) return false;
    m.stored = weight->data;
    if (packed) read_packed(binder, q, module, m);
    else if (q.format == Format::awq) read_awq(binder, q, module, m);
    else read_gptq(binder, q, module, m);
    m.values = m.value_memory;
  }
  check_scales(m);
  return true;
}

}  // namespace ds
