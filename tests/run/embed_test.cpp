#include "run/embed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "run/fixtures.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
 protected:
  fs::path path = fs::path(testing::TempDir()) / "embed_test";
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path / "1_Pooling");
  }
  ~Folder() override { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) { std::ofstream(path / name) << text; }
};
using ReadPooling = Folder;

TEST_F(ReadPooling, IsTheMeanWhereTheFolderSaysNothing) {
  const Pooling pooling = read_pooling(path);
  EXPECT_EQ(pooling.kind, Pooling::Kind::mean);
  EXPECT_FALSE(pooling.normalize);
  EXPECT_EQ(pooling.max_length, 0);
}

// The files of all-MiniLM-L6-v2, shortened.
TEST_F(ReadPooling, FollowsSentenceTransformers) {
  write("modules.json", R"([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])");
  write("1_Pooling/config.json", R"({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
    "pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": false, "pooling_mode_lasttoken": true})");
  write("sentence_bert_config.json", R"({"max_seq_length": 256, "do_lower_case": false})");
  const Pooling pooling = read_pooling(path);
  EXPECT_EQ(pooling.kind, Pooling::Kind::last);
  EXPECT_TRUE(pooling.normalize);
  EXPECT_EQ(pooling.max_length, 256);
}

TEST_F(ReadPooling, NamesWhatIsNotSupported) {
  write("modules.json", R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  try {
    read_pooling(path);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("models.Dense"), std::string::npos) << e.what();
  }
  write("modules.json", R"([{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  write("1_Pooling/config.json", R"({"pooling_mode_max_tokens": true})");
  EXPECT_THROW(read_pooling(path), Error);
  write("1_Pooling/config.json", R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})");
  EXPECT_THROW(read_pooling(path), Error);
}

TEST(Embed, PoolsTheFinalStates) {
  NEEDS_FIXTURE("llama");
  Engine engine(fixture("llama"));
  const std::vector<std::vector<int32_t>> texts = {{5, 6, 7, 8, 9, 10, 11}, {12, 13}, {5}};
  const auto hidden = static_cast<size_t>(engine.model.config.hidden_size);
  // One text in one pass: all of its states.
  std::vector<std::vector<double>> mean;
  std::vector<std::vector<float>> first, last;
  for (const auto& text : texts) {
    const std::vector<std::span<const int32_t>> one = {text};
    run_sequences(engine, one, {}, [&](std::span<const Piece>) {
      const float* const states = engine.activations.final_normed.f32();
      mean.emplace_back(hidden);
      for (size_t t = 0; t < text.size(); ++t)
        for (size_t i = 0; i < hidden; ++i) mean.back()[i] += states[t * hidden + i] / static_cast<double>(text.size());
      first.emplace_back(states, states + hidden);
      last.emplace_back(states + (text.size() - 1) * hidden, states + text.size() * hidden);
    });
  }
  engine.options.batch_tokens = 3;  // in pieces, with parts of two texts in one pass
  EXPECT_EQ(embed(engine, texts, {.kind = Pooling::Kind::cls}), first);
  EXPECT_EQ(embed(engine, texts, {.kind = Pooling::Kind::last}), last);
  const auto means = embed(engine, texts, {.kind = Pooling::Kind::mean});
  const auto unit = embed(engine, texts, {.kind = Pooling::Kind::mean, .normalize = true});
  for (size_t t = 0; t < texts.size(); ++t) {
    double square = 0, norm = 0;
    for (size_t i = 0; i < hidden; ++i) {
      EXPECT_NEAR(means[t][i], mean[t][i], 1e-6);
      square += mean[t][i] * mean[t][i], norm += static_cast<double>(unit[t][i]) * unit[t][i];
    }
    EXPECT_NEAR(norm, 1, 1e-6);
    for (size_t i = 0; i < hidden; ++i) EXPECT_NEAR(unit[t][i], mean[t][i] / std::sqrt(square), 1e-6);
  }
  engine.options.batch_tokens = 2048;
  EXPECT_EQ(embed(engine, texts, {.kind = Pooling::Kind::mean}), means);
}

TEST(Embed, CutsTheTextAndKeepsSpecialTokens) {
  NEEDS_FIXTURE("llama");
  const Engine engine(fixture("llama"));
  bool cut = false;
  const std::string text = "The answer is seven, and that of the other one is eight";
  const auto whole = engine.tokenizer().encode(text);
  EXPECT_EQ(encode_cut(engine, text, static_cast<int64_t>(whole.size()), cut), whole);
  EXPECT_FALSE(cut);
  const auto five = encode_cut(engine, text, 5, cut);
  EXPECT_TRUE(cut);
  EXPECT_EQ(five, std::vector<int32_t>(whole.begin(), whole.begin() + 5));
}

}  // namespace
}  // namespace ds
