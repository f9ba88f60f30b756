#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>

#include "train/metrics.h"
#include "train/testing.h"

namespace ds {

using testing_train::Folder;
using testing_train::tiny_model;

namespace fs = std::filesystem;

TEST(Checkpoint, RestoresEveryBit) {
  const Folder folder;
  TrainState state = make_state(tiny_model(1));
  const Rng rng{1, 2};
  uint64_t at = 0;
  for (const Parameter& p : state.parameters) {
    for (int64_t k = 0; k < p.m.elements(); ++k) {
      p.m.f32()[k] = static_cast<float>(1e-3 * rng.normal(at++));
      p.v.f32()[k] = static_cast<float>(1e-9 * rng.uniform(at++));
    }
  }
  state.model.weights.layers[1].router_bias.f32()[3] = 0.125f;
  state.step = 7, state.tokens = 12345, state.data = R"({"step": 7})";
  save_checkpoint(folder.path("checkpoints"), state, {{"ds.history", "[1]"}});
  const std::string newest = newest_checkpoint(folder.path("checkpoints"));
  EXPECT_EQ(newest, folder.path("checkpoints") + "/step-7");

  TrainState back = load_checkpoint(newest, {});
  EXPECT_EQ(back.step, 7);
  EXPECT_EQ(back.tokens, 12345u);
  EXPECT_EQ(back.data, R"({"step": 7})");
  EXPECT_EQ(back.model.metadata.at("ds.history"), "[1]");
  EXPECT_EQ(back.model.weights.layers[1].router_bias.f32()[3], 0.125f);
  ASSERT_EQ(back.parameters.size(), state.parameters.size());
  for (size_t i = 0; i < state.parameters.size(); ++i) {
    const Parameter &a = state.parameters[i], &b = back.parameters[i];
    const size_t bytes = static_cast<size_t>(a.weight.elements()) * sizeof(float);
    EXPECT_EQ(std::memcmp(a.weight.data, b.weight.data, bytes), 0) << a.name;
    EXPECT_EQ(std::memcmp(a.m.data, b.m.data, bytes), 0) << a.name;
    EXPECT_EQ(std::memcmp(a.v.data, b.v.data, bytes), 0) << a.name;
  }
}

TEST(Checkpoint, NewestCompleteOneWinsAndLeftoversGo) {
  const Folder folder;
  const std::string checkpoints = folder.path("checkpoints");
  EXPECT_EQ(newest_checkpoint(checkpoints), "");
  TrainState state = make_state(tiny_model(1));
  for (const int64_t step : {9, 10, 20, 30, 35}) {
    state.step = step;
    save_checkpoint(checkpoints, state, {});
  }
  fs::create_directories(checkpoints + "/.tmp-step-40");
  fs::create_directories(checkpoints + "/step-50");  // no trainer_state.json in it: not a checkpoint
  fs::create_directories(checkpoints + "/step-x");
  EXPECT_EQ(newest_checkpoint(checkpoints), checkpoints + "/step-35");
  prune_checkpoints(checkpoints, 2, 10);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(checkpoints)) left.push_back(entry.path().filename().string());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{"step-20", "step-30", "step-50", "step-x"}));
  prune_checkpoints(checkpoints, 0, 0);
  EXPECT_EQ(newest_checkpoint(checkpoints), "");
}

TEST(Checkpoint, DamageIsAnError) {
  const Folder folder;
  TrainState state = make_state(tiny_model(1));
  state.step = 1;
  save_checkpoint(folder.path("c"), state, {});
  const std::string checkpoint = newest_checkpoint(folder.path("c"));
  fs::resize_file(checkpoint + "/optimizer.safetensors", 1000);
  EXPECT_THROW(load_checkpoint(checkpoint, {}), Error);
}

TEST(Metrics, CutsBackToTheCheckpointsStep) {
  const Folder folder;
  const std::string path = folder.path("metrics.jsonl");
  {
    MetricsFile file(path, 0);
    for (const char* line : {"one", "two", "three"}) file.append(line);
  }
  {
    MetricsFile file(path, 2);
    file.append("drei");
    file.sync();
  }
  EXPECT_EQ(read_file(path), "one\ntwo\ndrei\n");
  EXPECT_THROW(MetricsFile(path, 4), Error);
  MetricsFile fresh(path, 0);
  EXPECT_EQ(fs::file_size(path), 0u);
}

TEST(Metrics, LineHasEveryField) {
  StepResult result;
  result.loss = 3.25125775, result.gradient_norm = 0.5, result.tokens = 64, result.expert_load = {{3, 1, 0, 4}, {2, 2, 2, 2}};
  const Json line = parse_json(metrics_line(9, result, 1e-3, 1000, 0.5), "line");
  EXPECT_EQ(line.find("step")->as_int(""), 9);
  EXPECT_EQ(line.find("loss")->text, "3.25125775");
  EXPECT_EQ(line.find("tokens")->as_int(""), 64);
  EXPECT_EQ(line.find("learning_rate")->as_double(""), 1e-3);
  EXPECT_EQ(line.find("gradient_norm")->as_double(""), 0.5);
  EXPECT_EQ(line.find("tokens_per_second")->as_double(""), 1000);
  EXPECT_EQ(line.find("expert_load")->items.at(0).items.at(3).as_int(""), 4);
  EXPECT_EQ(line.find("expert_load_max_mean")->as_double(""), 2);
}

}  // namespace ds
