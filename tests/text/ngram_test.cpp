// The byte model: probabilities sum to one, agree with a plain Kneser-Ney computation, and do not depend on threads.
#include "text/ngram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"

namespace ds {
namespace {

std::string sample_text(size_t size, uint64_t seed) {
  const Rng rng{seed, 3};
  const char* words[] = {"the ", "cat ", "sat ", "on ", "a mat", ".\n", "dog ", "and ", "ran ", "over "};
  std::string text;
  for (uint64_t at = 0; text.size() < size; ++at) text += words[rng.below(at, 10)];
  return text;
}

NgramModel fit(const std::vector<std::string>& texts, NgramOptions options = {}) {
  NgramTrainer trainer(options);
  for (const std::string& text : texts) trainer.add(text);
  return trainer.train();
}

// Modified Kneser-Ney straight from the paper, by maps and recursion.
struct Plain {
  int order;
  std::vector<std::map<std::string, double>> counts;  // by length - 1
  Plain(const std::vector<std::string>& texts, int order) : order(order), counts(static_cast<size_t>(order) + 1) {
    const auto n = static_cast<size_t>(order) + 1;
    for (const std::string& text : texts) {
      const std::string padded = std::string(n - 1, '\n') + text;
      for (size_t i = 0; i + n <= padded.size(); ++i) counts[n - 1][padded.substr(i, n)] += 1;
    }
    for (size_t length = n - 1; length > 0; --length)
      for (const auto& [gram, count] : counts[length]) counts[length - 1][gram.substr(1)] += 1;
  }
  double discount(size_t level, double count) const {
    double n[5] = {};
    for (const auto& [gram, c] : counts[level])
      if (c < 5) n[static_cast<int>(c)] += 1;
    const double c = std::min(count, 3.0);
    if (n[1] == 0 || n[2] == 0 || n[3] == 0 || n[4] == 0) return c * 0.5;
    const auto i = static_cast<size_t>(c);
    return std::clamp(c - (c + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i], 0.05 * c, 0.95 * c);
  }
  double probability(const std::string& context, char byte) const {
    const size_t level = context.size();
    double total = 0, taken = 0, own = 0;
    for (const auto& [gram, count] : counts[level])
      if (gram.substr(0, level) == context) {
        total += count;
        taken += discount(level, count);
        if (gram.back() == byte) own = count - discount(level, count);
      }
    const double shorter = level == 0 ? 1.0 / 256 : probability(context.substr(1), byte);
    return total == 0 ? shorter : (own + taken * shorter) / total;
  }
};

TEST(Ngram, AgreesWithThePaper) {
  const std::vector<std::string> texts = {sample_text(400, 1), "abc", "", sample_text(300, 2)};
  const NgramModel model = fit(texts, {.order = 3});
  const Plain plain(texts, 3);
  for (const std::string context : {"the", "on ", "t t", "\n\n\n", "zzz", "zhe", "zze", ".\nt"})
    for (const char byte : {'e', ' ', 't', 'a', '\n', 'z', '\0'})
      EXPECT_NEAR(model.probability(context, static_cast<uint8_t>(byte)), plain.probability(context, byte),
                  2e-6 * plain.probability(context, byte))
          << context << " " << byte;
}

TEST(Ngram, ProbabilitiesSumToOne) {
  for (const int order : {1, 5, 6}) {
    const NgramModel model = fit({sample_text(5000, 4)}, {.order = order});
    for (const std::string context : {"", "the cat", "xyzxyz", "at on ", "\xff"}) {
      double sum = 0;
      for (int byte = 0; byte < 256; ++byte) {
        const double p = model.probability(context, static_cast<uint8_t>(byte));
        EXPECT_GT(p, 0);
        sum += p;
      }
      EXPECT_NEAR(sum, 1, 1e-5) << order << " " << context;
    }
  }
}

TEST(Ngram, ATextIsTheSumOfItsBytes) {
  const NgramModel model = fit({sample_text(5000, 4)});
  const std::string text = "the cat zat";
  double sum = 0;
  for (size_t i = 0; i < text.size(); ++i)
    sum += std::log2(model.probability(text.substr(0, i), static_cast<uint8_t>(text[i])));
  EXPECT_NEAR(model.log2_probability(text), sum, 1e-9);
  EXPECT_EQ(model.log2_probability(""), 0);
  // Ten equally likely words of 4.1 bytes on average: log2(10) / 4.1 bits a byte is the best there is.
  const std::string held_out = sample_text(20000, 5);
  const double bits = -fit({sample_text(200000, 6)}).log2_probability(held_out) / static_cast<double>(held_out.size());
  EXPECT_LT(bits, 0.90);
  EXPECT_GT(bits, 0.78);
}

TEST(Ngram, UntrainedIsUniform) {
  EXPECT_NEAR(fit({}).log2_probability("abcd"), -32, 1e-9);
}

TEST(Ngram, SameBitsForAnyThreadsAndBoundedSize) {
  const std::string text = sample_text(300000, 7) + std::string(1, '\0') + "\xff\xfe";
  double results[2];
  for (const size_t count : {1, 2}) {
    set_threads(count);
    const NgramModel model = fit({text, text.substr(1000)}, {.max_ngrams = 640});
    EXPECT_LE(model.ngrams(), 3000u);
    results[count - 1] = model.log2_probability(text);
  }
  set_threads(0);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_LT(-results[0] / static_cast<double>(text.size()), 2.0);
}

TEST(Ngram, RefusesOtherOrders) {
  EXPECT_THROW(NgramTrainer({.order = 0}), UsageError);
  EXPECT_THROW(NgramTrainer({.order = 7}), UsageError);
}

}  // namespace
}  // namespace ds
