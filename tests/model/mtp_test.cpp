// The head for multi-token prediction against the formulas of DeepSeek-V3's report: data/mtp.json was made with torch 2.15,
// f32, around transformers 5.24's DeepseekV3Model and one DeepseekV3DecoderLayer more (eager attention), since transformers
// has no such head. Weights are made from their names, there and here by one formula. `logits` are those of the head at
// `rows`; `again` those of its second step, with `guess` as the next token.
#include "model/mtp.h"

#include "base/parallel.h"
#include "model/checkpoint.h"
#include "model/mtp_checkpoint.h"

namespace ds {
namespace {

struct Head {
  const Json reference = parse_json_file(DS_SOURCE_DIR "/tests/model/data/mtp.json");
  Config config = parse_config(*reference.find("config"), "mtp.json");
  Arena arena;
  Weights weights = make_weights(config, arena);
  MtpWeights mtp = make_head(config, arena);
  std::vector<int32_t> tokens = ids(*reference.find("ids"));

  Head() {
    make_values(config, weights);
    make_values(config, mtp);
  }
};

// The head's logits at every position but the last, where the first `given` tokens come `at_once` at a time and the others one
// by one; and of a second step at the end.
struct Steps {
  std::vector<float> logits, again;
};
Steps steps(const Config& config, const Weights& weights, const MtpWeights& mtp, const std::vector<int32_t>& tokens, size_t given,
            size_t at_once, int32_t guess, CacheOptions options = {}) {
  KvCache cache(with_mtp_layer(config), 3, 64, options);
  Activations acts, head_acts;
  Arena arena;
  Steps out;
  const auto logits_of = [&](std::vector<float>& to) {
    const Tensor logits = arena.make(DType::f32, {head_acts.final_normed.rows(), config.vocab_size});
    head(config, weights, head_acts.final_normed, logits);
    to.insert(to.end(), logits.f32(), logits.f32() + logits.elements());
  };
  for (size_t from = 0, count; from + 1 < tokens.size(); from += count) {
    count = from < given ? std::min(at_once, given - from) : 1;
    count = std::min(count, tokens.size() - 1 - from);
    TokenBatch batch, next;
    append(batch, 1, static_cast<int32_t>(from), {tokens.begin() + from, tokens.begin() + from + count});
    append(next, 1, static_cast<int32_t>(from), {tokens.begin() + from + 1, tokens.begin() + from + count + 1});
    batch.generated.assign(count, from >= given);
    next.generated = batch.generated;
    forward(config, weights, batch, cache, acts);
    mtp_forward(config, weights, mtp, next, acts.final_normed, cache, head_acts);
    logits_of(out.logits);
  }
  const Tensor state = arena.make(DType::f32, {1, config.hidden_size});
  std::memcpy(state.data, head_acts.final_normed.f32() + (head_acts.final_normed.rows() - 1) * config.hidden_size,
              static_cast<size_t>(config.hidden_size) * sizeof(float));
  TokenBatch next;
  append(next, 1, static_cast<int32_t>(tokens.size() - 1), {guess});
  next.generated = {1};
  mtp_forward(config, weights, mtp, next, state, cache, head_acts);
  logits_of(out.again);
  return out;
}

void expect_reference(const Head& h, const Steps& got, float tolerance, const char* how) {
  const auto vocab = static_cast<size_t>(h.config.vocab_size);
  const std::vector<int32_t> rows = ids(*h.reference.find("rows"));
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<float> want = floats(h.reference.find("logits")->items[r]);
    ASSERT_EQ(want.size(), vocab);
    for (size_t v = 0; v < vocab; ++v) ASSERT_NEAR(got.logits[static_cast<size_t>(rows[r]) * vocab + v], want[v], tolerance) << how << ", row " << rows[r] << ", " << v;
  }
  const std::vector<float> want = floats(*h.reference.find("again"));
  for (size_t v = 0; v < vocab; ++v) ASSERT_NEAR(got.again[v], want[v], tolerance) << how << ", again, " << v;
}

TEST(Mtp, GivesTheReportsLogits) {
  const Head h;
  const auto guess = static_cast<int32_t>(h.reference.find("guess")->as_int("guess"));
  expect_reference(h, steps(h.config, h.weights, h.mtp, h.tokens, 64, 64, guess), 5e-5f, "at once");
  expect_reference(h, steps(h.config, h.weights, h.mtp, h.tokens, 5, 5, guess), 5e-5f, "step by step");
  expect_reference(h, steps(h.config, h.weights, h.mtp, h.tokens, 64, 64, guess, {.use = CacheUse::training}), 5e-5f, "keys of all heads");
}

TEST(Mtp, GivesTheSameBitsInPiecesAndForAnyThreads) {
  const Head h;
  const Steps want = steps(h.config, h.weights, h.mtp, h.tokens, 30, 64, 7);
  const Steps pieces = steps(h.config, h.weights, h.mtp, h.tokens, 30, 4, 7);
  EXPECT_EQ(pieces.logits, want.logits);
  EXPECT_EQ(pieces.again, want.again);
  set_threads(1);
  const Steps one = steps(h.config, h.weights, h.mtp, h.tokens, 30, 64, 7);
  set_threads(0);
  EXPECT_EQ(one.logits, want.logits);
  EXPECT_EQ(one.again, want.again);
}

TEST(Mtp, IsLoadedWhereItIsAskedFor) {
  Scratch folder;
  Head h;
  const std::string at = folder / "m";
  save_with_head(h.config, h.weights, h.mtp, at);
  EXPECT_FALSE(load_model(at).mtp);
  for (const bool pack : {false, true}) {
    const Model model = load_model(at, {.pack = pack, .mtp = true});
    ASSERT_TRUE(model.mtp);
    EXPECT_EQ(static_cast<bool>(model.mtp->block.absorbed_k), pack);
    const auto guess = static_cast<int32_t>(h.reference.find("guess")->as_int("guess"));
    expect_reference(h, steps(model.config, model.weights, *model.mtp, h.tokens, 5, 5, guess), 5e-5f, pack ? "packed" : "rows");
  }
}

TEST(Mtp, WhatIsNotInTheFileIsAnError) {
  Scratch folder;
  Head h;
  const std::string at = folder / "m";
  const auto error_of = [&] {
    try {
      load_model(at, {.pack = true, .mtp = true});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  save_model(h.config, h.weights, at, DType::f32, {});
  EXPECT_TRUE(contains(error_of(), "no head for multi-token prediction")) << error_of();
  save_with_head(h.config, h.weights, h.mtp, at);
  std::vector<Stored> all = read_all(at);
  std::erase_if(all, [](const Stored& t) { return t.name == "model.layers.3.hnorm.weight"; });
  write_all(at, all);
  EXPECT_TRUE(contains(error_of(), "model.layers.3.hnorm.weight is missing")) << error_of();
  EXPECT_EQ(load_error(at), "no error");  // the model alone
  all.push_back({"model.layers.3.hnorm.weight", DType::f32, {2}, std::string(8, '\0')});
  write_all(at, all);
  EXPECT_TRUE(contains(error_of(), "has the shape [2]")) << error_of();
}

}  // namespace
}  // namespace ds
