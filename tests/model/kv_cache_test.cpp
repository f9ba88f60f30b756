// Who owns which page, and that neither dropped windows nor shared beginnings change a bit of what the decoder computes.
#include <map>

#include "base/parallel.h"
#include "model/fixture.h"
#include "tensor/cpu/dispatch.h"

namespace ds {
namespace {

std::vector<CachePage> pages_of(const KvCache& cache, int64_t sequence, int64_t blocks) {
  std::vector<CachePage> pages;
  for (int64_t b = 0; b < blocks; ++b) pages.push_back(cache.page(sequence, b));
  return pages;
}

TEST(KvCache, CountsItsBytes) {
  const Config config = tiny(tiny_deepseek());
  EXPECT_EQ(KvCache::page_bytes(config, {.use = CacheUse::training}), 32u * 3 * 3 * (10 + 7) * 4);
  EXPECT_EQ(KvCache::page_bytes(config), 32u * 3 * ((10 + 4) + 10) * 4);
  EXPECT_EQ(KvCache::window_page_bytes(config), 0u);
  EXPECT_EQ(KvCache::page_bytes(tiny(tiny_llama())), 32u * 2 * 2 * (6 + 6) * 4);
  EXPECT_EQ(KvCache::page_bytes(tiny(tiny_gemma())), 32u * 1 * 2 * (6 + 6) * 4);
  EXPECT_EQ(KvCache::window_page_bytes(tiny(tiny_gemma())), 32u * 2 * 2 * (6 + 6) * 4);
}

// In 8 bits 32 columns have a scale of 4 bytes; latent vectors and rotated keys share none.
TEST(KvCache, CountsItsBytesInEightBits) {
  const CacheOptions i8{.dtype = DType::i8};
  EXPECT_EQ(KvCache::page_bytes(tiny(tiny_deepseek()), i8), 32u * 3 * ((10 + 4 + 8) + (10 + 4)));
  EXPECT_EQ(KvCache::page_bytes(tiny(tiny_gemma()), i8), 32u * 1 * 2 * (6 + 4 + 6 + 4));
  EXPECT_EQ(KvCache::window_page_bytes(tiny(tiny_gemma()), i8), 32u * 2 * 2 * (6 + 4 + 6 + 4));
  const Config wide = tiny(tiny_llama(R"(, "hidden_size": 256, "head_dim": 64)"));
  EXPECT_EQ(KvCache::page_bytes(wide, i8), KvCache::page_bytes(wide) / 32 * 9);
}

TEST(KvCache, LayersOfAKindShareATable) {
  KvCache cache(tiny(tiny_gemma()), 2, 100, {.pages = 7, .window_pages = 5});
  EXPECT_TRUE(cache.has_full_layers() && cache.has_window_layers());
  EXPECT_EQ(cache.page_table(0).data, cache.page_table(2).data);
  EXPECT_NE(cache.page_table(0).data, cache.page_table(1).data);
  EXPECT_EQ(cache.page_table(1).shape[1], 4);
  EXPECT_EQ(cache.k_pages(0).shape[0], 5);
  EXPECT_EQ(cache.k_pages(1).shape[0], 7);
  ASSERT_TRUE(cache.reserve(1, 33));
  EXPECT_EQ(cache.page_table(1).i32()[4], 0);
  EXPECT_EQ(cache.page_table(1).i32()[5], 1);
  EXPECT_EQ(cache.page_table(1).i32()[6], -1);
  EXPECT_EQ(cache.free_pages(), 5);
  EXPECT_EQ(cache.free_window_pages(), 3);
  KvCache all(tiny(tiny_llama()), 3, 33);
  EXPECT_EQ(all.pages(), 6);
  EXPECT_EQ(all.window_pages(), 0);
  EXPECT_FALSE(all.has_window_layers());
  EXPECT_EQ(KvCache(tiny(tiny_gemma(R"(, "num_hidden_layers": 1, "layer_types": ["sliding_attention"])")), 3, 33).window_pages(), 6);
}

TEST(KvCache, ReserveTakesAllOrNothing) {
  KvCache cache(tiny(tiny_gemma()), 2, 128, {.pages = 5, .window_pages = 3});
  ASSERT_TRUE(cache.reserve(0, 64));
  EXPECT_FALSE(cache.reserve(1, 64));  // two windowed pages, and there is one
  EXPECT_EQ(cache.free_pages(), 3);
  EXPECT_EQ(cache.free_window_pages(), 1);
  EXPECT_EQ(cache.page(1, 0).full, -1);
  cache.drop_before(0, 36);  // that row sees from key 32 on
  EXPECT_EQ(cache.page(0, 0).window, -1);
  EXPECT_GE(cache.page(0, 0).full, 0);
  EXPECT_TRUE(cache.reserve(1, 64));
  EXPECT_TRUE(cache.reserve(0, 64));  // it has all that it asks for: what was dropped stays so
  EXPECT_EQ(cache.page(0, 0).window, -1);
  EXPECT_FALSE(cache.reserve(0, 65));
  cache.drop_before(0, 35);  // nothing comes back
  EXPECT_EQ(cache.page(0, 0).window, -1);
  cache.truncate(1, 32);
  EXPECT_EQ(cache.free_pages(), 2);
  EXPECT_EQ(cache.page(1, 1).full, -1);
  cache.truncate(1, 128);  // no more than it has
  EXPECT_GE(cache.page(1, 0).full, 0);
  cache.release(0);
  cache.release(1);
  EXPECT_EQ(cache.free_pages(), 5);
  EXPECT_EQ(cache.free_window_pages(), 3);
  ASSERT_TRUE(cache.reserve(0, 32));  // its windows begin anew
  EXPECT_GE(cache.page(0, 0).window, 0);
}

TEST(KvCache, RefusesWhatIsNotThere) {
  const Config config = tiny(tiny_gemma());
  KvCache cache(config, 2, 100);
  EXPECT_THROW((void)cache.reserve(0, 101), Error);
  EXPECT_THROW((void)cache.reserve(2, 1), Error);
  EXPECT_THROW(cache.drop_before(-1, 1), Error);
  EXPECT_THROW(cache.truncate(2, 0), Error);
  EXPECT_THROW(cache.page(0, 4), Error);
  EXPECT_THROW(cache.hold({0, 0}), Error);
  ASSERT_TRUE(cache.reserve(0, 64));
  const std::vector<CachePage> pages = pages_of(cache, 0, 2);
  EXPECT_THROW(cache.adopt(0, pages), Error);
  EXPECT_THROW(cache.adopt(1, std::vector<CachePage>{pages[0], {7, -1}}), Error);
  EXPECT_THROW(cache.adopt(1, std::vector<CachePage>{{-1, pages[0].window}}), Error);
  EXPECT_THROW(cache.adopt(1, std::vector<CachePage>(5, pages[0])), Error);
  EXPECT_EQ(cache.page(1, 0).full, -1);
  cache.release(0);
  EXPECT_THROW(cache.let_go(pages[0]), Error);
  EXPECT_THROW(KvCache(config, 1, 64, {.pages = -1}), Error);
  EXPECT_THROW(KvCache(config, 1, 64, {.dtype = DType::f16}), Error);
  EXPECT_THROW(KvCache(config, 1, 64, {.use = CacheUse::training, .dtype = DType::i8}), Error);
}

// Random operations beside the plainest model of them: lists of pages, and references counted by going through all lists.
class OwnersOfPages : public testing::Test {
 protected:
  static constexpr int64_t kSequences = 4, kPositions = 160, kPages = 11, kWindowPages = 9, kWindow = 5;
  KvCache cache{tiny(tiny_gemma()), kSequences, kPositions, {.pages = kPages, .window_pages = kWindowPages}};
  std::vector<std::vector<CachePage>> lists{kSequences};
  std::vector<CachePage> held;
  uint64_t step = 0;

  int64_t random(uint64_t what, int64_t below) { return static_cast<int64_t>(Rng{11, what}.below(step, static_cast<uint64_t>(below))); }

  // How often each page is in the lists.
  std::pair<std::map<int32_t, int>, std::map<int32_t, int>> owners() const {
    std::pair<std::map<int32_t, int>, std::map<int32_t, int>> counts;
    const auto count = [&](const CachePage& page) {
      if (page.full >= 0) ++counts.first[page.full];
      if (page.window >= 0) ++counts.second[page.window];
    };
    for (const auto& list : lists) std::for_each(list.begin(), list.end(), count);
    std::for_each(held.begin(), held.end(), count);
    return counts;
  }

  void reserve(int64_t s, int64_t length) {
    auto& list = lists[static_cast<size_t>(s)];
    const auto [full, window] = owners();
    const auto blocks = static_cast<int64_t>(list.size()), more = std::max<int64_t>(0, (length + 31) / 32 - blocks);
    const bool fits = more <= kPages - static_cast<int64_t>(full.size()) && more <= kWindowPages - static_cast<int64_t>(window.size());
    ASSERT_EQ(cache.reserve(s, length), fits);
    for (int64_t b = blocks; fits && b < blocks + more; ++b) {
      list.push_back(cache.page(s, b));
      ASSERT_FALSE(full.contains(list.back().full) || window.contains(list.back().window)) << "a page that someone has";
    }
  }
  void one_step() {
    const int64_t s = random(1, kSequences), length = random(2, kPositions + 1);
    auto& list = lists[static_cast<size_t>(s)];
    switch (random(0, 9)) {
      case 0: case 1: case 2: return reserve(s, length);
      case 3:
        cache.drop_before(s, length);
        for (size_t b = 0; b < list.size(); ++b)
          if (static_cast<int64_t>(b + 1) * 32 <= length + 1 - kWindow) list[b].window = -1;
        return;
      case 4:
        cache.truncate(s, length);
        return list.resize(std::min(list.size(), static_cast<size_t>(length + 31) / 32));
      case 5:
        cache.release(s);
        return list.clear();
      case 6: {
        if (!list.empty()) return;
        const auto& from = lists[static_cast<size_t>(random(3, kSequences))];
        list.assign(from.begin(), from.begin() + random(4, static_cast<int64_t>(from.size()) + 1));
        return cache.adopt(s, list);
      }
      case 7:
        if (list.empty()) return;
        held.push_back(list[static_cast<size_t>(random(3, static_cast<int64_t>(list.size())))]);
        return cache.hold(held.back());
      default:
        if (held.empty()) return;
        std::swap(held[static_cast<size_t>(random(3, static_cast<int64_t>(held.size())))], held.back());
        cache.let_go(held.back());
        return held.pop_back();
    }
  }
};

TEST_F(OwnersOfPages, AreCountedThroughAnyOperations) {
  for (step = 0; step < 20000; ++step) {
    ASSERT_NO_FATAL_FAILURE(one_step()) << step;
    const auto [full, window] = owners();
    ASSERT_EQ(cache.free_pages(), kPages - static_cast<int64_t>(full.size())) << step;
    ASSERT_EQ(cache.free_window_pages(), kWindowPages - static_cast<int64_t>(window.size())) << step;
    for (int64_t s = 0; s < kSequences; ++s)
      for (int64_t b = 0; b < kPositions / 32; ++b) {
        const auto& list = lists[static_cast<size_t>(s)];
        const CachePage want = static_cast<size_t>(b) < list.size() ? list[static_cast<size_t>(b)] : CachePage{}, got = cache.page(s, b);
        ASSERT_TRUE(got.full == want.full && got.window == want.window) << step;
      }
  }
}

// ---- What the decoder computes ----

struct Fixture {
  Config config;
  Arena arena;
  Weights weights;
  Activations acts;
  explicit Fixture(const std::string& json) : config(tiny(json)), weights(make_weights(config, arena)) { make_values(config, weights); }

  std::vector<float> run(KvCache& cache, const std::vector<int32_t>& tokens, int64_t from, int64_t count, int32_t sequence = 0,
                         bool generated = false) {
    TokenBatch batch;
    append(batch, sequence, static_cast<int32_t>(from), {tokens.begin() + from, tokens.begin() + from + count});
    batch.generated.assign(batch.tokens.size(), generated);
    return run_batch(config, weights, batch, cache, acts).logits;
  }
};

class CacheOf : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, CacheOf, testing::Values(DType::f32, DType::i8), [](const auto& i) { return std::string(dtype_name(i.param)); });

TEST_P(CacheOf, DroppedWindowsDoNotMatter) {
  for (const int window : {1, 5, 40}) {
    Fixture f(tiny_gemma(R"(, "sliding_window": )" + std::to_string(window)));
    const std::vector<int32_t> tokens = tokens_of(128, 1, 61);
    KvCache whole(f.config, 1, 128, {.dtype = GetParam()});
    KvCache dropping(f.config, 1, 128, {.dtype = GetParam(), .window_pages = window == 40 ? 3 : 2});
    const std::vector<float> want = f.run(whole, tokens, 0, 128);
    std::vector<float> got;
    for (int64_t p = 0; p < 128;) {  // a chunk of the prompt, then one by one
      const int64_t count = p == 0 ? 30 : p < 60 ? 10 : 1;
      const std::vector<float> rows = f.run(dropping, tokens, p, count);
      got.insert(got.end(), rows.begin(), rows.end());
      p += count;
      dropping.drop_before(0, p);
    }
    EXPECT_EQ(got, want) << window;
    EXPECT_EQ(dropping.page(0, 1).window, -1);
    EXPECT_GE(dropping.page(0, 1).full, 0);
  }
}

TEST_P(CacheOf, SharedBeginningsDoNotMatter) {
  for (const std::string& json : {tiny_llama(), tiny_gemma(), tiny_deepseek()}) {
    Fixture f(json);
    const std::vector<int32_t> prefix = tokens_of(64, 1, 61);
    const auto followed = [&](uint64_t stream) {
      std::vector<int32_t> tokens = prefix;
      const std::vector<int32_t> more = tokens_of(20, stream, 61);
      tokens.insert(tokens.end(), more.begin(), more.end());
      return tokens;
    };
    KvCache cache(f.config, 3, 128, {.dtype = GetParam()});
    f.run(cache, prefix, 0, 64);
    const std::vector<CachePage> pages = pages_of(cache, 0, 2);
    for (const CachePage& page : pages) cache.hold(page);
    cache.release(0);
    const int64_t left = cache.free_pages();
    for (const int32_t s : {1, 2}) cache.adopt(s, pages);
    EXPECT_EQ(cache.free_pages(), left);
    for (const CachePage& page : pages) cache.let_go(page);
    for (const int32_t s : {1, 2}) {
      const std::vector<int32_t> tokens = followed(static_cast<uint64_t>(s) + 5);
      KvCache own(f.config, 1, 128, {.dtype = GetParam()});
      f.run(own, tokens, 0, 64);
      EXPECT_EQ(f.run(cache, tokens, 64, 20, s), f.run(own, tokens, 64, 20)) << s;
      if (s == 1) cache.release(1);
    }
    EXPECT_EQ(cache.free_pages(), cache.pages() - 3);
  }
}

TEST(KvCache, GuessesThatWereWrongLeaveNoTrace) {
  Fixture f(tiny_gemma());
  const std::vector<int32_t> tokens = tokens_of(80, 1, 61), wrong = tokens_of(80, 2, 61);
  KvCache straight(f.config, 1, 128), guessing(f.config, 1, 128);
  f.run(straight, tokens, 0, 60), f.run(guessing, tokens, 0, 60);
  f.run(guessing, wrong, 60, 20);
  guessing.truncate(0, 60);
  EXPECT_EQ(f.run(guessing, tokens, 60, 20), f.run(straight, tokens, 60, 20));
}

// 60 given tokens in chunks and 20 generated ones, beside another sequence or not: the logits of the first sequence.
std::vector<float> rounded_logits(Fixture& f, int64_t chunk, bool beside) {
  KvCache cache(f.config, 2, 128, {.dtype = DType::i8});
  const std::vector<int32_t> tokens = tokens_of(80, 1, 61), others = tokens_of(80, 2, 61);
  std::vector<float> all;
  for (int64_t p = 0; p < 80;) {
    const int64_t count = p < 60 ? std::min(chunk, 60 - p) : 1;
    TokenBatch batch;
    append(batch, 0, static_cast<int32_t>(p), {tokens.begin() + p, tokens.begin() + p + count});
    batch.generated.assign(batch.tokens.size(), p >= 60);
    if (beside) append(batch, 1, static_cast<int32_t>(p), {others.begin() + p, others.begin() + p + count});
    batch.generated.resize(batch.tokens.size(), p % 2 == 0);
    const Outputs out = run_batch(f.config, f.weights, batch, cache, f.acts);
    all.insert(all.end(), out.logits.begin(), out.logits.begin() + count * 61);
    p += count;
  }
  return all;
}

TEST(KvCache, InEightBitsTheBatchTheChunksThreadsAndWidthDoNotMatter) {
  const size_t before = threads();
  for (const std::string& json : {tiny_llama(), tiny_gemma(), tiny_deepseek()}) {
    Fixture f(json);
    set_threads(1);
    const std::vector<float> want = rounded_logits(f, 60, false);
    EXPECT_EQ(rounded_logits(f, 7, true), want);
    set_threads(3);
    EXPECT_EQ(rounded_logits(f, 1, false), want);
    EXPECT_EQ(rounded_logits(f, 33, true), want);
#if defined(__x86_64__)
    cpu::set_simd("avx2");
    EXPECT_EQ(rounded_logits(f, 20, true), want);
    cpu::set_simd("");
#endif
  }
  set_threads(before);
}

// Rounding moves the logits a little: both forms of latent attention alike.
TEST(KvCache, InEightBitsTheLogitsAreNear) {
  for (const std::string& json : {tiny_llama(), tiny_gemma(), tiny_deepseek()}) {
    Fixture f(json);
    const std::vector<int32_t> tokens = tokens_of(80, 1, 61);
    for (const bool generated : {false, true}) {
      KvCache exact(f.config, 1, 128), rounded(f.config, 1, 128, {.dtype = DType::i8});
      const std::vector<float> want = f.run(exact, tokens, 0, 80, 0, generated), got = f.run(rounded, tokens, 0, 80, 0, generated);
      double error = 0, size = 0;
      for (size_t i = 0; i < want.size(); ++i) error += std::pow(got[i] - want[i], 2), size += std::pow(want[i], 2);
      EXPECT_LT(std::sqrt(error / size), 0.02) << json << generated;
      EXPECT_GT(error, 0);
    }
  }
}

TEST(KvCache, ABatchWithoutRoomIsAnError) {
  Fixture f(tiny_llama());
  KvCache cache(f.config, 2, 64, {.pages = 2});
  const std::vector<int32_t> tokens = tokens_of(64, 1, 61);
  EXPECT_NO_THROW(f.run(cache, tokens, 0, 64, 0));
  try {
    f.run(cache, tokens, 0, 1, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no room for position 0 of a sequence: the cache has 2 pages of 32 tokens, all in use");
  }
}

}  // namespace
}  // namespace ds
