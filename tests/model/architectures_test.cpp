// What the fixtures do not have (windows by layer, mixed dense and sparse layers, groups, scaled positions, caps, biases of
// latent projections ...) against transformers 5.24 with torch 2.15, f32, eager attention: data/architectures.json has
// config.json files and the logits of a few rows. The weights are made from their names, there and here by one formula.
#include "model/fixture.h"

namespace ds {
namespace {

Json reference() { return parse_json_file(DS_SOURCE_DIR "/tests/model/data/architectures.json"); }
std::vector<std::string> names() {
  std::vector<std::string> all;
  const Json json = reference();
  for (const Json& one : json.find("cases")->items) all.push_back(one.find("name")->text);
  return all;
}

struct Case {
  Config config;
  Arena arena;
  Weights weights;
  std::vector<int32_t> tokens, rows;
  std::vector<std::vector<float>> logits;  // of each of `rows`

  explicit Case(const std::string& name) {
    const Json all = reference();
    tokens = ids(*all.find("ids"));
    rows = ids(*all.find("rows"));
    for (const Json& one : all.find("cases")->items)
      if (one.find("name")->text == name) {
        config = parse_config(*one.find("config"), name);
        for (const Json& row : one.find("logits")->items) logits.push_back(floats(row));
      }
    weights = make_weights(config, arena);
    make_values(config, weights);
  }
  void expect(const std::vector<float>& got, const char* how) const {
    const auto vocab = static_cast<size_t>(config.vocab_size);
    for (size_t r = 0; r < rows.size(); ++r)
      for (size_t v = 0; v < vocab; ++v)
        ASSERT_NEAR(got[static_cast<size_t>(rows[r]) * vocab + v], logits[r][v], 5e-5f) << how << ", row " << rows[r] << ", " << v;
  }
};

class ArchitectureCase : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, ArchitectureCase, testing::ValuesIn(names()), [](const auto& i) { return i.param; });

TEST_P(ArchitectureCase, GivesTheSameLogits) {
  const Case c(GetParam());
  TokenBatch batch;
  append(batch, 0, 0, c.tokens);
  KvCache cache(c.config, 1, 64);
  Activations acts;
  c.expect(run_batch(c.config, c.weights, batch, cache, acts).logits, "in one batch");
}

// Five tokens given, the others generated: latent attention in its other form.
TEST_P(ArchitectureCase, StepByStepToo) {
  const Case c(GetParam());
  KvCache cache(c.config, 1, 64);
  Activations acts;
  std::vector<float> logits;
  for (size_t from = 0, count = 5; from < c.tokens.size(); from += count, count = 1) {
    TokenBatch batch;
    append(batch, 0, static_cast<int32_t>(from), {c.tokens.begin() + from, c.tokens.begin() + from + count});
    batch.generated.assign(count, from > 0);
    const Outputs out = run_batch(c.config, c.weights, batch, cache, acts);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  }
  c.expect(logits, "step by step");
}

TEST_P(ArchitectureCase, ConfigIsWrittenAsItWasRead) {
  const Case c(GetParam());
  const std::string text = config_json(c.config, DType::f32);
  EXPECT_EQ(config_json(tiny(text), DType::f32), text);
}

}  // namespace
}  // namespace ds
