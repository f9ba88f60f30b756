#include "augment/embedding.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "text/words.h"

namespace ds {
namespace {

constexpr int feature_bits = 20;

struct Feature {
  uint32_t id, times;
};

// The distinct features of a text in ascending order.
std::vector<Feature> features_of(std::string_view text) {
  const std::vector<uint64_t> words = word_hashes(text);
  std::vector<uint32_t> ids;
  ids.reserve(words.size() * 2);
  for (size_t i = 0; i < words.size(); ++i) {
    ids.push_back(static_cast<uint32_t>(words[i] >> (64 - feature_bits)));
    if (i) ids.push_back(static_cast<uint32_t>((words[i - 1] * 0x9e3779b97f4a7c15u ^ words[i]) * 0xd6e8feb86659fd93u >>
                                               (64 - feature_bits)));
  }
  std::sort(ids.begin(), ids.end());
  std::vector<Feature> features;
  for (const uint32_t id : ids) {
    if (features.empty() || features.back().id != id) features.push_back({id, 0});
    ++features.back().times;
  }
  return features;
}

// Adds weight times the random signs of a feature.
void add_projected(std::vector<double>& sum, uint32_t feature, double weight, uint64_t seed) {
  const Rng rng{seed, feature};
  for (size_t j = 0; j < sum.size(); j += 64) {
    const uint64_t signs = rng.bits(j / 64);
    const size_t count = std::min<size_t>(64, sum.size() - j);
    for (size_t b = 0; b < count; ++b) sum[j + b] += signs >> b & 1 ? weight : -weight;
  }
}

}  // namespace

Embeddings embed_texts(const std::vector<std::string_view>& texts, size_t dimension, uint64_t seed) {
  std::vector<std::vector<Feature>> features(texts.size());
  parallel_for(texts.size(), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) features[i] = features_of(texts[i]);
  });
  std::vector<uint32_t> texts_with(size_t{1} << feature_bits);
  for (const auto& list : features)
    for (const Feature& feature : list) ++texts_with[feature.id];

  Embeddings out{dimension, {}};
  out.values.resize(checked_mul(texts.size(), dimension, "embeddings"));
  const double all = 1.0 + static_cast<double>(texts.size());
  parallel_for(texts.size(), 16, [&](size_t begin, size_t end) {
    std::vector<double> sum(dimension);
    for (size_t i = begin; i < end; ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (const Feature& f : features[i]) {
        // A feature of every text keeps a little weight, so that a text of such features alone is not zero.
        const double rarity = math::log(all / (1.0 + texts_with[f.id])) + 1e-3;
        add_projected(sum, f.id, (1.0 + math::log(f.times)) * rarity, seed);
      }
      double norm = 0;
      for (const double x : sum) norm += x * x;
      if (norm == 0) continue;
      const double scale = 1 / std::sqrt(norm);
      for (size_t j = 0; j < dimension; ++j) out.values[i * dimension + j] = static_cast<float>(sum[j] * scale);
      std::vector<Feature>().swap(features[i]);
    }
  });
  return out;
}

double cosine(const Embeddings& embeddings, size_t a, size_t b) {
  const float *x = embeddings.row(a), *y = embeddings.row(b);
  double sum = 0;
  for (size_t j = 0; j < embeddings.dimension; ++j) sum += static_cast<double>(x[j]) * y[j];
  return std::min(sum, 1.0);
}

}  // namespace ds
