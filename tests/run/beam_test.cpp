// Beam search against transformers' generate (data/beams_transformers.jsonl: transformers 5.24 in f32 on the fixture llama,
// num_beams 4, 3 answers, 14 new tokens, several length_penalty and eos_token_id).
#include "run/beam.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "fixtures.h"
#include "run/scheduler.h"

namespace ds {
namespace {

TEST(BeamSearchTest, AnswersAreThoseOfTransformers) {
  NEEDS_FIXTURE("llama");
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / "beams";
  fs::create_directories(folder);
  const auto cases = expected(fixture("llama"));
  std::ifstream file(DS_SOURCE_DIR "/tests/run/data/beams_transformers.jsonl");
  size_t lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const Json row = parse_json(line, "beams");
    // The same model with the row's end tokens.
    for (const char* const name : {"config.json", "model.safetensors"}) fs::copy_file(fixture("llama") + "/" + name, folder / name, fs::copy_options::overwrite_existing);
    std::string eos;
    for (const int32_t id : ids(*row.find("eos"))) eos += (eos.empty() ? "" : ", ") + std::to_string(id);
    std::ofstream(folder / "generation_config.json") << "{\"eos_token_id\": [" << eos << "]}";
    std::ifstream config(folder / "config.json");
    std::string text((std::istreambuf_iterator<char>(config)), {});
    for (const char* const key : {"\"eos_token_id\"", "\"bos_token_id\"", "\"pad_token_id\""})
      if (const size_t at = text.find(key); at != std::string::npos) text.erase(at, text.find_first_of(",}", at) - at + (text[text.find_first_of(",}", at)] == ','));
    std::ofstream(folder / "config.json") << text;

    Engine engine(folder.string(), {.batch_sequences = 4});
    const Case& c = cases.at(static_cast<size_t>(row.find("case")->as_int("case")));
    GenerateRequest request{c.ids, {.max_tokens = 14, .n = 3, .beams = 4, .length_penalty = row.find("length_penalty")->as_double("length_penalty")}};
    const auto result = generate(engine, {request}).at(0);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(result.answers.size(), 3u);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(result.answers[i].tokens, ids(row.find("answers")->items[i])) << "row " << lines << " answer " << i;
  }
  EXPECT_EQ(lines, 27u);
}

TEST(BeamSearchTest, RefusesWhatItDoesNotGoBy) {
  EXPECT_THROW(BeamSearch({.temperature = 0.5, .beams = 2}, 10, {}), Error);
  EXPECT_THROW(BeamSearch({.repetition_penalty = 1.1, .beams = 2}, 10, {}), Error);
  EXPECT_THROW(BeamSearch({.stop = {"x"}, .beams = 2}, 10, {}), Error);
  EXPECT_THROW(BeamSearch({.n = 3, .beams = 2}, 10, {}), Error);
}

}  // namespace
}  // namespace ds
