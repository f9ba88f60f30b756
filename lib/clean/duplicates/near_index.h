// Near duplicates in a stream: for each text, the earlier texts whose sets of shingles are about the same.
//
// MinHash bands propose (text/minhash.h), 128 bits of the signatures weed out, and the sets of shingles, made again
// from the earlier text, decide exactly: nothing is dropped that is not near, and a pair at the threshold is missed
// with probability 0.0005, one well above it practically never. Texts lie in a file (io/spill.h); memory holds at 0.8
// at most 196 bytes a text: 15 table entries of 8 bytes, 71 to 80 % full, and 24 bytes more.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clean/duplicates/hash_index.h"
#include "clean/duplicates/index_log.h"
#include "io/mapped_memory.h"
#include "io/spill.h"
#include "text/minhash.h"
#include "text/shingles.h"

namespace ds {

struct NearOptions {
  double threshold = 0.8;  // smallest Jaccard index of near duplicates; 0 < threshold <= 1
  ShingleKind shingle;
  uint64_t seed = 0;  // of the MinHash functions
};

// What the index needs of a text; made on any thread.
struct NearSketch {
  std::vector<uint64_t> shingles;  // in their order, with repeats
  std::vector<uint64_t> keys;      // a hash a band
  std::array<uint64_t, 2> bits{};  // the two lowest bits of 64 MinHash values
};

struct NearMatch {
  uint32_t of = 0;  // the number of the earlier text
  double jaccard = 0;
};

class NearIndex {
 public:
  // `folder` empty: a new index in memory, its texts in a temporary file. Else an index in that folder, whose texts up
  // to the mark are loaded and later ones forgotten. Error where the folder does not hold them.
  explicit NearIndex(const NearOptions& options, const std::string& folder = "", const LogMark& mark = {});

  // Any thread. `words` are those of the text (words.h), where they are known already.
  NearSketch sketch(std::string_view text, const std::vector<uint64_t>* words = nullptr) const;

  // The earlier texts of Jaccard index >= threshold, best first, the earliest among equals. All where the bands propose
  // at most 256; else the most promising are compared until one is found and 256 were.
  std::vector<NearMatch> matches(const NearSketch& sketch);
  // The first of them.
  std::optional<NearMatch> best(const NearSketch& sketch);
  // Adds a text under the number size(). Do not add one whose set is there already (a match of Jaccard 1): it would
  // only make the search longer.
  void add(const NearSketch& sketch, std::string_view id, uint32_t cluster, std::string_view text);

  // Of two texts of the index, whatever the threshold.
  double jaccard(uint32_t a, uint32_t b);

  uint32_t size() const { return size_; }
  std::string id(uint32_t text) const;  // as it was given
  uint32_t cluster(uint32_t text) const;
  std::string text(uint32_t text) const;
  // Writes out what belongs into the folder; opening it with mark() finds all texts.
  void flush();
  LogMark mark() const;

  // What it cost so far, for the report.
  struct Work {
    uint64_t proposed = 0, compared = 0, memory_bytes = 0, spilled_bytes = 0;
  };
  Work work() const;
  const MinHashShape& shape() const { return hasher_.shape(); }

 private:
  struct Document {
    std::array<uint64_t, 2> bits;
    uint64_t place;  // in texts_
  };
  struct Slot {
    uint32_t hash, value_plus_1;
  };
  struct Candidate {
    uint32_t text, agreement;
  };
  struct Header {
    uint32_t cluster, id_bytes, text_bytes;
  };
  void load(const std::string& folder, const LogMark& mark);
  void enter(const Document& document, const uint32_t* keys);
  void propose(const NearSketch& sketch);
  const std::vector<uint64_t>& set_of(uint32_t text);
  std::optional<double> compare(uint32_t text);
  Header header(uint32_t text) const;
  const Document& document(uint32_t text) const { return reinterpret_cast<const Document*>(documents_.data())[text]; }

  NearOptions options_;
  MinHasher hasher_;
  uint32_t least_agreement_;  // of 64 two-bit values, that a pair at the threshold nearly always reaches
  HashIndex<Slot> bands_;
  MappedMemory documents_;
  uint32_t size_ = 0;
  Spill texts_;
  std::optional<IndexLog> log_;  // of a folder: Document and keys of each text
  struct Cached {
    uint32_t text_plus_1 = 0;
    std::vector<uint64_t> set;
  };
  std::vector<Cached> cache_;  // distinct shingles of texts that were compared lately
  ShingleTable current_, other_;
  std::vector<uint32_t> proposed_;
  std::vector<Candidate> candidates_;
  Work work_;
};

}  // namespace ds
