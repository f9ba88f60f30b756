// Promises of the forward pass: the same bits however a sequence is cut, whoever shares its batch, for any number of
// threads and any vector width; and of backward: the same bits too, zeros where no token went, sums where it is repeated.
#include "base/parallel.h"
#include "model/fixture.h"
#include "tensor/cpu/dispatch.h"

namespace ds {
namespace {

struct Decoder {
  Config config;
  Arena arena;
  Weights weights;
  explicit Decoder(const std::string& json) : config(tiny(json)), weights(make_weights(config, arena)) {
    initialize(config, weights, 1);
    // A selection bias, so that choosing and weighting differ.
    for (LayerWeights& w : weights.layers)
      if (w.router_bias)
        for (int64_t i = 0; i < w.router_bias.elements(); ++i) w.router_bias.f32()[i] = 0.1f * static_cast<float>(i % 3);
  }
  // final_normed of every row of a sequence run by itself in one batch.
  std::vector<float> alone(const std::vector<int32_t>& tokens) {
    TokenBatch batch;
    append(batch, 0, 0, tokens);
    KvCache cache(config, 1, 128);
    Activations acts;
    return run_batch(config, weights, batch, cache, acts).normed;
  }
};

class AnyDecoder : public testing::TestWithParam<const char*> {
 protected:
  Decoder decoder{std::string(GetParam()) == "llama"      ? tiny_llama()
                  : std::string(GetParam()) == "no_q_lora" ? tiny_deepseek(R"(, "q_lora_rank": null, "n_shared_experts": null)")
                                                          : tiny_deepseek()};
  int64_t hidden = decoder.config.hidden_size;
};
INSTANTIATE_TEST_SUITE_P(All, AnyDecoder, testing::Values("deepseek", "no_q_lora", "llama"), [](const auto& i) { return i.param; });

TEST_P(AnyDecoder, ChunksAndSingleStepsGiveTheSameBits) {
  const std::vector<int32_t> tokens = tokens_of(75, 1, decoder.config.vocab_size);
  const std::vector<float> whole = decoder.alone(tokens);
  for (const std::vector<size_t>& cuts : {std::vector<size_t>(75, 1), {7, 25, 1, 40, 2}, {32, 32, 11}, {74, 1}}) {
    KvCache cache(decoder.config, 3, 128);
    Activations acts;
    std::vector<float> pieces;
    size_t from = 0;
    for (const size_t count : cuts) {
      TokenBatch batch;
      append(batch, 1, static_cast<int32_t>(from), {tokens.begin() + from, tokens.begin() + from + count});
      from += count;
      const Outputs out = run_batch(decoder.config, decoder.weights, batch, cache, acts);
      pieces.insert(pieces.end(), out.normed.begin(), out.normed.end());
    }
    ASSERT_EQ(pieces.size(), whole.size());
    EXPECT_EQ(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(float)), 0) << cuts.size() << " pieces";
  }
}

TEST_P(AnyDecoder, OthersInTheBatchDoNotMatter) {
  const std::vector<std::vector<int32_t>> sequences = {tokens_of(33, 1, 61), tokens_of(1, 2, 61), tokens_of(50, 3, 61), tokens_of(8, 4, 61)};
  TokenBatch batch;
  for (size_t s = 0; s < sequences.size(); ++s) append(batch, static_cast<int32_t>(s), 0, sequences[s]);
  KvCache cache(decoder.config, 4, 128);
  Activations acts;
  const Outputs together = run_batch(decoder.config, decoder.weights, batch, cache, acts);
  size_t row = 0;
  for (const auto& tokens : sequences) {
    const std::vector<float> alone = decoder.alone(tokens);
    EXPECT_EQ(std::memcmp(alone.data(), together.normed.data() + row * hidden, alone.size() * sizeof(float)), 0) << row;
    row += tokens.size();
  }
}

// A sequence that takes the pages of one that ended, in another order, computes the same.
TEST_P(AnyDecoder, UsedPagesDoNotMatter) {
  const std::vector<int32_t> first = tokens_of(100, 1, 61), second = tokens_of(70, 2, 61);
  KvCache cache(decoder.config, 2, 128);
  Activations acts;
  for (int32_t s = 0; s < 2; ++s) {
    TokenBatch batch;
    append(batch, s, 0, first);
    run_batch(decoder.config, decoder.weights, batch, cache, acts);
  }
  cache.release(1);
  cache.release(0);
  TokenBatch batch;
  append(batch, 0, 0, second);
  const std::vector<float> reused = run_batch(decoder.config, decoder.weights, batch, cache, acts).normed, fresh = decoder.alone(second);
  EXPECT_EQ(std::memcmp(reused.data(), fresh.data(), fresh.size() * sizeof(float)), 0);
}

TEST_P(AnyDecoder, KeepingActivationsDoesNotMatter) {
  const std::vector<int32_t> tokens = tokens_of(40, 1, 61);
  TokenBatch batch;
  append(batch, 0, 0, tokens);
  KvCache cache(decoder.config, 1, 128);
  Activations acts;
  acts.keep_all = true;
  int64_t calls = 0;
  acts.after_layer = [&](int64_t layer, const LayerActivations& a) {
    EXPECT_EQ(layer, calls++);
    EXPECT_EQ(bool(a.indices), decoder.config.is_moe(layer));
    EXPECT_EQ(a.mlp_in.rows(), 40);
  };
  const std::vector<float> kept = run_batch(decoder.config, decoder.weights, batch, cache, acts).normed;
  EXPECT_EQ(calls, decoder.config.num_hidden_layers);
  EXPECT_EQ(kept, decoder.alone(tokens));
}

// Logits and all gradients of a batch of three sequences.
std::vector<float> everything(Decoder& decoder, int times = 1) {
  TokenBatch batch;
  append(batch, 0, 0, tokens_of(35, 1, 61));
  append(batch, 1, 0, tokens_of(20, 2, 61));
  append(batch, 2, 0, tokens_of(9, 3, 61));
  Activations acts;
  acts.keep_all = true;
  Arena arena, scratch;
  Weights grads = make_weights(decoder.config, arena);
  std::vector<float> all;
  for (int i = 0; i < times; ++i) {
    KvCache cache(decoder.config, 3, 64);
    all = run_batch(decoder.config, decoder.weights, batch, cache, acts).logits;
    const Tensor dnormed = arena.make(DType::f32, {acts.final_normed.rows(), decoder.config.hidden_size});
    for (int64_t j = 0; j < dnormed.elements(); ++j) dnormed.f32()[j] = static_cast<float>(Rng{9, 9}.normal(j));
    all.push_back(static_cast<float>(backward(decoder.config, decoder.weights, batch, cache, acts, dnormed, {0.01f, 0.02f}, grads, scratch)));
    EXPECT_EQ(scratch.bytes_used(), 0u);
  }
  for_each_weight(decoder.config, grads, [&](const WeightInfo&, Tensor& t) { all.insert(all.end(), t.f32(), t.f32() + t.elements()); });
  return all;
}

TEST_P(AnyDecoder, ThreadsAndVectorWidthDoNotMatter) {
  const size_t before = threads();
  set_threads(1);
  const std::vector<float> one = everything(decoder);
  set_threads(2);
  const std::vector<float> two = everything(decoder);
#if defined(__x86_64__)
  cpu::set_simd("avx2");
  const std::vector<float> narrow = everything(decoder);
  cpu::set_simd("");
#else
  const std::vector<float>& narrow = two;
#endif
  set_threads(before);
  ASSERT_EQ(one.size(), two.size());
  EXPECT_EQ(std::memcmp(one.data(), two.data(), one.size() * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(one.data(), narrow.data(), one.size() * sizeof(float)), 0);
}

TEST_P(AnyDecoder, GradientsAreAdded) {
  const std::vector<float> once = everything(decoder), twice = everything(decoder, 2);
  const size_t logits = 64 * 61 + 1;
  for (size_t i = logits; i < once.size(); ++i) ASSERT_NEAR(twice[i], 2 * once[i], 1e-4f + 1e-4f * std::abs(once[i])) << i;
}

TEST(Decoder, AnExpertWithoutTokensHasAZeroGradient) {
  Decoder decoder(tiny_deepseek());
  TokenBatch batch;
  append(batch, 0, 0, {5, 9});
  KvCache cache(decoder.config, 1, 32);
  Activations acts;
  acts.keep_all = true;
  run_batch(decoder.config, decoder.weights, batch, cache, acts);
  Arena arena, scratch;
  Weights grads = make_weights(decoder.config, arena);
  const Tensor dnormed = arena.make(DType::f32, {2, decoder.config.hidden_size});
  for (int64_t j = 0; j < dnormed.elements(); ++j) dnormed.f32()[j] = static_cast<float>(Rng{9, 8}.normal(j));
  backward(decoder.config, decoder.weights, batch, cache, acts, dnormed, {}, grads, scratch);
  const Tensor indices = acts.layers[1].indices;
  int64_t idle = 0;
  for (int64_t e = 0; e < decoder.config.n_routed_experts; ++e) {
    const bool chosen = std::count(indices.i32(), indices.i32() + indices.elements(), e) > 0;
    idle += !chosen;
    for (const Tensor* t : {&grads.layers[1].experts_gate, &grads.layers[1].experts_up, &grads.layers[1].experts_down}) {
      const Tensor g = item(*t, e);
      const bool zero = std::all_of(g.f32(), g.f32() + g.elements(), [](float x) { return x == 0; });
      EXPECT_EQ(zero, !chosen) << e;
    }
  }
  EXPECT_GE(idle, 2);
}

TEST(Decoder, RefusesABatchThatDoesNotFit) {
  Decoder decoder(tiny_llama());
  KvCache cache(decoder.config, 2, 40);
  Activations acts;
  const auto run = [&](int32_t token, int32_t sequence, int32_t position) {
    forward(decoder.config, decoder.weights, {{token}, {sequence}, {position}}, cache, acts);
  };
  EXPECT_NO_THROW(run(60, 1, 0));
  EXPECT_THROW(run(61, 0, 0), Error);
  EXPECT_THROW(run(-1, 0, 0), Error);
  EXPECT_THROW(run(0, 2, 0), Error);
  EXPECT_THROW(run(0, -1, 0), Error);
  EXPECT_THROW(run(0, 0, 40), Error);
  EXPECT_THROW(run(0, 0, -1), Error);
  EXPECT_THROW(forward(decoder.config, decoder.weights, {{1, 2}, {0}, {0}}, cache, acts), Error);
  EXPECT_THROW(forward(decoder.config, decoder.weights, {}, cache, acts), Error);
}

TEST(KvCache, CountsItsBytes) {
  const Config config = tiny(tiny_deepseek());
  EXPECT_EQ(KvCache::bytes_per_position(config), 3u * 3 * (10 + 7) * 4);
  KvCache cache(config, 2, 100);
  EXPECT_EQ(cache.page_table().shape[1], 4);
  EXPECT_THROW(cache.reserve(0, 101), Error);
  cache.reserve(1, 33);
  EXPECT_EQ(cache.page_table().i32()[4], 0);
  EXPECT_EQ(cache.page_table().i32()[5], 1);
  EXPECT_EQ(cache.page_table().i32()[6], -1);
}

}  // namespace
}  // namespace ds
