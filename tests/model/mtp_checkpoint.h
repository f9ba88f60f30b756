// Checkpoints with a head for multi-token prediction, which tests write.
#pragma once
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/decoder.h"

namespace ds {

inline MtpWeights make_head(const Config& config, Arena& arena) {
  MtpWeights head;
  for_each_weight(config, head, [&](const WeightInfo& info, Tensor& t) {
    const std::vector<int64_t>& s = info.shape;
    t = s.size() == 1 ? arena.make(DType::f32, {s[0]}) : s.size() == 2 ? arena.make(DType::f32, {s[0], s[1]}) : arena.make(DType::f32, {s[0], s[1], s[2]});
  });
  return head;
}

// The model and its head, all in f32, with the head's copies of embedding and lm_head as published files have them.
inline void save_with_head(const Config& config, Weights& weights, MtpWeights& head, const std::string& folder) {
  save_model(config, weights, folder, DType::f32, {});
  std::vector<TensorToWrite> all;
  const auto bytes = [](const Tensor& t) { return std::string(t.as<char>(), static_cast<size_t>(t.elements()) * sizeof(float)); };
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, std::string content) {
    all.push_back({name, DType::f32, std::move(shape), [content = std::move(content)]() -> std::string_view { return content; }});
  };
  const SafetensorsFile model(folder + "/model.safetensors");
  for (const StoredTensor& t : model.tensors()) all.push_back({t.name, t.dtype, t.shape, [bytes = std::string(t.data)]() -> std::string_view { return bytes; }});
  for_each_weight(config, head, [&](const WeightInfo& info, Tensor& t) {
    if (info.shape.size() < 3) return add(info.name, info.shape, bytes(t));
    for (int64_t e = 0; e < info.shape[0]; ++e) add(expert_name(info, e), {info.shape[1], info.shape[2]}, bytes(item(t, e)));
  });
  const std::string prefix = "model.layers." + std::to_string(config.num_hidden_layers) + ".";
  add(prefix + "embed_tokens.weight", {config.vocab_size, config.hidden_size}, bytes(weights.embed_tokens));
  add(prefix + "shared_head.head.weight", {config.vocab_size, config.hidden_size}, bytes(weights.lm_head));
  write_safetensors(folder + "/model.safetensors", all, {});
  std::ofstream(folder + "/config.json") << config_json(config, DType::f32);
}

}  // namespace ds
