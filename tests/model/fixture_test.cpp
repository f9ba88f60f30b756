// The decoder against transformers: logits, log-probabilities and greedy continuations of tiny checkpoints.
#include <cmath>

#include "model/fixture.h"

namespace ds {
namespace {

constexpr float kTolerance = 1e-3f;  // logits are about 5 in size, and transformers computed them in f32

double log_softmax(const float* logits, int64_t count, int32_t token) {
  double top = logits[0], sum = 0;
  for (int64_t i = 0; i < count; ++i) top = std::max<double>(top, logits[i]);
  for (int64_t i = 0; i < count; ++i) sum += std::exp(logits[i] - top);
  return logits[token] - top - std::log(sum);
}

struct Case {
  std::string name;
  bool packed;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};
std::string case_name(const testing::TestParamInfo<Case>& info) { return info.param.name + (info.param.packed ? "_packed" : "_rows"); }

class Fixture : public testing::TestWithParam<Case> {};

// All texts of the fixture in one batch.
TEST_P(Fixture, GivesTheSameLogits) {
  DS_NEEDS_FIXTURE(GetParam().name);
  const std::string folder = fixture(GetParam().name);
  const Model model = load_model(folder, {Device::cpu, GetParam().packed});
  const Json expected = parse_json_file(folder + "/expected.json");
  const std::vector<Json>& cases = expected.find("cases")->items;
  ASSERT_GE(cases.size(), 3u);

  TokenBatch batch;
  std::vector<size_t> begin;
  for (size_t i = 0; i < cases.size(); ++i) {
    begin.push_back(batch.tokens.size());
    append(batch, static_cast<int32_t>(i), 0, ids(*cases[i].find("ids")));
  }
  KvCache cache(model.config, static_cast<int64_t>(cases.size()), 256);
  Activations acts;
  const Outputs out = run_batch(model.config, model.weights, batch, cache, acts);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<int32_t> tokens = ids(*cases[i].find("ids"));
    const std::vector<float> logprobs = floats(*cases[i].find("token_logprobs"));
    std::vector<float> last;  // not all folders have it
    if (const Json* logits = cases[i].find("last_logits")) {
      last = floats(*logits);
      ASSERT_EQ(static_cast<int64_t>(last.size()), out.vocab);
    }
    ASSERT_EQ(logprobs.size(), tokens.size() - 1);
    for (size_t v = 0; v < last.size(); ++v) ASSERT_NEAR(out.row(begin[i] + tokens.size() - 1)[v], last[v], kTolerance) << i << " " << v;
    for (size_t t = 0; t + 1 < tokens.size(); ++t)
      ASSERT_NEAR(log_softmax(out.row(begin[i] + t), out.vocab, tokens[t + 1]), logprobs[t], kTolerance) << i << " " << t;
  }
}

TEST_P(Fixture, ContinuesAlike) {
  DS_NEEDS_FIXTURE(GetParam().name);
  const std::string folder = fixture(GetParam().name);
  const Model model = load_model(folder, {Device::cpu, GetParam().packed});
  const Json expected = parse_json_file(folder + "/expected.json");
  for (const Json& one : expected.find("cases")->items) {
    std::vector<int32_t> tokens = ids(*one.find("ids"));
    const Json* const short_one = one.find("greedy_16");
    const std::vector<int32_t> greedy = ids(short_one ? *short_one : *one.find("greedy_64"));
    KvCache cache(model.config, 1, 256);
    Activations acts;
    int32_t position = 0;
    for (const int32_t want : greedy) {
      TokenBatch batch;
      append(batch, 0, position, tokens);
      batch.generated.assign(tokens.size(), position > 0);
      position += static_cast<int32_t>(tokens.size());
      const Outputs out = run_batch(model.config, model.weights, batch, cache, acts);
      const float* const last = out.row(batch.tokens.size() - 1);
      const int32_t best = static_cast<int32_t>(std::max_element(last, last + out.vocab) - last);
      ASSERT_EQ(best, want) << "at position " << position;
      tokens = {best};
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fixture,
                         testing::Values(Case{"deepseek_v3", false}, Case{"deepseek_v3", true}, Case{"deepseek_v2", false},
                                         Case{"deepseek_v2", true}, Case{"llama", false}, Case{"llama", true},
                                         Case{"llama_tied", false}, Case{"llama_tied", true}, Case{"llama_awq", false},
                                         Case{"llama_awq", true}, Case{"llama_fp8", false}, Case{"llama_fp8", true},
                                         Case{"qwen2", true}, Case{"qwen3", false}, Case{"qwen3_moe", false},
                                         Case{"mixtral", false}, Case{"olmoe", false}, Case{"gemma3", false},
                                         Case{"gemma3", true}, Case{"stories260K", true}),
                         case_name);

// The first values of dequantized weights, as AutoAWQ's formula gives them.
TEST(Awq, DequantizesAsTheFixtureSays) {
  DS_NEEDS_FIXTURE("llama_awq");
  Model model = load_model(fixture("llama_awq"));
  const Json expected = parse_json_file(fixture("llama_awq") + "/expected.json");
  const Json* probes = expected.find("deq_probe");
  size_t seen = 0;
  for_each_weight(model.config, model.weights, [&](const WeightInfo& info, Tensor& t) {
    const Json* probe = probes->find(info.name);
    if (!probe) return;
    ++seen;
    const std::vector<float> want = floats(*probe);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(t.f32()[i], want[i], 1e-6f) << info.name << " " << i;
  });
  EXPECT_EQ(seen, probes->members.size());
}

}  // namespace
}  // namespace ds
