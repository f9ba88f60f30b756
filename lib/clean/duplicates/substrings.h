// Long passages that stood before, in an earlier record of the stream or earlier in the same one: which bytes to take
// out. The aim is that of Lee et al., "Deduplicating Training Data Makes Language Models Better" (2022), which sorts a
// suffix array of the whole set; here it is one pass with a small index.
//
// Each text has anchors: in every stretch of min_length bytes, the k bytes of the smallest hash. Equal
// stretches have their anchor at the same place, so looking up the anchors of a text finds every stretch that stood
// before (Schleimer, Wilkerson, Aiken, "Winnowing: local algorithms for document fingerprinting", 2003). What an anchor
// proposes is then compared byte by byte with the earlier text, which lies in a spill file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "clean/duplicates/borders.h"
#include "clean/duplicates/repeats.h"
#include "clean/duplicates/slot_table.h"
#include "io/spill.h"

namespace ds {

// A place where a text is looked up.
struct TextAnchor {
  size_t position;  // in bytes
  uint64_t hash;    // XXH3-64 of its k bytes
};

// Takes out of a text every passage of at least `min_length` bytes, of whole characters, that stood, byte for byte, in
// a text settled before, or at least min_length bytes further left in the same text. Nothing else is taken out.
// What it can miss: the first 8 places of an anchor's bytes, k = max(min_length / 4, 12) of them, are remembered. Where
// there are more, so are the first 8 for these bytes with the (min_length - k) / 2 on their left, and on their right.
// A passage is lost only where all that stands at 8 earlier places, none of them in that passage (on 45 MB of
// documentation 0.4 % of the bytes that stood before).
// Memory: 10 to 12.5 bytes an anchor; there is one in about 3/8 min_length bytes of a text (76 bytes at 200), and none
// in passages that are taken out; 0.4 MB before the first. Disk: the bytes of every text that is not all repeats. At
// most 1 TiB of text.
class RepeatedSubstrings {
 public:
  static constexpr size_t shortest = 32;      // bytes: the least min_length
  static constexpr size_t longest = 1 << 20;  // and the largest; UsageError beyond them

  // With `whole_sentences` a passage is cut back to whole sentences, and taken out if these still have min_length
  // bytes. A sentence ends at a line end, after . ! ? and closing quotes or brackets before white space, and after
  // 。！？.
  RepeatedSubstrings(size_t min_length, bool whole_sentences, Spill texts = Spill());

  // The half that may run on any thread, before or after the records before it are settled. A text that is not UTF-8
  // (the byte FF) is an Error.
  std::vector<TextAnchor> prepare(std::string_view text) const;
  // In the order of the stream, for records that are kept: finds what stood before, and remembers what is new.
  TextRemoval settle(std::string_view text, const std::vector<TextAnchor>& anchors);

  // What it cost so far: anchors looked up, those of them with more places than are remembered; earlier places that
  // were compared, and how many bytes.
  struct Work {
    uint64_t looked_up = 0, common = 0, compared = 0, bytes = 0;
  };
  const Work& work() const { return work_; }
  uint64_t memory() const { return places_.memory(); }  // bytes
  uint64_t spilled() const { return texts_.size(); }    // bytes

 private:
  struct Search;
  bool look_up(Search& search, size_t position, uint64_t hash);
  bool remember(const Search& search, TextRange around, size_t position, uint64_t hash);

  size_t min_length_, anchor_length_;
  bool whole_sentences_;
  Spill texts_;                    // the texts, each followed by the byte FF, which no UTF-8 has
  SlotTable<24> places_;           // 24 bits of an anchor's hash, then its place in texts_ + 1
  std::vector<uint64_t> of_hash_;  // the places of the hash at hand
  Work work_;
};

}  // namespace ds
