// A loaded model and the batches that run through it. What a request gets never depends on the requests beside it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "run/memory.h"
#include "text/tokenizer.h"

namespace ds {

struct EngineOptions {
  int64_t batch_tokens = 2048;     // rows of one forward pass at most
  int64_t batch_sequences = 64;    // sequences under way at once at most
  int64_t context = 0;             // positions of a sequence at most, prompt and answer; 0: as many as the model has, more
                                   // is an Error
  uint64_t memory = 0;             // bytes that the process may take (run/memory.h); 0: the cache may take half of what the
                                   // machine has free
  int64_t pages = 0;               // of the cache at most, in layers that keep all keys; 0: what the memory allows
  DType kv_cache_dtype = DType::f32;         // or i8
  ActivationRounding rounding = ActivationRounding::as_stored;
  bool mtp = false;                          // load the model's head for multi-token prediction too
  std::string merge_adapter = {};            // a folder whose LoRA adapter is merged into the weights at load
  std::vector<std::string> adapters = {};    // "NAME=DIR" or "DIR": LoRA adapters that requests choose by name
};

// Rows that went through the model: given tokens (prefill) and sampled ones (decode). The time of a pass that has both is
// split by their numbers.
struct Throughput {
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  void add(uint64_t prefill, uint64_t decode, double seconds);
};

// A model loaded for inference. One caller at a time; its work is spread over all threads.
struct Engine {
  // A model folder or a .gguf file. Two adapters of one name, or two without, are a UsageError.
  explicit Engine(const std::string& model, const EngineOptions& options = {});

  std::string path;
  Model model;
  EngineOptions options;
  std::vector<Adapter> adapters;
  Activations activations;         // after_layer may be set to watch (expert load)
  Arena logits;                    // for_each_logits' own: kept, since a pass that took fresh memory would wait for the system
  Throughput throughput;

  int64_t max_length() const { return options.context ? options.context : model.config.max_position_embeddings; }
  // The number of the adapter of this name; Error where there is none. Of the one without a name (""): -1 then.
  int32_t adapter(std::string_view name) const;
  // The tokenizer is read at the first call, from any thread: records of ids need none. Error where the model has none.
  const Tokenizer& tokenizer() const;
  bool has_tokenizer() const;
  // A cache with room for so many sequences and positions each, all of them free. It is the engine's, and the next call
  // may replace it.
  KvCache& cache(int64_t sequences, int64_t positions);
  // The memory of batch_sequences of max_length() positions, with as many pages of the cache as options.memory allows beside
  // `others` (bytes of other models, a cache of answers). Error where that is not enough for one sequence of a page. Where
  // the head for multi-token prediction is loaded, the cache has a layer for that too.
  MemoryPlan plan(uint64_t others = 0) const;
  KvCache make_cache(uint64_t others = 0) const;

 private:
  std::unique_ptr<KvCache> cache_;
  mutable std::once_flag tokenizer_read_, gguf_read_;
  mutable bool gguf_tokenizer_ = false;
  mutable std::optional<Tokenizer> tokenizer_;
};

// "NAME=DIR" or "DIR"; what stands before the first "=" is a name where there is no "/" in it.
struct AdapterPath {
  std::string name, folder;
};
AdapterPath adapter_path(const std::string& given);

// Error where `context` (0: all) is more than the model has positions.
void check_context(const Config& config, int64_t context);

// Error unless every id is one of the model's vocabulary.
void check_ids(const Config& config, std::span<const int32_t> ids);

// The token that a text without a beginning is conditioned on: BOS, else EOS, as the tokenizer names them, or where there
// is no tokenizer the config. Error where there is neither.
int32_t prefix_token(const Engine& engine);

// The tokens that end an answer: all of config.json and generation_config.json, and the tokenizer's EOS.
std::vector<int32_t> end_tokens(const Engine& engine);

// The ids of a text with the special tokens that the tokenizer adds; none are added to a text that begins with BOS itself.
// An id that the model does not have is an Error.
std::vector<int32_t> encode(const Engine& engine, std::string_view text);

// A part of a sequence in one forward pass: its positions [begin, end) are rows [row, row + end - begin) of final_normed.
struct Piece {
  size_t sequence;
  int64_t begin, end, row;
};
// Runs sequences of given tokens through the model, one after the other, batch_tokens rows at a time (so a long one in
// pieces), and calls use(pieces) after each pass. Each is at most max_length() long; an empty one gets no piece.
// `adapters` has the number of each sequence's adapter, -1 for none; empty: none has one.
void run_sequences(Engine& engine, std::span<const std::span<const int32_t>> sequences, std::span<const int32_t> adapters,
                   const std::function<void(std::span<const Piece>)>& use);

// The logits of some rows of final_normed, some of them at a time so that memory stays bounded: use(logits[n, V], first)
// gets those of wanted[first .. first + n).
void for_each_logits(Engine& engine, std::span<const int32_t> wanted,
                     const std::function<void(const Tensor& logits, size_t first)>& use);

}  // namespace ds
