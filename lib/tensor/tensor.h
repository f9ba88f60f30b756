// Tensors: views of numbers with a shape on a device, and the arenas that own the numbers.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"

namespace ds {

enum class Device : uint8_t { cpu, cuda };

// How the elements of a weight matrix lie. Packed panels are what the CPU's matrix product reads (ops.h: pack).
enum class Layout : uint8_t { rows, panels };

// A view; it owns nothing. Elements are contiguous except that the rows of a 2-d tensor may lie row_stride apart, so
// that a range of columns is a tensor too. Row-major: the last dimension varies fastest.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Layout layout = Layout::rows;
  int rank = 0;
  std::array<int64_t, 4> shape{};
  int64_t row_stride = 0;            // elements from one row of a 2-d tensor to the next

  // i8 pages of keys and values have `scales` (ops.h: Attention). Else quantized weights only (q4, q8, f8_e4m3; [N, K], or experts [E, N, K]): each output n and group of group_size inputs
  // has a scale, and q4 a zero point or a minimum besides:
  //   w[n, k] = (value - zero) * scale, or value * scale - min (one fused operation), in f32.
  // The arrays lie as quantized.h says; a last group may be shorter. Unused ones are null.
  const void* scales = nullptr;
  DType scale_dtype = DType::f16;    // f16 or f32
  const void* zeros = nullptr;       // u8
  const float* mins = nullptr;
  int group_size = 0;
  const int32_t* k_order = nullptr;  // [K] or [E, K], GPTQ's desc_act: column k of the weight is input k_order[k]; null: in order
  bool int8_activations = false;     // products round each row of x to 8 bits first, with a scale of its own (q4, q8)

  explicit operator bool() const { return data != nullptr; }
  int64_t rows() const { return shape[0]; }
  int64_t cols() const { return shape[rank - 1]; }
  int64_t elements() const;
  bool contiguous() const { return rank != 2 || row_stride == shape[1]; }

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  float* f32() const { return static_cast<float*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
};

// A view of memory that lives elsewhere.
Tensor make_tensor(void* data, DType dtype, std::initializer_list<int64_t> shape, Device device = Device::cpu);

// Views: rows [begin, begin + count); columns [begin, begin + count) of a 2-d tensor; item e of the first dimension
// (of experts [E, N, K], say: [N, K]); the same elements in another shape (contiguous tensors only).
Tensor rows(const Tensor& t, int64_t begin, int64_t count);
Tensor columns(const Tensor& t, int64_t begin, int64_t count);
Tensor item(const Tensor& t, int64_t index);
Tensor reshape(const Tensor& t, std::initializer_list<int64_t> shape);

// "f32[128, 64]", for messages: require(..., describe(t)). The text is made when it is printed, not before.
struct Described {
  const Tensor& tensor;
};
inline Described describe(const Tensor& t) { return {t}; }
std::ostream& operator<<(std::ostream& out, Described d);

// Memory for tensors, aligned to 64 bytes, handed out in order and freed all at once. reset() makes all of it free
// again and keeps the memory for the next round (activations of the next step). Tensors are zeroed.
class Arena {
 public:
  explicit Arena(Device device = Device::cpu);
  ~Arena();
  Arena(Arena&&) noexcept;
  Arena& operator=(Arena&&) noexcept;
  Tensor make(DType dtype, std::initializer_list<int64_t> shape);
  Tensor make_uninitialized(DType dtype, std::initializer_list<int64_t> shape);
  void* allocate(size_t bytes);
  void reset();
  // After reset: the next `bytes` (tensors rounded up to 64 each) lie side by side in one block, and blocks that are smaller are
  // let go. Costs address space only: memory is taken as it is touched.
  void reserve(size_t bytes);
  // rewind(m) makes free again what was handed out since mark() gave m.
  struct Mark {
    size_t block = 0, offset = 0, used = 0;
  };
  Mark mark() const;
  void rewind(const Mark& mark);
  size_t bytes_used() const;
  size_t bytes_reserved() const;
  Device device() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
