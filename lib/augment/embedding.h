// Texts as vectors without a model: TF-IDF of hashed words and word pairs, projected at random.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace ds {

// Row-major, one row a text; every row has norm 1, or is zero for a text without words.
struct Embeddings {
  size_t dimension = 0;
  std::vector<float> values;
  size_t size() const { return dimension ? values.size() / dimension : 0; }
  const float* row(size_t i) const { return values.data() + i * dimension; }
};

// Features are the words and the pairs of neighbouring words, hashed to 2^20; a feature of a text weighs
// (1 + log(times)) * log((1 + texts) / (1 + texts with it)) + tiny, and adds to each coordinate with a random sign that
// depends on seed and feature only (Achlioptas, "Database-friendly random projections", 2003).
// Sums run in the order of the features, so the bits depend on the texts, the seed and the dimension only.
Embeddings embed_texts(const std::vector<std::string_view>& texts, size_t dimension, uint64_t seed);

// The cosine of two rows, in double and in a fixed order.
double cosine(const Embeddings& embeddings, size_t a, size_t b);

}  // namespace ds
