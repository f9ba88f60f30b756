// What the fixtures do not have (windows by layer, mixed dense and sparse layers, groups, scaled positions, caps, biases of
// latent projections ...) against transformers 5.24 with torch 2.15, f32, eager attention: data/architectures.json has
// config.json files and the logits of a few rows. The weights are made from their names, there and here by one formula.
#include "model/fixture.h"

namespace ds {
namespace {

// Value i of the weight of this name, from -0.5 to 0.5: FNV-1a of the name, then SplitMix64.
double value_of(const std::string& name, uint64_t i) {
  uint64_t x = 0xcbf29ce484222325;
  for (const char c : name) x = (x ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  x += (i + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return static_cast<double>(x >> 40) / 16777216.0 - 0.5;
}

void make_values(const Config& config, Weights& weights) {
  for_each_weight(config, weights, [&](const WeightInfo& info, Tensor& t) {
    const int64_t experts = info.shape.size() == 3 ? info.shape[0] : 1, each = t.elements() / experts;
    const bool norm = info.shape.size() == 1 && info.name.find("bias") == std::string::npos;
    const double middle = norm && !config.norm_plus_one ? 1 : 0;
    const double spread = !info.trained ? 0.2 : info.shape.size() == 1 ? 0.5 : 1;
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t i = 0; i < each; ++i)
        t.f32()[e * each + i] = static_cast<float>(middle + spread * value_of(expert_name(info, e), static_cast<uint64_t>(i)));
  });
}

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
