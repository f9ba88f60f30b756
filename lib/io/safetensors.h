// safetensors, the file format of weights: u64 header size, a JSON header, raw little-endian data.
// https://github.com/huggingface/safetensors (format description in its README)
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "io/input.h"

namespace ds {

// A tensor in a file. `data` points into the mapping and lives as long as the SafetensorsFile.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::string_view data;
};

// One mapped file, its header checked: sizes, offsets inside the file and without overlap or hole, known dtypes,
// no duplicate names. A malformed file is an Error, never a read out of bounds.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const StoredTensor* find(std::string_view name) const;

 private:
  MappedFile file_;
  std::vector<StoredTensor> tensors_;  // in the file's order of offsets
  std::map<std::string, std::string> metadata_;
  std::map<std::string, size_t, std::less<>> index_;
};

// All tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json lists.
class SafetensorsFolder {
 public:
  explicit SafetensorsFolder(const std::string& folder);
  const StoredTensor* find(std::string_view name) const;
  std::vector<std::string> names() const;               // sorted
  std::map<std::string, std::string> metadata() const;  // of the first file

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
};

// Checks a header against the bytes of a file: the parser behind SafetensorsFile, for tests and fuzzing.
void parse_safetensors(std::string_view bytes, std::string_view where, std::vector<StoredTensor>& tensors,
                       std::map<std::string, std::string>& metadata);

// The same for model.safetensors.index.json: the names of its tensors, each with the file that has it.
std::vector<std::pair<std::string, std::string>> parse_safetensors_index(std::string_view json, std::string_view where);

// Writes a file atomically, tensor by tensor, in the order given: names, dtypes and shapes make the header, then the
// data are asked for one tensor at a time (memory stays at one tensor). The header is padded with spaces so that the
// data begin at a multiple of 64; `{"format": "pt"}` and `metadata` go into __metadata__.
struct TensorToWrite {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::function<std::string_view()> data;  // the view must live until the next tensor is asked for
};
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata, bool durable = false);

// "F32" <-> DType::f32 and so on; an unknown name is an Error.
DType safetensors_dtype(std::string_view name);
std::string_view safetensors_dtype_name(DType type);

}  // namespace ds
