// Inside the room: the tensors of a model folder, found by name, dtype and shape.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/config.h"

namespace ds {

struct Architecture;
struct StoredPlace;

std::string shape_text(const std::vector<int64_t>& shape);              // "[2, 3]"
// Up to three of `names` that are spelled most like `name`, for messages: "a, b, c", or "none".
std::string near_names(const std::string& name, const std::vector<std::string>& names);

// The name that for_each_weight has for a weight that a file calls `stored`, or where the architecture has a table of its
// own tensors, the one there with its root. `bare`: the file leaves "model." (the root) out.
std::string our_name(const Architecture& row, const std::string& stored, bool bare);
std::string our_name(const Config& config, const std::string& stored, bool bare);
// The embedding's name in a file that leaves the root out: where there is such a tensor, it does.
std::string bare_embedding(const Config& config);
// Where a file has a weight, by the names of our_name.
StoredPlace stored_place(const Config& config, const std::string& name);
// Whether a weight of a file, by its stored name, is of another part than the text model: of images, or of layers for
// multi-token prediction, or is none (a mask). These are not read.
bool is_ignored(const Config& config, const std::string& stored);

// Names are those of our_name ("model.layers.0..."). Files that begin them otherwise (an architecture's prefixes),
// or leave "model." out, as those of an embedding model do, are found too. Remembers what was asked for.
class Binder {
 public:
  Binder(const std::string& folder, const Config& config);

  const StoredTensor* find(const std::string& name);                    // null: absent; else it counts as asked for
  bool has(const std::string& name) const;
  // An absent tensor, another shape or dtype is an Error. need_float: f32, f16 or bf16.
  const StoredTensor& need(const std::string& name, const std::vector<int64_t>& shape);
  const StoredTensor& need(const std::string& name, const std::vector<int64_t>& shape, DType dtype);
  const StoredTensor& need_float(const std::string& name, const std::vector<int64_t>& shape);
  [[noreturn]] void fail_missing(const std::string& name) const;
  // Error for a weight that nobody asked for.
  void check_left_over() const;

  const std::string& folder() const { return folder_; }
  std::map<std::string, std::string> metadata() const { return file_.metadata(); }

 private:
  bool may_be_left_over(const std::string& name, const StoredTensor& t, size_t& skipped) const;

  const Config& config_;
  std::string folder_;
  SafetensorsFolder file_;
  std::map<std::string, const StoredTensor*> tensors_;  // by our names
  std::set<std::string> used_;
};

}  // namespace ds
