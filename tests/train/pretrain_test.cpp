#include "train/pretrain.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>
#include <sstream>

#include "base/parallel.h"
#include "base/stop.h"
#include "io/safetensors.h"
#include "train/testing.h"

namespace ds {

using testing_train::Folder;

namespace fs = std::filesystem;

namespace {

// Every file below a folder, without the values of metrics.jsonl that may differ.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::string bytes = read_file(entry.path().string());
    if (entry.path().filename() == "metrics.jsonl") {
      bytes = std::regex_replace(bytes, std::regex("\"(tokens_per_second|seconds_waiting)\": [-0-9.e+]+"), "");
    }
    files[fs::relative(entry.path(), folder).string()] = bytes;
  }
  return files;
}

struct Pretrain : ::testing::Test {
  Folder folder;
  PretrainOptions options;
  void SetUp() override {
    folder.write("config.json", testing_train::kConfig);
    folder.write("data.jsonl", testing_train::counting_records(200, 17, 3));
    options.source.init = folder.path("config.json");
    options.data = {folder.path("data.jsonl")};
    options.sequence_length = 16, options.batch_size = 4, options.micro_batch_size = 2;
    options.steps = 12, options.warmup_steps = 3, options.learning_rate = 0.01;
    options.router_aux_loss = 0.01, options.router_bias_update_rate = 0.001;
    options.checkpoint_every = 5;
  }
  void TearDown() override {
    set_progress_sink({});
    stop_signal = 0;
  }
  void run(const std::string& name, bool resume = false) {
    options.output = folder.path(name);
    options.resume = resume;
    Report report;
    pretrain(options, false, report);
  }
  // Sends the signal's flag when a step is done.
  void stop_after(uint64_t step) {
    set_progress_sink([step](const Progress& p) {
      if (p.label == "train" && p.done == step) stop_signal = 15;
    });
  }
  std::string error_of(const std::string& name, bool resume) {
    try {
      run(name, resume);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

}  // namespace

TEST_F(Pretrain, WritesAModelFolderAndOneLineAStep) {
  options.steps = 60;
  run("out");
  const Model model = load_model(folder.path("out"));
  EXPECT_EQ(model.config.n_routed_experts, 8);
  const Json history = parse_json(model.metadata.at("ds.history"), "history");
  EXPECT_EQ(history.items.at(0).find("options")->find("steps")->as_int(""), 60);
  EXPECT_EQ(model.metadata.at("ds.history").find(folder.path("")), std::string::npos);
  EXPECT_TRUE(fs::exists(folder.path("out/generation_config.json")));
  std::istringstream metrics(read_file(folder.path("out/metrics.jsonl")));
  std::vector<double> losses;
  for (std::string line; std::getline(metrics, line);) {
    const Json json = parse_json(line, "metrics");
    losses.push_back(json.find("loss")->as_double(""));
    EXPECT_EQ(json.find("step")->as_int(""), static_cast<int64_t>(losses.size()));
    EXPECT_EQ(json.find("tokens")->as_int(""), 64);
  }
  ASSERT_EQ(losses.size(), 60u);
  EXPECT_NEAR(losses[0], std::log(48.0), 0.5);
  EXPECT_LT(losses.back(), 1.5);
}

TEST_F(Pretrain, ResumeAfterASignalEndsInTheSameBytes) {
  run("whole");
  for (const uint64_t step : {3, 5, 8, 11}) {
    const std::string name = cat("stopped-", step);
    stop_after(step);
    EXPECT_THROW(run(name), Stopped);
    EXPECT_FALSE(fs::exists(folder.path(name + "/model.safetensors")));
    stop_signal = 0;
    set_progress_sink({});
    run(name, true);
    EXPECT_EQ(contents(folder.path(name)), contents(folder.path("whole"))) << "stopped after step " << step;
  }
}

// Each attention pattern learns, and goes on after a signal to the same bytes.
TEST_F(Pretrain, AttentionPatternsLearnAndResume) {
  folder.write("data.jsonl", testing_train::counting_records(60, 81, 3));
  options.sequence_length = 80, options.batch_size = 4, options.micro_batch_size = 0, options.learning_rate = 0.01;
  options.router_aux_loss = 0, options.router_bias_update_rate = 0;
  for (const char* keys : {R"("attention_pattern": "block_sparse", "attention_local_blocks": 1, "attention_score_norm": true, "attention_position_buckets": 8)",
                           R"("attention_pattern": "local_global", "attention_window": 9)",
                           R"("attention_pattern": "learned", "attention_local_blocks": 1, "attention_global_blocks": 1)",
                           R"("attention_pattern": "pooled", "attention_window": 20)",
                           R"("attention_pattern": "compressed", "attention_local_blocks": 1)",
                           R"("attention_pattern": "lsh", "attention_lsh_buckets": 8, "attention_lsh_keys": 16)"}) {
    folder.write("config.json", cat(R"({"architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "llama",
        "vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.1, )", keys, "}"));
    for (const char* name : {"whole", "stopped"}) fs::remove_all(folder.path(name));
    options.steps = 40;
    run("whole");
    std::istringstream metrics(read_file(folder.path("whole/metrics.jsonl")));
    std::vector<double> losses;
    for (std::string line; std::getline(metrics, line);) losses.push_back(parse_json(line, "metrics").find("loss")->as_double(""));
    EXPECT_LT(losses.back(), 0.6 * losses.front()) << keys;
    stop_after(7);
    EXPECT_THROW(run("stopped"), Stopped);
    stop_signal = 0;
    set_progress_sink({});
    run("stopped", true);
    EXPECT_EQ(contents(folder.path("stopped")), contents(folder.path("whole"))) << keys;
  }
}

// What a kill leaves: metrics ahead of the checkpoint, a temporary checkpoint, no model.
TEST_F(Pretrain, ResumeAfterAKillEndsInTheSameBytes) {
  run("whole");
  run("killed");
  fs::remove(folder.path("killed/model.safetensors"));
  fs::remove_all(folder.path("killed/checkpoints/step-10"));
  fs::create_directories(folder.path("killed/checkpoints/.tmp-step-10"));
  run("killed", true);
  EXPECT_EQ(contents(folder.path("killed")), contents(folder.path("whole")));
}

TEST_F(Pretrain, ResumeOfNothingStartsAfreshAndOfAFinishedRunChangesNothing) {
  run("a");
  run("b", true);
  EXPECT_EQ(contents(folder.path("a")), contents(folder.path("b")));
  const auto time = fs::last_write_time(folder.path("b/model.safetensors"));
  run("b", true);
  EXPECT_EQ(fs::last_write_time(folder.path("b/model.safetensors")), time);
  run("b");  // without --resume: afresh, over the old one
  EXPECT_EQ(contents(folder.path("a")), contents(folder.path("b")));
}

TEST_F(Pretrain, ResumeWithOtherOptionsOrDataIsRefused) {
  run("out");
  options.learning_rate = 0.02;
  EXPECT_NE(error_of("out", true).find("--learning-rate (0.01 there, 0.02 here)"), std::string::npos);
  options.learning_rate = 0.01;
  folder.write("data.jsonl", testing_train::counting_records(201, 17, 3));
  EXPECT_NE(error_of("out", true).find("the data"), std::string::npos);
}

TEST_F(Pretrain, SameBytesForAnyNumberOfThreads) {
  const size_t before = threads();
  set_threads(1);
  run("one");
  set_threads(3);
  run("three");
  set_threads(before);
  EXPECT_EQ(contents(folder.path("one")), contents(folder.path("three")));
}

// In the last step of a linear schedule the rate is a tenth of its peak, and so is the bias's step.
TEST_F(Pretrain, RouterBiasDecaysWithTheLearningRate) {
  options.schedule = "linear", options.steps = 10, options.warmup_steps = 0, options.checkpoint_every = 9;
  options.router_bias_update_rate = 0.25;
  for (const bool decay : {false, true}) {
    options.router_bias_decay = decay;
    const std::string name = decay ? "decayed" : "constant";
    run(name);
    const Model before = load_model(folder.path(name + "/checkpoints/step-9")), after = load_model(folder.path(name));
    float moved = 0;
    for (int e = 0; e < 8; ++e) {
      moved = std::max(moved, std::abs(after.weights.layers[1].router_bias.f32()[e] - before.weights.layers[1].router_bias.f32()[e]));
    }
    EXPECT_NEAR(moved, decay ? 0.025 : 0.25, 1e-6);
  }
}

TEST_F(Pretrain, GoesOnFromAModelAndKeepsItsHistory) {
  run("first");
  options.source.init.clear();
  options.source.model = folder.path("first");
  options.dtype = "bf16";
  options.steps = 4;
  run("second");
  const Model model = load_model(folder.path("second"));
  const Json history = parse_json(model.metadata.at("ds.history"), "history");
  ASSERT_EQ(history.items.size(), 2u);
  EXPECT_EQ(history.items[1].find("options")->find("dtype")->text, "bf16");
  const SafetensorsFile file(folder.path("second/model.safetensors"));
  EXPECT_EQ(file.find("model.embed_tokens.weight")->dtype, DType::bf16);
  EXPECT_EQ(file.find("model.layers.1.mlp.gate.e_score_correction_bias")->dtype, DType::f32);
}

TEST_F(Pretrain, ShuffleIsBySeedAndNoShuffleKeepsTheOrder) {
  const auto first_loss = [&](const std::string& name) {
    return parse_json(read_file(folder.path(name + "/metrics.jsonl")).substr(0, read_file(folder.path(name + "/metrics.jsonl")).find('\n')), name)
        .find("loss")->as_double("");
  };
  options.steps = 1;
  options.no_shuffle = true;
  run("plain");
  // The first four records alone are the first batch.
  const std::string all = read_file(folder.path("data.jsonl"));
  size_t end = 0;
  for (int line = 0; line < 4; ++line) end = all.find('\n', end) + 1;
  folder.write("four.jsonl", all.substr(0, end));
  options.data = {folder.path("four.jsonl")};
  run("four");
  EXPECT_EQ(first_loss("plain"), first_loss("four"));
}

TEST_F(Pretrain, UsageIsChecked) {
  const auto refused = [&](auto change) {
    const PretrainOptions before = options;
    change();
    EXPECT_THROW(run("never"), UsageError);
    options = before;
  };
  refused([&] { options.steps = 0; });
  refused([&] { options.batch_size = 0; });
  refused([&] { options.micro_batch_size = 5; });
  refused([&] { options.schedule = "cos"; });
  refused([&] { options.dtype = "i8"; });
  refused([&] { options.beta1 = 1; });
  refused([&] { options.source.model = "too"; });
  refused([&] { options.data.clear(); });
  refused([&] { options.sequence_length = 65; });
  EXPECT_FALSE(fs::exists(folder.path("never")));
}

// In every format, and by every optimizer, a run that was stopped goes on to the same bytes.
TEST_F(Pretrain, ResumesInEveryFormatAndByEveryOptimizer) {
  for (const char* dtype : {"f32", "bf16", "f16"}) {
    for (const char* optimizer : {"adamw8", "muon"}) {
      options.dtype = dtype, options.optimizer = optimizer;
      const std::string name = cat(dtype, optimizer);
      run(name);
      stop_after(7);
      EXPECT_THROW(run(name + "-stopped"), Stopped);
      stop_signal = 0;
      set_progress_sink({});
      run(name + "-stopped", true);
      EXPECT_TRUE(contents(folder.path(name)) == contents(folder.path(name + "-stopped"))) << name;
    }
  }
}

TEST_F(Pretrain, EvaluatesBeforeTheSteps) {
  folder.write("held.jsonl", testing_train::counting_records(9, 17, 99));
  run("plain");
  options.eval_data = {folder.path("held.jsonl")};
  options.eval_every = 5;
  run("out");
  const std::string metrics = read_file(folder.path("out/metrics.jsonl"));
  std::vector<double> losses;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);)
    if (const Json json = parse_json(line, "line"); json.find("eval_loss")) {
      losses.push_back(json.find("eval_loss")->as_double(""));
      EXPECT_EQ((json.find("step")->as_int("") - 1) % 5, 0);
    }
  ASSERT_EQ(losses.size(), 3u);
  EXPECT_NEAR(losses[0], std::log(48), 0.3);
  EXPECT_LT(losses[2], losses[0]);
  // Looking changes nothing.
  EXPECT_EQ(read_file(folder.path("out/model.safetensors")), read_file(folder.path("plain/model.safetensors")));
}

// A weight that is not finite from the start: the run ends, with a message to find the cause by.
TEST_F(Pretrain, TroubleIsNamed) {
  run("start");
  Model model = load_model(folder.path("start"));
  model.weights.layers[1].o_proj.f32()[0] = INFINITY;
  save_model(model.config, model.weights, folder.path("broken"), DType::f32, {});
  options.source.init.clear();
  options.source.model = folder.path("broken");
  const std::string error = error_of("out", false);
  EXPECT_NE(error.find("step 1: the loss is nan"), std::string::npos) << error;
  EXPECT_NE(error.find("the output of layer 1"), std::string::npos) << error;
  EXPECT_NE(error.find("data.jsonl:"), std::string::npos) << error;
}

// Records that make a spike: skipped, or rolled back over, the run ends; killed on the way, it ends in the same bytes.
TEST_F(Pretrain, SpikesAreSkippedOrRolledBackOver) {
  std::string strange;
  for (int d = 0; d < 4; ++d) {
    strange += "{\"tokens\": [";
    for (int i = 0; i < 17; ++i) strange += (i ? ", " : "") + std::to_string((d * 7 + i * i * 5) % 48);
    strange += "]}\n";
  }
  folder.write("spike.jsonl", testing_train::counting_records(4 * 62, 17, 3) + strange + testing_train::counting_records(4 * 20, 17, 5));
  options.data = {folder.path("spike.jsonl")};
  options.no_shuffle = true;
  options.steps = 75, options.checkpoint_every = 10, options.learning_rate = 0.02, options.schedule = "constant";
  EXPECT_NE(error_of("stopped", false).find("step 63"), std::string::npos);
  options.on_spike = "skip";
  run("skipped");
  EXPECT_NE(read_file(folder.path("skipped/metrics.jsonl")).find("\"skipped\": true"), std::string::npos);
  options.on_spike = "rollback";
  run("whole");
  EXPECT_EQ(read_file(folder.path("whole/metrics.jsonl")).find("\"skipped\": true"), std::string::npos);
  for (const uint64_t step : {61u, 66u}) {
    const std::string name = cat("stopped-", step);
    stop_after(step);
    EXPECT_THROW(run(name), Stopped);
    stop_signal = 0;
    set_progress_sink({});
    run(name, true);
    EXPECT_TRUE(contents(folder.path("whole")) == contents(folder.path(name))) << step;
  }
}

// What a router learns from its load, and an adaptive one's temperature, are of the checkpoint like weights.
TEST_F(Pretrain, RoutersOfOursResumeToTheSameBytes) {
  const char* const keys[] = {R"("router_type": "adaptive")", R"("router_type": "three_layer", "n_group": 3, "topk_group": 2)",
                              R"("router_type": "entropy_fallback", "router_entropy_threshold": 0.97, "router_expert_attention": true)"};
  options.router_bias_update_rate = 0, options.router_z_loss = 0.001;
  for (const char* const kind : keys) {
    folder.write("config.json", cat(R"({"architectures": ["DsForCausalLM"], "model_type": "ds", "base_model_type": "qwen3_moe",
      "vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
      "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "max_position_embeddings": 64, "initializer_range": 0.1, )",
                                    kind, "}"));
    const std::string name = std::string(kind).substr(16, 5);
    run(name + "whole");
    stop_after(7);
    EXPECT_THROW(run(name + "parts"), Stopped);
    set_progress_sink({});
    stop_signal = 0;
    run(name + "parts", true);
    EXPECT_EQ(contents(folder.path(name + "whole")), contents(folder.path(name + "parts"))) << kind;
    const Config config = load_config(folder.path(name + "whole"));
    EXPECT_EQ(config.router.temperature, config.router.kind == RouterSpec::Kind::adaptive ? 0.5f : 1.0f);
  }
  options.router_temperature = "2:0.5";
  EXPECT_THROW(run("refused"), UsageError);  // of the last kind, which has none
}

}  // namespace ds
