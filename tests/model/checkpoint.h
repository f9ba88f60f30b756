// Checkpoints that tests write, read back and spoil.
#pragma once
#include "io/output.h"
#include "io/safetensors.h"
#include "model/fixture.h"

namespace ds {

struct Tiny {
  Config config;
  Arena arena;
  Weights weights;
  explicit Tiny(const std::string& json) : config(tiny(json)), weights(make_weights(config, arena)) { initialize(config, weights, 5); }
};

inline std::vector<float> logits_of(const Config& config, const Weights& weights) {
  TokenBatch batch;
  append(batch, 0, 0, tokens_of(40, 1, config.vocab_size));
  KvCache cache(config, 1, 64);
  Activations acts;
  return run_batch(config, weights, batch, cache, acts).logits;
}

inline void same_weights(const Config& config, Weights& a, Weights& b) {
  std::vector<std::pair<std::string, Tensor>> left;
  for_each_weight(config, a, [&](const WeightInfo& info, Tensor& t) { left.emplace_back(info.name, t); });
  size_t i = 0;
  for_each_weight(config, b, [&](const WeightInfo& info, Tensor& t) {
    ASSERT_EQ(t.elements(), left[i].second.elements());
    EXPECT_EQ(std::memcmp(t.data, left[i].second.data, static_cast<size_t>(t.elements()) * 4), 0) << info.name;
    ++i;
  });
}

struct Stored {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
inline std::vector<Stored> read_all(const std::string& folder) {
  std::vector<Stored> all;
  const SafetensorsFile file(folder + "/model.safetensors");
  for (const StoredTensor& t : file.tensors())
    all.push_back({t.name, t.dtype, t.shape, std::string(t.data)});
  return all;
}
inline void write_all(const std::string& folder, const std::vector<Stored>& all) {
  std::vector<TensorToWrite> out;
  for (const Stored& t : all) out.push_back({t.name, t.dtype, t.shape, [&t]() -> std::string_view { return t.bytes; }});
  write_safetensors(folder + "/model.safetensors", out, {});
}
inline std::string load_error(const std::string& folder) {
  try {
    load_model(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace ds
