// The nearest texts of each text. FAISS proposes, exact cosines decide.
#pragma once
#include <cstdint>
#include <vector>

#include "augment/embedding.h"

namespace ds {

struct Neighbor {
  uint32_t index;
  double cosine;
  bool operator==(const Neighbor&) const = default;
};

// For each row the `count` others of the highest cosine, equal ones in ascending order of index; zero rows have none
// and are nobody's. Up to 2^16 different rows are searched exhaustively, more by HNSW (approximate, one thread builds).
std::vector<std::vector<Neighbor>> nearest_neighbors(const Embeddings& embeddings, size_t count);

}  // namespace ds
