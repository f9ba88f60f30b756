#include "run/inspect.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "model/checkpoint.h"

namespace ds {
namespace {

// A file of several parts has the text model's weights under a prefix: they are found as the loader finds them, and the
// rest, which it does not read, is counted.
TEST(Inspect, CountsWhatNoRunReads) {
  const std::string at = (std::filesystem::path(testing::TempDir()) / "inspect_test").string();
  Tiny gemma(tiny_llama(R"(, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "sliding_window": 16, "sliding_window_pattern": 2)"));
  save_model(gemma.config, gemma.weights, at, DType::f32, {});
  const Inspection text = inspect({.model = at});
  EXPECT_EQ(text.ignored_tensors, 0u);
  std::vector<Stored> all = read_all(at);
  for (Stored& t : all)
    if (t.name.starts_with("model.")) t.name = "language_model." + t.name;
  for (const char* name : {"vision_tower.x", "multi_modal_projector.y"}) all.push_back({name, DType::f32, {3}, std::string(12, '\0')});
  write_all(at, all);
  const Inspection whole = inspect({.model = at});
  EXPECT_EQ(whole.refused, std::vector<std::string>{});
  EXPECT_EQ(whole.ignored_tensors, 2u);
  EXPECT_EQ(whole.ignored_bytes, 24u);
  EXPECT_EQ(whole.memory->weights, text.memory->weights);

  // So are layers for multi-token prediction.
  Tiny deepseek(tiny_deepseek());
  save_model(deepseek.config, deepseek.weights, at, DType::f32, {});
  all = read_all(at);
  all.push_back({cat("model.layers.", deepseek.config.num_hidden_layers, ".eh_proj.weight"), DType::f32, {3}, std::string(12, '\0')});
  write_all(at, all);
  write_file(at + "/config.json", tiny_deepseek(R"(, "num_nextn_predict_layers": 1)"));
  EXPECT_EQ(inspect({.model = at}).ignored_bytes, 12u);
  std::filesystem::remove_all(at);
}

}  // namespace
}  // namespace ds
