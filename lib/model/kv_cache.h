// Keys and values of sequences in pages of kKeyBlock positions: what is kept of each token, who owns which page, and how
// sequences share them.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "model/config.h"
#include "tensor/tensor.h"

namespace ds {

// What a cache is for. Latent attention: inference keeps of each position only the latent vector and the shared rotated
// key (from which the keys and values of given tokens are computed again, and which generated tokens attend to as they
// are); training keeps the keys and values of all heads, which backward reads. Otherwise the two are the same.
enum class CacheUse : uint8_t { inference, training };

struct CacheOptions {
  CacheUse use = CacheUse::inference;
  // f32; or i8 (inference only): key and value vectors are rounded to 8 bits, 32 columns with a scale of their own, max |x|
  // / 127 in f32. Half-way cases go to the even integer. Columns of a latent vector and of a rotated key share no scale.
  DType dtype = DType::f32;
  // Pages that there are of layers that keep all keys, and of windowed ones; 0: as many as all sequences could need.
  int64_t pages = 0, window_pages = 0;
  Device device = Device::cpu;
};

// A block of kKeyBlock positions as it lies in the cache: its page in the layers that keep all keys, and that in the
// windowed layers. -1: there is none (no such layers, or it was dropped).
struct CachePage {
  int32_t full = -1, window = -1;
};

// Pages are counted by reference: a page is free again when no sequence and no one else holds it. Memory is touched page
// by page as they are first taken, so `sequences` x `max_positions` costs address space only. The tables of rotations
// are here too. One thread at a time.
class KvCache {
 public:
  KvCache(const Config& config, int64_t sequences, int64_t max_positions, const CacheOptions& options = {});
  ~KvCache();
  KvCache(KvCache&&) noexcept;

  // Makes room for positions [0, length) of a sequence. False, with nothing changed, where too few pages are free.
  // Pages that were dropped by drop_before stay so.
  [[nodiscard]] bool reserve(int64_t sequence, int64_t length);
  // Lets go of the pages of windowed layers which no row from `position` on sees; earlier rows cannot be computed again
  // then. Does nothing without a window.
  void drop_before(int64_t sequence, int64_t position);
  // Lets go of the pages behind the first `length` positions (guesses that were wrong).
  void truncate(int64_t sequence, int64_t length);
  void release(int64_t sequence);                    // all pages of a sequence

  // Sharing. A sequence without pages begins with these, which hold whole blocks of the same tokens at the same positions
  // (and of latent caches, in the same forms). They must be held by someone. Where the rows to come see no windowed page of
  // a block, it may be -1. Nothing copies on write: shared blocks are complete, and no row of them is computed again.
  void adopt(int64_t sequence, std::span<const CachePage> pages);
  CachePage page(int64_t sequence, int64_t block) const;
  void hold(CachePage page);                         // one reference more
  void let_go(CachePage page);                       // one less

  int64_t sequences() const, max_positions() const;
  bool has_full_layers() const, has_window_layers() const;
  int64_t pages() const, window_pages() const;       // in all
  int64_t free_pages() const, free_window_pages() const;
  // Bytes of a page in all layers that keep all keys, and in all windowed ones.
  static size_t page_bytes(const Config& config, const CacheOptions& options = {});
  static size_t window_page_bytes(const Config& config, const CacheOptions& options = {});

  // For the decoder. page_table is i32[sequences, blocks]; cos and sin are [max_positions, rope_dim / 2], or empty where nothing is rotated. Pages are as in
  // tensor/ops.h; of i8 they have scales. A latent cache has one head: its keys are [latent | rotated key], its values the
  // latent vectors.
  bool latent() const;
  Tensor k_pages(int64_t layer) const, v_pages(int64_t layer) const, page_table(int64_t layer) const;
  // What a layer's pattern keeps with its pages (tensor/ops.h: PatternPages); empty where it keeps nothing.
  Tensor pattern_state(int64_t layer) const;
  Tensor cos(int64_t layer) const, sin(int64_t layer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
