#include "tensor/tensor.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/sizes.h"
#include "tensor/cpu/gemm.h"
#include "tensor/device.h"

namespace ds {

int64_t Tensor::elements() const {
  int64_t product = rank == 0 ? 0 : 1;
  for (int i = 0; i < rank; ++i) product *= shape[i];
  return product;
}

Tensor make_tensor(void* data, DType dtype, std::initializer_list<int64_t> shape, Device device) {
  require(shape.size() >= 1 && shape.size() <= 4, "a tensor has 1 to 4 dimensions, not ", shape.size());
  Tensor t;
  t.data = data;
  t.dtype = dtype;
  t.device = device;
  for (const int64_t dim : shape) t.shape[t.rank++] = dim;
  checked_elements({t.shape.data(), static_cast<size_t>(t.rank)}, "a tensor");
  t.row_stride = t.rank == 2 ? t.shape[1] : 0;
  return t;
}

static void* advance(const Tensor& t, int64_t elements) {
  return static_cast<char*>(t.data) + elements * dtype_bits(t.dtype) / 8;
}

Tensor rows(const Tensor& t, int64_t begin, int64_t count) {
  require(t.rank >= 1 && begin >= 0 && count >= 0 && begin + count <= t.shape[0], "rows ", begin, " to ", begin + count,
          " are not in ", describe(t));
  require(t.layout == Layout::rows, "a packed weight has no range of rows: ", describe(t));
  Tensor view = t;
  const int64_t stride = t.rank == 2 ? t.row_stride : (t.shape[0] ? t.elements() / t.shape[0] : 0);
  view.data = advance(t, begin * stride);
  view.shape[0] = count;
  return view;
}

Tensor columns(const Tensor& t, int64_t begin, int64_t count) {
  require(t.rank == 2 && begin >= 0 && count >= 0 && begin + count <= t.shape[1], "columns ", begin, " to ", begin + count,
          " are not in ", describe(t));
  Tensor view = t;
  view.data = advance(t, begin);
  view.shape[1] = count;
  return view;
}

Tensor item(const Tensor& t, int64_t index) {
  require(t.rank >= 2 && index >= 0 && index < t.shape[0], "item ", index, " is not in ", describe(t));
  Tensor view = t;
  int64_t stride = t.rank == 2 ? t.row_stride : t.elements() / t.shape[0];
  if (t.layout == Layout::panels) {
    require(t.rank == 3, "item of a packed weight takes [E, N, K], not ", describe(t));
    stride = cpu::panel_rows(t.shape[1]) * cpu::panel_steps(t.dtype, t.shape[2]);
  }
  view.data = advance(t, index * stride);
  if (t.scales) {  // each expert has its own
    const int64_t first = index * cpu::panel_rows(t.shape[1]) * cpu::groups_of(t);
    view.scales = static_cast<const char*>(t.scales) + first * dtype_bits(t.scale_dtype) / 8;
    if (t.zeros) view.zeros = static_cast<const uint8_t*>(t.zeros) + first;
    if (t.mins) view.mins = t.mins + first;
  }
  if (t.k_order) view.k_order = t.k_order + index * t.cols();
  view.rank = t.rank - 1;
  for (int i = 0; i < view.rank; ++i) view.shape[i] = t.shape[i + 1];
  view.shape[view.rank] = 0;
  view.row_stride = view.rank == 2 ? view.shape[1] : 0;
  return view;
}

Tensor reshape(const Tensor& t, std::initializer_list<int64_t> shape) {
  require(t.layout == Layout::rows, "a packed weight cannot be reshaped: ", describe(t));
  require(t.contiguous(), "only a contiguous tensor can be reshaped, not ", describe(t), " with a row stride of ", t.row_stride);
  Tensor view = make_tensor(t.data, t.dtype, shape, t.device);
  require(view.elements() == t.elements(), describe(t), " cannot be reshaped to ", describe(view));
  return view;
}

std::ostream& operator<<(std::ostream& out, Described d) {
  out << dtype_name(d.tensor.dtype) << '[';
  for (int i = 0; i < d.tensor.rank; ++i) out << (i ? ", " : "") << d.tensor.shape[i];
  return out << ']';
}

struct Arena::Impl {
  struct Block {
    char* data;
    size_t size;
  };
  Device device;
  std::vector<Block> blocks;
  size_t block = 0, offset = 0, used = 0;  // where the next tensor goes
};

constexpr size_t kAlign = 64, kMinBlock = size_t{1} << 20;

Arena::Arena(Device device) : impl_(new Impl{device, {}}) {}
Arena::~Arena() {
  if (impl_)
    for (const auto& block : impl_->blocks) device_free(impl_->device, block.data);
}
Arena::Arena(Arena&&) noexcept = default;
Arena& Arena::operator=(Arena&&) noexcept = default;

void* Arena::allocate(size_t bytes) {
  bytes = round_up(std::max<size_t>(bytes, 1), kAlign);
  auto& m = *impl_;
  while (m.block < m.blocks.size() && m.blocks[m.block].size - m.offset < bytes) ++m.block, m.offset = 0;
  if (m.block == m.blocks.size()) {
    const size_t size = std::max(bytes, std::max(kMinBlock, m.blocks.empty() ? 0 : 2 * m.blocks.back().size));
    const size_t exact = bytes > (size_t{64} << 20) ? bytes : size;
    m.blocks.push_back({static_cast<char*>(device_allocate(m.device, exact)), exact});
    m.offset = 0;
  }
  void* const at = m.blocks[m.block].data + m.offset;
  m.offset += bytes;
  m.used += bytes;
  return at;
}

Tensor Arena::make_uninitialized(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor t = make_tensor(nullptr, dtype, shape, impl_->device);
  const size_t bits = checked_mul(static_cast<size_t>(t.elements()), dtype_bits(dtype), "a tensor");
  t.data = allocate((bits + 7) / 8);
  return t;
}

Tensor Arena::make(DType dtype, std::initializer_list<int64_t> shape) {
  const Tensor t = make_uninitialized(dtype, shape);
  device_zero(impl_->device, t.data, (static_cast<size_t>(t.elements()) * dtype_bits(dtype) + 7) / 8);
  return t;
}

void Arena::reserve(size_t bytes) {
  Impl& m = *impl_;
  require(m.used == 0, "memory is reserved in an arena that is in use");
  if (m.blocks.size() == 1 && m.blocks[0].size >= bytes) return;
  // A quarter more than before at least, so that what grows step by step moves seldom.
  const size_t size = std::max(std::max(bytes, kMinBlock), bytes_reserved() / 4 * 5);
  for (const Impl::Block& block : std::exchange(m.blocks, {})) device_free(m.device, block.data);
  m.blocks.push_back({static_cast<char*>(device_allocate(m.device, size)), size});
}

void Arena::reset() { impl_->block = impl_->offset = impl_->used = 0; }
Arena::Mark Arena::mark() const { return {impl_->block, impl_->offset, impl_->used}; }
void Arena::rewind(const Mark& mark) { impl_->block = mark.block, impl_->offset = mark.offset, impl_->used = mark.used; }
size_t Arena::bytes_used() const { return impl_->used; }
size_t Arena::bytes_reserved() const {
  size_t total = 0;
  for (const auto& block : impl_->blocks) total += block.size;
  return total;
}
Device Arena::device() const { return impl_->device; }

}  // namespace ds
