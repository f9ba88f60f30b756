#include "run/engine.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/stop.h"
#include "io/gguf.h"
#include "io/input.h"
#include "io/json.h"
#include "model/lora.h"
#include "model/mtp.h"

namespace ds {

void Throughput::add(uint64_t prefill, uint64_t decode, double seconds) {
  prefill_tokens += prefill;
  decode_tokens += decode;
  const double share = static_cast<double>(prefill) / static_cast<double>(std::max<uint64_t>(1, prefill + decode));
  prefill_seconds += seconds * share;
  decode_seconds += seconds * (1 - share);
}

Engine::Engine(const std::string& path, const EngineOptions& engine_options)
    : path(path), model(load_model(path, {.device = Device::cpu, .pack = true, .rounding = engine_options.rounding,
                                          .mtp = engine_options.mtp, .merge_adapter = engine_options.merge_adapter})),
      options(engine_options) {
  require(options.batch_tokens > 0 && options.batch_sequences > 0, "a batch of ", options.batch_tokens, " tokens and ",
          options.batch_sequences, " sequences");
  check_context(model.config, options.context);
  for (const std::string& given : options.adapters) {
    const AdapterPath named = adapter_path(given);
    for (const Adapter& other : adapters)
      if (other.name == named.name)
        throw UsageError(named.name.empty() ? "more than one adapter without a name: give NAME=DIR" : cat("two adapters have the name ", named.name));
    adapters.push_back(load_adapter(named.folder, model.config, AdapterUse::run_time));
    adapters.back().name = named.name;
  }
}

void check_context(const Config& config, int64_t context) {
  require(context <= config.max_position_embeddings, "a context of ", context, " tokens is longer than the ", config.max_position_embeddings,
          " positions of the model (max_position_embeddings in its config.json)");
}

AdapterPath adapter_path(const std::string& given) {
  const size_t equals = given.find('=');
  if (equals == std::string::npos || given.find('/') < equals) return {"", given};
  if (equals == 0) throw UsageError(cat("the adapter \"", given, "\" has an empty name: give NAME=DIR, or DIR"));
  return {given.substr(0, equals), given.substr(equals + 1)};
}

int32_t Engine::adapter(std::string_view name) const {
  for (size_t i = 0; i < adapters.size(); ++i)
    if (adapters[i].name == name) return static_cast<int32_t>(i);
  std::string names;
  for (const Adapter& other : adapters)
    if (!other.name.empty()) names += cat(names.empty() ? "" : ", ", other.name);
  require(name.empty(), "there is no adapter \"", name, "\"; given with --adapter: ", names.empty() ? "none with a name" : names);
  return -1;
}

bool Engine::has_tokenizer() const {
  if (!std::filesystem::is_directory(path)) {  // a .gguf brings its own, unless it says that it has none
    std::call_once(gguf_read_, [&] {
      const std::string kind(GgufFile(path).string_or("tokenizer.ggml.model", "none"));
      gguf_tokenizer_ = kind != "none" && kind != "no_vocab";
    });
    return gguf_tokenizer_;
  }
  return std::filesystem::exists(std::filesystem::path(path) / "tokenizer.json");
}

const Tokenizer& Engine::tokenizer() const {
  std::call_once(tokenizer_read_, [&] {
    require(has_tokenizer(), path, ": the model has no tokenizer: give token ids (\"tokens\"), or add the model's tokenizer");
    tokenizer_.emplace(path);
  });
  return *tokenizer_;
}

KvCache& Engine::cache(int64_t sequences, int64_t positions) {
  if (!cache_ || cache_->sequences() < sequences || cache_->max_positions() < positions) {
    // Powers of two, so that a stream of ever longer texts does not make a new one each time.
    const auto longest = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(positions)));
    const int64_t most = cache_ ? std::max(sequences, cache_->sequences()) : sequences;
    cache_.reset();
    cache_ = std::make_unique<KvCache>(model.config, most, std::max(positions, std::min(longest, max_length())),
                                       CacheOptions{.dtype = options.kv_cache_dtype});
  }
  for (int64_t s = 0; s < cache_->sequences(); ++s) cache_->release(s);
  return *cache_;
}

// The head for multi-token prediction has a layer of the cache.
static Config planned_config(const Engine& engine) { return engine.model.mtp ? with_mtp_layer(engine.model.config) : engine.model.config; }

MemoryPlan Engine::plan(uint64_t others) const {
  const Config c = planned_config(*this);
  MemoryNeeds needs{.weight_bytes = model.arena.bytes_used(), .tokens = has_tokenizer() ? tokenizer().vocab_size() : 0,
                    .sequences = options.batch_sequences, .positions = max_length(), .batch_tokens = options.batch_tokens,
                    .kv_cache_dtype = options.kv_cache_dtype, .adapters = !adapters.empty()};
  for (const Tensor* const t : {&model.weights.embed_tokens, &model.weights.lm_head})
    needs.reading_bytes = std::max(needs.reading_bytes, reading_bytes(t->rows(), t->cols(), dtype_bits(t->dtype), t->scales ? t->group_size : 0));
  for (const Adapter& adapter : adapters) needs.weight_bytes += adapter.arena.bytes_used();
  MemoryPlan plan = plan_memory(c, needs);
  plan.process += others;
  if (model.mtp) plan.activations *= 2;  // the head has its own
  if (options.memory) limit_memory(c, plan, options.memory);
  else limit_cache(c, plan, free_memory() / 2);
  if (options.pages) plan.options.pages = std::min(plan.options.pages, options.pages);
  return plan;
}

KvCache Engine::make_cache(uint64_t others) const {
  return KvCache(planned_config(*this), options.batch_sequences, max_length(), plan(others).options);
}

std::vector<int32_t> end_tokens(const Engine& engine) {
  const Config& config = engine.model.config;
  std::vector<int32_t> ids = config.eos_token_ids;
  if (config.eos_token_id >= 0) ids.push_back(config.eos_token_id);
  const auto file = std::filesystem::path(engine.path) / "generation_config.json";
  if (std::filesystem::exists(file)) {
    const Json json = parse_json_file(file.string(), kMaxConfigBytes);
    const std::string where = file.string() + ": eos_token_id";
    const Json* const eos = json.find("eos_token_id");
    const auto add = [&](const Json& one) {
      const int64_t id = one.as_int(where);
      require(id >= 0 && id < config.vocab_size, where, " is ", id, ", and the vocabulary has ", config.vocab_size);
      ids.push_back(static_cast<int32_t>(id));
    };
    if (eos && eos->type == Json::Type::array)
      for (const Json& one : eos->items) add(one);
    else if (eos && eos->type != Json::Type::null)
      add(*eos);
  }
  if (engine.has_tokenizer() && engine.tokenizer().eos_id()) ids.push_back(*engine.tokenizer().eos_id());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

void check_ids(const Config& config, std::span<const int32_t> ids) {
  for (const int32_t id : ids)
    require(id >= 0 && id < config.vocab_size, "token id ", id, " is not in the model's vocabulary of ", config.vocab_size);
}

int32_t prefix_token(const Engine& engine) {
  std::optional<int32_t> bos, eos;
  if (engine.has_tokenizer()) {
    bos = engine.tokenizer().bos_id(), eos = engine.tokenizer().eos_id();
  } else {
    if (engine.model.config.bos_token_id >= 0) bos = engine.model.config.bos_token_id;
    if (engine.model.config.eos_token_id >= 0) eos = engine.model.config.eos_token_id;
  }
  require(bos || eos, "a BOS or EOS token has to stand before a text without a beginning, and the model names neither");
  return bos ? *bos : *eos;
}

std::vector<int32_t> encode(const Engine& engine, std::string_view text) {
  const Tokenizer& tokenizer = engine.tokenizer();
  const bool begun = tokenizer.bos_id() && text.starts_with(tokenizer.token_bytes(*tokenizer.bos_id()));
  std::vector<int32_t> ids = tokenizer.encode(text, !begun);
  check_ids(engine.model.config, ids);
  return ids;
}

void run_sequences(Engine& engine, std::span<const std::span<const int32_t>> sequences, std::span<const int32_t> adapters,
                   const std::function<void(std::span<const Piece>)>& use) {
  int64_t longest = 0;
  for (const auto& tokens : sequences) longest = std::max(longest, static_cast<int64_t>(tokens.size()));
  require(longest <= engine.max_length(), "a sequence of ", longest, " tokens is longer than the model's ", engine.max_length(),
          " positions");
  require(adapters.empty() || adapters.size() == sequences.size(), sequences.size(), " sequences and ", adapters.size(), " numbers of adapters");
  if (longest == 0) return;
  const int64_t places = std::min<int64_t>(engine.options.batch_sequences, static_cast<int64_t>(sequences.size()));
  KvCache& cache = engine.cache(places, longest);
  size_t next = 0;      // the sequence under way
  int64_t done = 0;     // positions of it that are in the cache
  int64_t begun = 0;    // sequences before it that had any: its place in the cache is this one modulo places
  while (next < sequences.size()) {
    throw_if_stopped();
    const auto start = std::chrono::steady_clock::now();
    TokenBatch batch;
    std::vector<Piece> pieces;
    std::vector<int64_t> finished;
    int64_t room = engine.options.batch_tokens;
    while (next < sequences.size() && room > 0 && static_cast<int64_t>(pieces.size()) < places) {
      const auto tokens = sequences[next];
      const auto length = static_cast<int64_t>(tokens.size());
      const int64_t end = std::min(length, done + room);
      if (end > done) pieces.push_back({next, done, end, engine.options.batch_tokens - room});
      room -= end - done;
      for (; done < end; ++done) {
        batch.tokens.push_back(tokens[static_cast<size_t>(done)]);
        batch.sequences.push_back(static_cast<int32_t>(begun % places));
        batch.positions.push_back(static_cast<int32_t>(done));
        if (!adapters.empty()) batch.adapters.push_back(adapters[next]);
      }
      if (done < length) break;
      if (length) finished.push_back(begun++ % places);
      ++next;
      done = 0;
    }
    if (pieces.empty()) continue;
    forward(engine.model.config, engine.model.weights, batch, cache, engine.activations, engine.adapters);
    for (const int64_t place : finished) cache.release(place);
    use(pieces);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    engine.throughput.add(batch.tokens.size(), 0, seconds.count());
  }
}

void for_each_logits(Engine& engine, std::span<const int32_t> wanted,
                     const std::function<void(const Tensor& logits, size_t first)>& use) {
  const Config& config = engine.model.config;
  const auto chunk = static_cast<size_t>(logit_rows(config, static_cast<int64_t>(wanted.size())));
  Arena& arena = engine.logits;
  for (size_t first = 0; first < wanted.size(); first += chunk) {
    const auto count = static_cast<int64_t>(std::min(wanted.size() - first, chunk));
    arena.reset();
    const Tensor index = arena.make_uninitialized(DType::i32, {count});
    std::memcpy(index.data, &wanted[first], static_cast<size_t>(count) * sizeof(int32_t));
    const Tensor normed = arena.make_uninitialized(DType::f32, {count, config.hidden_size});
    gather_rows(engine.activations.final_normed, index, 1, normed);
    const Tensor logits = arena.make_uninitialized(DType::f32, {count, config.vocab_size});
    head(config, engine.model.weights, normed, logits);
    use(logits, first);
  }
}

}  // namespace ds
