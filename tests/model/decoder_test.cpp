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
                  : std::string(GetParam()) == "gemma"     ? tiny_gemma(R"(, "final_logit_softcapping": null)")
                  : std::string(GetParam()) == "gpt2"      ? tiny_gpt2()
                  : std::string(GetParam()) == "clip"      ? tiny_llama(R"(, "attention_bias": true, "clip_qkv": 0.4,
                      "architectures": ["OlmoeForCausalLM"], "num_experts": 6, "num_experts_per_tok": 2)")
                  : std::string(GetParam()) == "block_sparse" ? tiny_pattern(kSparseKeys)
                  : std::string(GetParam()) == "local_global" ? tiny_pattern(kLocalHeadsKeys)
                  : std::string(GetParam()) == "learned"      ? tiny_pattern(kLearnedKeys)
                  : std::string(GetParam()) == "pooled"       ? tiny_pattern(kPooledKeys)
                  : std::string(GetParam()) == "compressed"   ? tiny_pattern(kCompressedKeys)
                  : std::string(GetParam()) == "lsh"          ? tiny_pattern(kLshKeys)
                  : std::string(GetParam()) == "no_q_lora" ? tiny_deepseek(R"(, "q_lora_rank": null, "n_shared_experts": null)")
                                                          : tiny_deepseek()};
  int64_t hidden = decoder.config.hidden_size;
};
INSTANTIATE_TEST_SUITE_P(All, AnyDecoder, testing::Values("deepseek", "no_q_lora", "llama", "gemma", "gpt2", "clip", "block_sparse", "local_global", "learned", "pooled", "compressed", "lsh"), [](const auto& i) { return i.param; });

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
    KvCache cache(decoder.config, 3, 64, {.use = CacheUse::training});
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

// ---- Latent attention: given tokens in the expanded form, generated ones in the absorbed form ----

class Latent : public testing::Test {
 protected:
  Decoder decoder{tiny_deepseek(R"(, "kv_lora_rank": 20, "attention_bias": true)")};
  Arena packed_memory;
  int64_t vocab = decoder.config.vocab_size, hidden = decoder.config.hidden_size;

  // One request's tokens: `given` of them, then the others one by one, generated.
  struct Request {
    std::vector<int32_t> tokens;
    size_t given;
  };
  // Steps all requests until they end, `chunk` given tokens at a time; what final_normed each of their tokens had.
  std::vector<std::vector<float>> steps(const Weights& weights, const std::vector<Request>& requests, size_t chunk) {
    KvCache cache(decoder.config, static_cast<int64_t>(requests.size()), 160);
    Activations acts;
    std::vector<std::vector<float>> normed(requests.size());
    std::vector<size_t> at(requests.size(), 0);
    for (bool more = true; more;) {
      TokenBatch batch;
      for (size_t r = 0; r < requests.size(); ++r) {
        const Request& request = requests[r];
        const size_t count = at[r] < request.given ? std::min(chunk, request.given - at[r]) : std::min<size_t>(1, request.tokens.size() - at[r]);
        append(batch, static_cast<int32_t>(r), static_cast<int32_t>(at[r]), {request.tokens.begin() + at[r], request.tokens.begin() + at[r] + count});
        batch.generated.resize(batch.tokens.size(), at[r] >= request.given);
        at[r] += count;
      }
      more = !batch.tokens.empty();
      if (!more) break;
      const Outputs out = run_batch(decoder.config, weights, batch, cache, acts);
      for (size_t t = 0; t < batch.tokens.size(); ++t) {
        std::vector<float>& to = normed[static_cast<size_t>(batch.sequences[t])];
        to.insert(to.end(), out.normed.data() + static_cast<int64_t>(t) * hidden, out.normed.data() + static_cast<int64_t>(t + 1) * hidden);
      }
    }
    return normed;
  }
  Request request(size_t given, size_t generated, uint64_t stream) { return {tokens_of(given + generated, stream, vocab), given}; }
};

TEST_F(Latent, TheBatchTheChunksAndThreadsDoNotMatter) {
  std::vector<Request> requests;
  for (size_t r = 0; r < 32; ++r) requests.push_back(request(1 + r * 37 % 70, 5 + r * 13 % 40, r));
  const size_t before = threads();
  set_threads(1);
  const auto together = steps(decoder.weights, requests, 1000);
  for (size_t r = 0; r < requests.size(); r += 5) EXPECT_EQ(steps(decoder.weights, {requests[r]}, 1000)[0], together[r]) << r;
  set_threads(2);
  EXPECT_EQ(steps(decoder.weights, requests, 1000), together);
  EXPECT_EQ(steps(decoder.weights, requests, 7), together);
#if defined(__x86_64__)
  cpu::set_simd("avx2");
  EXPECT_EQ(steps(decoder.weights, requests, 33), together);
  cpu::set_simd("");
#endif
  set_threads(before);
}

TEST_F(Latent, PackedWeightsAndHalvesMadeAheadGiveTheSameBits) {
  const std::vector<Request> requests = {request(20, 30, 1), request(3, 40, 2)};
  Weights ahead = decoder.weights;
  split_latent(decoder.config, ahead.layers, packed_memory);
  ASSERT_TRUE(ahead.layers[0].absorbed_k);
  const auto want = steps(decoder.weights, requests, 1000);
  EXPECT_EQ(steps(ahead, requests, 1000), want);
  for (LayerWeights& w : ahead.layers) w.kv_b_proj = pack(w.kv_b_proj, packed_memory), w.absorbed_k = w.absorbed_v = {};
  EXPECT_EQ(steps(ahead, requests, 1000), want);
}

// Given tokens are computed as in training, where the cache holds the keys and values of all heads.
TEST_F(Latent, GivenTokensHaveTheBitsOfTraining) {
  const std::vector<int32_t> tokens = tokens_of(100, 5, vocab);
  TokenBatch batch;
  append(batch, 0, 0, tokens);
  KvCache cache(decoder.config, 1, 128, {.use = CacheUse::training});
  Activations acts;
  EXPECT_EQ(run_batch(decoder.config, decoder.weights, batch, cache, acts).normed, decoder.alone(tokens));
}

TEST_F(Latent, TheTwoFormsAgree) {
  const Request given = {tokens_of(90, 7, vocab), 90}, generated = {given.tokens, 10};
  const std::vector<float> expanded = steps(decoder.weights, {given}, 1000)[0], absorbed = steps(decoder.weights, {generated}, 1000)[0];
  ASSERT_EQ(expanded.size(), absorbed.size());
  for (size_t i = 0; i < expanded.size(); ++i) ASSERT_NEAR(expanded[i], absorbed[i], 1e-5f) << i;
  EXPECT_NE(expanded, absorbed);
}

TEST_F(Latent, RefusesTheWrongNumberOfMarks) {
  KvCache cache(decoder.config, 1, 32);
  Activations acts;
  EXPECT_THROW(forward(decoder.config, decoder.weights, {{1, 2}, {0, 0}, {0, 1}, {1}}, cache, acts), Error);
}

TEST(Decoder, AnExpertWithoutTokensHasAZeroGradient) {
  Decoder decoder(tiny_deepseek());
  TokenBatch batch;
  append(batch, 0, 0, {5, 9});
  KvCache cache(decoder.config, 1, 32, {.use = CacheUse::training});
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

TEST(Decoder, HasNoPositionsBeyondThoseItLearned) {
  Decoder decoder(tiny_gpt2(R"(, "n_positions": 7)"));
  KvCache cache(decoder.config, 1, 40);
  Activations acts;
  EXPECT_NO_THROW(forward(decoder.config, decoder.weights, {{1}, {0}, {6}}, cache, acts));
  try {
    forward(decoder.config, decoder.weights, {{1}, {0}, {7}}, cache, acts);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("position 7 of a sequence: the model has learned only the first 7"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ds
