#include "augment/neighbors.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/stop.h"

namespace ds {
namespace {

constexpr size_t most_exhaustive = size_t{1} << 16;
constexpr size_t margin = 16;  // more proposals than asked for: FAISS rounds as the processor likes
constexpr size_t queries_at_once = 4096;

// Rows with the same bits, which no search could tell apart.
struct Groups {
  std::vector<std::vector<uint32_t>> members;  // ascending
  std::vector<float> rows;                     // of the first member of each
};

Groups group_rows(const Embeddings& e) {
  Groups groups;
  std::unordered_map<std::string_view, uint32_t> known;
  for (size_t i = 0; i < e.size(); ++i) {
    const float* row = e.row(i);
    if (std::all_of(row, row + e.dimension, [](float x) { return x == 0; })) continue;
    const std::string_view bytes(reinterpret_cast<const char*>(row), e.dimension * sizeof(float));
    const auto [at, fresh] = known.emplace(bytes, static_cast<uint32_t>(groups.members.size()));
    if (fresh) {
      groups.members.emplace_back();
      groups.rows.insert(groups.rows.end(), row, row + e.dimension);
    }
    groups.members[at->second].push_back(static_cast<uint32_t>(i));
  }
  return groups;
}

std::unique_ptr<faiss::Index> build_index(const Groups& groups, size_t dimension) {
  const auto d = static_cast<int>(dimension);
  std::unique_ptr<faiss::Index> index;
  if (groups.members.size() <= most_exhaustive) {
    index = std::make_unique<faiss::IndexFlatIP>(d);
  } else {
    auto hnsw = std::make_unique<faiss::IndexHNSWFlat>(d, 32, faiss::METRIC_INNER_PRODUCT);
    hnsw->hnsw.efSearch = 128;
    index = std::move(hnsw);
  }
  omp_set_num_threads(1);  // the graph depends on the order of insertion
  index->add(static_cast<faiss::Index::idx_t>(groups.members.size()), groups.rows.data());
  omp_set_num_threads(static_cast<int>(threads()));
  return index;
}

}  // namespace

std::vector<std::vector<Neighbor>> nearest_neighbors(const Embeddings& embeddings, size_t count) {
  require(embeddings.size() < (size_t{1} << 31), "too many texts to find neighbours among");
  std::vector<std::vector<Neighbor>> result(embeddings.size());
  const Groups groups = group_rows(embeddings);
  const size_t total = groups.members.size(), wanted = std::min(total, count + 1 + margin);
  if (!total || !count) return result;
  const auto index = build_index(groups, embeddings.dimension);
  std::vector<float> scores(queries_at_once * wanted);
  std::vector<faiss::Index::idx_t> found(queries_at_once * wanted);
  for (size_t first = 0; first < total; first += queries_at_once) {
    throw_if_stopped();
    progress({"neighbours", "text", first, total, ""});
    const size_t queries = std::min(queries_at_once, total - first);
    index->search(static_cast<faiss::Index::idx_t>(queries), groups.rows.data() + first * embeddings.dimension,
                  static_cast<faiss::Index::idx_t>(wanted), scores.data(), found.data());
    parallel_for(queries, 16, [&](size_t begin, size_t end) {
      for (size_t q = begin; q < end; ++q) {
        for (const uint32_t self : groups.members[first + q]) {
          auto& list = result[self];
          // Texts of the same bits are proposed whatever the search says.
          std::vector<size_t> proposed = {first + q};
          for (size_t i = 0; i < wanted; ++i)
            if (const auto g = found[q * wanted + i]; g >= 0 && static_cast<size_t>(g) != first + q)
              proposed.push_back(static_cast<size_t>(g));
          for (const size_t g : proposed) {
            size_t taken = 0;
            for (const uint32_t other : groups.members[g]) {
              if (other == self) continue;
              if (taken++ == count) break;
              list.push_back({other, cosine(embeddings, self, other)});
            }
          }
          std::sort(list.begin(), list.end(), [](const Neighbor& a, const Neighbor& b) {
            return a.cosine != b.cosine ? a.cosine > b.cosine : a.index < b.index;
          });
          if (list.size() > count) list.resize(count);
        }
      }
    });
  }
  return result;
}

}  // namespace ds
