// Inside the room: the weights of a checkpoint one by one, whatever file format and quantization they are stored in.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "model/decoder.h"
#include "tensor/quantized.h"

namespace ds {

// A matrix [n, k] as its file has it. f32, f16 and bf16: `data` is its rows, not aligned. q4, q8, f8_e4m3: integers with
// scales (tensor/quantized.h). Views live until the next matrix is read into the same struct.
struct StoredMatrix {
  std::string name;                    // for messages: file and tensor
  int64_t n = 0, k = 0;
  DType dtype = DType::f32;
  const char* data = nullptr;
  QuantizedFormat format;
  std::span<const uint8_t> values;     // in the file, or in value_memory
  std::vector<float> scales, mins;
  std::vector<uint8_t> zeros;
  std::vector<int32_t> k_order;        // column i of the values is input k_order[i]; empty: in order
  bool int8_activations = false;
  std::string_view stored;             // its bytes in the file, without scales

  std::vector<char> memory;            // what `data` points to where it is not in the file
  std::vector<uint8_t> value_memory;

  bool quantized() const { return dtype == DType::q4 || dtype == DType::q8 || dtype == DType::f8_e4m3; }
  int64_t groups() const { return (k + format.group_size - 1) / format.group_size; }
};

// Number i of an array of f32, f16 or bf16 that need not be aligned.
float stored_number(const char* data, DType dtype, int64_t i);
inline float stored_number(const StoredTensor& t, int64_t i) { return stored_number(t.data.data(), t.dtype, i); }

// Rows as f32, in the order of the inputs. On all threads.
void widen_rows(const StoredMatrix& matrix, float* out);
// Error unless every scale and minimum is finite.
void check_scales(const StoredMatrix& matrix);

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual void read_vector(const WeightInfo& info, float* out) = 0;
  // One matrix of a weight [N, K], or the matrix of one expert of [E, N, K].
  virtual void read_matrix(const WeightInfo& info, int64_t expert, StoredMatrix& out) = 0;
  // Error for a weight in the file that nobody asked for.
  virtual void check_left_over() const = 0;
  virtual std::map<std::string, std::string> metadata() const = 0;
};
// A folder of safetensors. A quantized matrix is known by its names and dtypes.
std::unique_ptr<WeightSource> open_safetensors(const std::string& folder, const Config& config);

}  // namespace ds
