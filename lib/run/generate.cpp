#include "run/generate.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/stop.h"
#include "io/json.h"

namespace ds {

std::vector<int32_t> end_tokens(const Engine& engine) {
  const Config& config = engine.model.config;
  std::vector<int32_t> ids = config.eos_token_ids;
  if (config.eos_token_id >= 0) ids.push_back(config.eos_token_id);
  const auto file = std::filesystem::path(engine.path) / "generation_config.json";
  if (std::filesystem::exists(file)) {
    const Json json = parse_json_file(file.string());
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

namespace {

struct Sequence {
  size_t request = 0;
  int64_t place = 0;           // its sequence index in the cache
  int64_t done = 0;            // positions in the cache
  int64_t given = 0;           // tokens of the prompt
  std::vector<int32_t> tokens; // prompt and generated
  TokenCounts counts;          // only where there are penalties
};

// One call of generate(): what waits, what is under way, what is done.
class Generation {
 public:
  Generation(Engine& engine, std::span<const GenerateRequest> requests, const Sampling& sampling, uint64_t seed)
      : engine_(engine), config_(engine.model.config), requests_(requests), sampling_(sampling), seed_(seed),
        ends_(sampling.ignore_eos ? std::vector<int32_t>{} : end_tokens(engine)), results_(requests.size()) {}

  std::vector<GenerateResult> run() {
    const auto places = std::min<size_t>(static_cast<size_t>(engine_.options.batch_sequences), requests_.size());
    const int64_t longest = check();
    if (places == 0) return {};
    if (sampling_.max_tokens <= 0) {
      for (auto& result : results_) result.finish_reason = "length";
      return std::move(results_);
    }
    KvCache& cache = engine_.cache(static_cast<int64_t>(places), longest);
    free_places_.resize(places);
    std::iota(free_places_.rbegin(), free_places_.rend(), 0);
    while (next_ < requests_.size() || !active_.empty()) {
      throw_if_stopped();
      while (next_ < requests_.size() && !free_places_.empty()) enter();
      pass(cache);
    }
    return std::move(results_);
  }

 private:
  // Returns how many positions the longest answer may reach.
  int64_t check() const {
    int64_t longest = 0;
    for (const auto& request : requests_) {
      require(!request.tokens.empty(), "a prompt needs at least one token");
      check_ids(config_, request.tokens);
      const auto length = static_cast<int64_t>(request.tokens.size());
      require(length <= engine_.max_length(), "a prompt of ", length, " tokens is longer than the model's ", engine_.max_length(),
              " positions");
      const int64_t room = engine_.max_length() - length;
      longest = std::max(longest, length + std::clamp<int64_t>(sampling_.max_tokens, 0, room));
    }
    return longest;
  }

  void enter() {
    const std::vector<int32_t>& prompt = requests_[next_].tokens;
    Sequence sequence{next_, free_places_.back(), 0, static_cast<int64_t>(prompt.size()), prompt, {}};
    if (has_penalties(sampling_))
      for (const int32_t id : prompt) sequence.counts.see(id, false);
    active_.push_back(std::move(sequence));
    free_places_.pop_back();
    ++next_;
  }

  // Adds the next rows of a sequence to the batch, as many as fit; true where the last of its tokens is among them.
  bool add_rows(Sequence& s, int64_t room, TokenBatch& batch) const {
    const auto length = static_cast<int64_t>(s.tokens.size());
    for (const int64_t end = std::min(length, s.done + room); s.done < end; ++s.done) {
      batch.tokens.push_back(s.tokens[static_cast<size_t>(s.done)]);
      batch.sequences.push_back(static_cast<int32_t>(s.place));
      batch.positions.push_back(static_cast<int32_t>(s.done));
      batch.generated.push_back(s.done >= s.given);
      batch.adapters.push_back(requests_[s.request].adapter);
    }
    return s.done == length;
  }

  // One forward pass, and a token for each sequence whose last one was in it.
  void pass(KvCache& cache) {
    const auto start = std::chrono::steady_clock::now();
    TokenBatch batch;
    std::vector<Sequence*> ready;
    std::vector<int32_t> rows;
    for (Sequence& sequence : active_) {
      const int64_t room = engine_.options.batch_tokens - static_cast<int64_t>(batch.tokens.size());
      if (room <= 0) break;
      if (!add_rows(sequence, room, batch)) continue;
      ready.push_back(&sequence);
      rows.push_back(static_cast<int32_t>(batch.tokens.size() - 1));
    }
    forward(config_, engine_.model.weights, batch, cache, engine_.activations, engine_.adapters);
    for_each_logits(engine_, rows, [&](const Tensor& logits, size_t first) {
      const std::vector<int32_t> tokens = draw(logits, std::span(ready).subspan(first, static_cast<size_t>(logits.rows())));
      for (size_t i = 0; i < tokens.size(); ++i) append(*ready[first + i], tokens[i], cache);
    });
    std::erase_if(active_, [&](const Sequence& s) { return !results_[s.request].finish_reason.empty(); });
    const auto decoded = static_cast<uint64_t>(std::count(batch.generated.begin(), batch.generated.end(), 1));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    engine_.throughput.add(batch.tokens.size() - decoded, decoded, seconds.count());
  }

  std::vector<int32_t> draw(const Tensor& logits, std::span<Sequence* const> of_rows) const {
    std::vector<int32_t> tokens(of_rows.size());
    const auto vocabulary = static_cast<size_t>(config_.vocab_size);
    parallel_for(of_rows.size(), 1, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        const Sequence& sequence = *of_rows[r];
        const std::span row{logits.f32() + r * vocabulary, vocabulary};
        sequence.counts.penalize(row, sampling_);
        const Rng rng{seed_, requests_[sequence.request].stream};
        tokens[r] = sample(row, sampling_, {}, rng.uniform(results_[sequence.request].tokens.size()));
      }
    });
    return tokens;
  }

  void append(Sequence& sequence, int32_t token, KvCache& cache) {
    GenerateResult& result = results_[sequence.request];
    if (std::binary_search(ends_.begin(), ends_.end(), token)) {
      result.finish_reason = "stop";
    } else {
      result.tokens.push_back(token);
      sequence.tokens.push_back(token);
      if (has_penalties(sampling_)) sequence.counts.see(token, true);
      if (static_cast<int64_t>(result.tokens.size()) >= sampling_.max_tokens ||
          static_cast<int64_t>(sequence.tokens.size()) >= engine_.max_length())
        result.finish_reason = "length";
    }
    if (result.finish_reason.empty()) return;
    cache.release(sequence.place);
    free_places_.push_back(sequence.place);
  }

  Engine& engine_;
  const Config& config_;
  std::span<const GenerateRequest> requests_;
  const Sampling& sampling_;
  const uint64_t seed_;
  const std::vector<int32_t> ends_;             // sorted
  std::vector<GenerateResult> results_;
  std::vector<Sequence> active_;
  std::vector<int64_t> free_places_;
  size_t next_ = 0;                             // the first request that has not entered
};

}  // namespace

std::vector<GenerateResult> generate(Engine& engine, std::span<const GenerateRequest> requests, const Sampling& sampling,
                                     uint64_t seed) {
  return Generation(engine, requests, sampling, seed).run();
}

}  // namespace ds
