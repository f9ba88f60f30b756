#include "run/scheduler.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <unordered_set>

#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "run/answer_cache.h"
#include "run/beam.h"
#include "run/sequence.h"

namespace ds {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct KeyHash {
  size_t operator()(const Hash128& key) const { return static_cast<size_t>(key.low); }
};

// A request whose answers are under way.
struct Job {
  Listener listener;
  std::shared_ptr<const GenerateRequest> request;
  std::vector<std::optional<Answer>> answers;
  int64_t open = 0;                            // answers that are not done
  int64_t cached = 0;
  bool cancelled = false;
  AnswerCache::Key key;                        // where there is an answer cache
  std::optional<GenerateResult> known;         // the answers, from there
  std::string error;
  std::optional<BeamSearch> search;            // beams only: the search,
  std::vector<Sequence*> beams;                // and its live ones, best first
  Clock::time_point submitted;
  double first_token = -1;
};

// Rows of a pass whose logits are wanted: that of the last token of a sequence, and those of the guesses behind it.
struct Wanted {
  Sequence* sequence;
  int64_t length;                              // of the sequence before the pass
  size_t first, count;                         // in Pass::rows
  int64_t right = 0;                           // guesses that were
  bool over = false;                           // a guess was wrong, or there is none left
};

// Guesses take rows of a pass that cost little, because reading the weights takes longer than the products of a few rows.
constexpr int64_t kGuessedRows = 16;

}  // namespace

struct Scheduler::Impl {
  Engine& engine;
  const Config& config;
  SchedulerOptions options;
  AnswerRules rules;
  KvCache cache;
  PrefixCache prefix;
  std::optional<DraftModel> draft;
  std::optional<MtpHead> mtp;
  std::optional<AnswerCache> answer_cache;
  std::vector<uint64_t> known;                 // requests whose answers were there; the next step tells them
  std::vector<int64_t> places;                 // free ones
  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> running;  // by age
  std::map<uint64_t, Job> jobs;
  SchedulerStats stats;
  uint64_t next_id = 1, next_age = 1;

  Impl(Engine& e, const SchedulerOptions& o)
      : engine(e), config(e.model.config), options(o),
        rules{config, e.has_tokenizer() ? &e.tokenizer() : nullptr, end_tokens(e), nullptr, e.max_length()},
        cache(e.make_cache(o.answer_cache + (o.draft ? o.draft->model.arena.bytes_used() : 0))), prefix(cache, config.cache_window()) {
    if (o.draft) draft.emplace(*o.draft, e);
    else if (e.model.mtp && o.guesses > 0) mtp.emplace(e, cache);
    if (o.answer_cache) answer_cache.emplace(o.answer_cache, o.answer_cache_model, o.answer_cache_threshold, rules.tokenizer);
    for (int64_t s = cache.sequences(); s-- > 0;) places.push_back(s);
  }

  // ---- Who enters ----

  // How many blocks of a sequence may come from the prefix cache: its last token is always computed, for its logits.
  static int64_t reusable_blocks(const Sequence& s) { return (s.length() - 1) / kKeyBlock; }

  bool has_pages(int64_t length) const {
    const int64_t blocks = (length + kKeyBlock - 1) / kKeyBlock;
    return !cache.has_full_layers() || cache.free_pages() >= blocks;
  }

  // Lets sequences in while there are places, and pages for their prompts. One whose next block is being computed by
  // another waits for it.
  void admit() {
    if (waiting.empty() || places.empty()) return;
    std::unordered_set<Hash128, KeyHash> under_way;
    const auto add_under_way = [&](Sequence& s) {
      if (!options.prefix_cache) return;
      for (const Hash128& key : s.keys(s.length() / kKeyBlock, cache.latent()).subspan(static_cast<size_t>(s.kept))) under_way.insert(key);
    };
    for (const auto& s : running) add_under_way(*s);
    for (size_t i = 0; i < waiting.size() && !places.empty();) {
      Sequence& s = *waiting[i];
      if (!s.candidates.empty()) {  // a beam that gave way after its pass
        ++i;
        continue;
      }
      const auto keys = options.prefix_cache ? s.keys(reusable_blocks(s), cache.latent()) : std::span<const Hash128>();
      size_t there = 0;
      while (there < keys.size() && prefix.has(keys[there])) ++there;
      if (there < keys.size() && under_way.contains(keys[there])) {
        ++i;
        continue;
      }
      const int64_t needed = s.length() - static_cast<int64_t>(there) * kKeyBlock;
      // One page more for each sequence under way, so that the newcomer is not put out again at once.
      while (!has_pages(needed + static_cast<int64_t>(running.size() + 1) * kKeyBlock) && !running.empty() && prefix.evict()) {
      }
      if (!has_pages(needed + static_cast<int64_t>(running.size() + 1) * kKeyBlock) && !running.empty()) return;
      enter(i);
      add_under_way(*running.back());
    }
  }

  void enter(size_t index) {
    std::unique_ptr<Sequence> s = std::move(waiting[index]);
    waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(index));
    s->place = places.back();
    places.pop_back();
    s->age = next_age++;
    s->done = s->kept = 0;
    if (options.prefix_cache) {
      const std::vector<CachePage> pages = prefix.find(s->keys(reusable_blocks(*s), cache.latent()));
      if (!pages.empty()) cache.adopt(s->place, pages);
      s->kept = static_cast<int64_t>(pages.size());
      s->done = s->kept * kKeyBlock;
      if (s->generated() == 0) {
        s->cached = s->done;
        jobs.at(s->id).cached = std::max(jobs.at(s->id).cached, s->done);
        stats.cached_tokens += static_cast<uint64_t>(s->done);
      }
    }
    running.push_back(std::move(s));
  }

  void leave(Sequence& s) {
    cache.release(s.place);
    if (draft) draft->forget(s.place, 0);
    if (mtp) mtp->forget(s.place);
    places.push_back(s.place);
    s.place = -1;
    s.done = s.kept = 0;
    s.guesses.clear();
  }

  // The youngest one under way waits again, in front; it is computed once more when it enters.
  void preempt_youngest() {
    std::unique_ptr<Sequence> s = std::move(running.back());
    running.pop_back();
    leave(*s);
    waiting.push_front(std::move(s));
    ++stats.preempted;
  }

  // Pages for the first `length` positions of running[index]. Younger ones give way, and in the end it itself does (false);
  // where it is alone it fails.
  bool make_room(size_t index, int64_t length) {
    Sequence& s = *running[index];
    while (!cache.reserve(s.place, length)) {
      if (prefix.evict()) continue;
      const bool itself = running.size() - 1 == index;
      if (itself && index == 0) {
        s.fail(cat("the cache of keys and values is full: the answer needs room for ", length, " tokens, and there are ", cache.pages(),
                   " pages of ", kKeyBlock, ": give it more memory (--memory), or ask for less"));
        complete(0);
        return false;
      }
      preempt_youngest();
      if (itself) return false;
    }
    return true;
  }

  // Answers that need no pass: those of no tokens, and cancelled ones.
  void close_those_over() {
    for (size_t i = 0; i < running.size();) {
      if (running[i]->over()) complete(i);
      else ++i;
    }
    for (size_t i = 0; i < waiting.size();) {
      if (!waiting[i]->over()) {
        ++i;
        continue;
      }
      const std::unique_ptr<Sequence> s = std::move(waiting[i]);
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
      close(*s);
    }
  }

  // Pages that sequences hold; what only the prefix cache holds is as good as free.
  int64_t pages_used() const {
    int64_t used = 0;
    for (const auto& s : running) used += (s->done + kKeyBlock - 1) / kKeyBlock;
    return used;
  }

  // ---- One pass ----

  struct Pass {
    TokenBatch batch;
    std::vector<Wanted> wanted;
    std::vector<int32_t> rows;
    size_t generated = 0;
  };

  void add_row(Pass& pass, const Sequence& s, int64_t position, int32_t token) {
    pass.batch.tokens.push_back(token);
    pass.batch.sequences.push_back(static_cast<int32_t>(s.place));
    pass.batch.positions.push_back(static_cast<int32_t>(position));
    pass.batch.generated.push_back(position >= s.given);
    pass.batch.adapters.push_back(s.request->adapter);
    pass.generated += position >= s.given;
  }

  // Guesses for the sequences that decode, where few of them share the reading of the weights.
  void guess() {
    std::vector<Sequence*> decoding;
    for (const auto& s : running) {
      s->guesses.clear();
      if (draft) draft->forget(s->place, s->length());
      if (s->length() - s->done == 1 && s->generated() > 0) decoding.push_back(s.get());
    }
    if (options.guesses <= 0 || decoding.empty()) return;
    const int64_t each = (std::min(kGuessedRows, engine.options.batch_tokens) - static_cast<int64_t>(decoding.size())) / static_cast<int64_t>(decoding.size());
    if (each <= 0) return;  // what is looked up then need not be kept up to date either: it catches up
    std::vector<GuessRequest> requests;
    std::vector<Sequence*> asked;
    for (Sequence* const s : decoding) {
      const int64_t left = std::min({each, s->request->sampling.max_tokens - s->generated() - 1, rules.max_length - s->length() - 1});
      const int64_t count = left > 0 ? std::min(left, s->pace.next()) : 0;
      if (s->lookup) s->guesses = s->lookup->guess(s->tokens, count);
      else if (count > 0) requests.push_back({s->place, s->tokens, count, {}}), asked.push_back(s);
    }
    if (requests.empty()) return;
    if (draft) draft->guess(requests);
    else mtp->guess(requests);
    for (size_t i = 0; i < requests.size(); ++i) asked[i]->guesses = std::move(requests[i].guesses);
  }

  Pass plan() {
    guess();
    Pass pass;
    int64_t room = engine.options.batch_tokens, decoding = 0;
    for (const auto& s : running) decoding += s->length() - s->done == 1;
    int64_t kept_free = std::min(decoding, room);    // each sequence that decodes has a row
    for (size_t i = 0; i < running.size(); ++i) {
      Sequence& s = *running[i];
      if (s.length() == s.done) continue;  // a beam that waits for the others
      const bool decodes = s.length() - s.done == 1;
      if (decodes && kept_free > 0) --kept_free;
      const int64_t mine = room - kept_free;
      if (mine <= 0) break;
      if (static_cast<int64_t>(s.guesses.size()) > mine - 1) s.guesses.resize(static_cast<size_t>(std::max<int64_t>(0, mine - 1)));
      const int64_t end = std::min(s.length(), s.done + mine);
      if (!make_room(i, end + static_cast<int64_t>(s.guesses.size()))) break;
      const size_t first = pass.batch.tokens.size();
      for (int64_t p = s.done; p < end; ++p) add_row(pass, s, p, s.tokens[static_cast<size_t>(p)]);
      if (end == s.length()) {
        for (size_t g = 0; g < s.guesses.size(); ++g) add_row(pass, s, end + static_cast<int64_t>(g), s.guesses[g]);
        pass.wanted.push_back({&s, s.length(), pass.rows.size(), s.guesses.size() + 1});
        for (size_t g = 0; g <= s.guesses.size(); ++g) pass.rows.push_back(static_cast<int32_t>(pass.batch.tokens.size() - s.guesses.size() - 1 + g));
      }
      s.done = end;
      room -= static_cast<int64_t>(pass.batch.tokens.size() - first);
    }
    return pass;
  }

  // Takes tokens from rows [begin, end) of a sequence's, as long as the guesses before them were right.
  void take(Wanted& wanted, size_t begin, size_t end, float* logits) {
    Sequence& s = *wanted.sequence;
    const auto vocabulary = static_cast<size_t>(config.vocab_size);
    if (const auto& search = jobs.at(s.id).search) return s.take_candidates({logits, vocabulary}, search->candidates());
    for (size_t i = begin; i < end && !wanted.over; ++i) try {
        const int32_t token = s.take({logits + (i - begin) * vocabulary, vocabulary}, rules);
        if (!s.over() && i < s.guesses.size() && s.guesses[i] == token) ++wanted.right;
        else wanted.over = true;
      } catch (const Error& error) {
        s.fail(error.what());
        wanted.over = true;
      }
  }

  void run(Pass& pass) {
    const auto start = Clock::now();
    forward(config, engine.model.weights, pass.batch, cache, engine.activations, engine.adapters);
    for_each_logits(engine, pass.rows, [&](const Tensor& logits, size_t first) {
      const size_t end = first + static_cast<size_t>(logits.rows());
      parallel_for(pass.wanted.size(), 1, [&](size_t from, size_t to) {
        for (size_t w = from; w < to; ++w) {
          Wanted& wanted = pass.wanted[w];
          const size_t begin_row = std::max(first, wanted.first), end_row = std::min(end, wanted.first + wanted.count);
          if (begin_row >= end_row) continue;
          take(wanted, begin_row - wanted.first, end_row - wanted.first,
               logits.f32() + (begin_row - first) * static_cast<size_t>(config.vocab_size));
        }
      });
    });
    engine.throughput.add(pass.batch.tokens.size() - pass.generated, pass.generated, seconds_since(start));
    ++stats.steps;
    stats.prompt_tokens += pass.batch.tokens.size() - pass.generated;
  }

  // ---- What follows from it ----

  // Keeps the blocks that are whole now, lets go of pages that no one needs, and tells of what is new.
  void settle(Pass& pass) {
    for (const Wanted& wanted : pass.wanted) {
      Sequence& s = *wanted.sequence;
      stats.generated_tokens += static_cast<uint64_t>(wanted.right + 1);
      if (draft) draft->forget(s.place, wanted.length + wanted.right);
      if (s.guesses.empty()) continue;
      stats.guessed_tokens += s.guesses.size(), stats.accepted_tokens += static_cast<uint64_t>(wanted.right);
      s.pace.judge(wanted.right, static_cast<int64_t>(s.guesses.size()));
      s.done = std::min(wanted.length + wanted.right, s.length());
      s.guesses.clear();
      cache.truncate(s.place, s.done);
    }
    if (mtp) follow(pass);
    for (const auto& s : running) {
      const int64_t whole = s->done / kKeyBlock;
      if (options.prefix_cache && whole > s->kept) {
        const auto keys = s->keys(whole, cache.latent());
        for (; s->kept < whole; ++s->kept) prefix.add(keys[static_cast<size_t>(s->kept)], cache.page(s->place, s->kept));
      }
      if (cache.has_window_layers()) cache.drop_before(s->place, s->done);
    }
    for (const Wanted& wanted : pass.wanted) tell(*wanted.sequence);
    std::vector<uint64_t> searched;
    for (auto& [id, job] : jobs)
      if (job.search && std::all_of(job.beams.begin(), job.beams.end(), [](const Sequence* s) { return !s->candidates.empty(); }) && !branch(job))
        searched.push_back(id);
    for (const uint64_t id : searched) deliver(id);
    for (size_t i = 0; i < running.size();) {
      if (running[i]->over()) complete(i);
      else ++i;
    }
  }

  // Shows the head for multi-token prediction the rows that stand, each with the token after it.
  void follow(const Pass& pass) {
    std::vector<const Sequence*> at(static_cast<size_t>(cache.sequences()));
    for (const auto& s : running) at[static_cast<size_t>(s->place)] = s.get();
    TokenBatch next;
    std::vector<int32_t> rows;
    for (size_t row = 0; row < pass.batch.tokens.size(); ++row) {
      const int32_t place = pass.batch.sequences[row], position = pass.batch.positions[row];
      const Sequence& s = *at[static_cast<size_t>(place)];
      if (position >= s.done || position + 1 >= s.length()) continue;
      next.tokens.push_back(s.tokens[static_cast<size_t>(position) + 1]);
      next.sequences.push_back(place);
      next.positions.push_back(position);
      next.generated.push_back(pass.batch.generated[row]);
      rows.push_back(static_cast<int32_t>(row));
    }
    mtp->follow(next, rows);
  }

  // All beams of a request have their candidates: chooses those that live on. The first that continues a beam is the beam
  // itself, the others are new sequences which find its blocks in the prefix cache. False: the search is over.
  bool branch(Job& job) {
    std::vector<std::vector<TokenLogprob>> candidates;
    for (const Sequence* const s : job.beams) candidates.push_back(s->candidates);
    const std::vector<BeamSearch::Branch> next = job.search->step(candidates);
    std::vector<Sequence*> live;
    std::vector<std::unique_ptr<Sequence>> fresh;
    std::vector<bool> continued(job.beams.size(), false);
    for (const auto& [beam, token] : next)
      if (continued[beam]) {
        fresh.push_back(job.beams[beam]->twin(rules));
        fresh.back()->branch(token);
        live.push_back(fresh.back().get());
      } else {
        continued[beam] = true;
        live.push_back(job.beams[beam]);
      }
    for (size_t beam = 0; beam < job.beams.size(); ++beam) {
      if (continued[beam]) {
        const auto first = std::find_if(next.begin(), next.end(), [&](const auto& b) { return b.beam == beam; });
        job.beams[beam]->branch(first->token);
      } else {
        drop(job.beams[beam]);
      }
    }
    for (size_t i = fresh.size(); i-- > 0;) waiting.push_front(std::move(fresh[i]));
    job.beams = std::move(live);
    if (!job.beams.empty()) return true;
    const auto& finished = job.search->finished();
    job.answers.clear();
    for (size_t i = 0; i < std::min(finished.size(), static_cast<size_t>(job.request->sampling.n)); ++i) {
      job.answers.push_back(Sequence::answer_of(finished[i].tokens, finished[i].ended ? "stop" : "length", rules));
      job.answers.back()->logprob = finished[i].sum;
    }
    return false;
  }

  void drop(Sequence* s) {
    for (size_t i = 0; i < running.size(); ++i)
      if (running[i].get() == s) {
        leave(*s);
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
        return;
      }
    std::erase_if(waiting, [&](const auto& w) { return w.get() == s; });
  }

  void tell(Sequence& s) {
    Job& job = jobs.at(s.id);
    if (job.first_token < 0 && s.generated() > 0) job.first_token = seconds_since(job.submitted);
    if (!job.listener.on_delta) return;
    Delta delta = s.news();
    if (!delta.text.empty() || !delta.tokens.empty()) job.listener.on_delta(delta);
  }

  void complete(size_t index) {
    std::unique_ptr<Sequence> s = std::move(running[index]);
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    leave(*s);
    close(*s);
  }

  // An answer is done; the request with its last one.
  void close(Sequence& s) {
    Job& job = jobs.at(s.id);
    for (Sequence* const beam : std::exchange(job.beams, {})) if (beam != &s) drop(beam);
    job.answers[static_cast<size_t>(s.number)] = std::move(s.answer);
    if (!s.error.empty()) job.error = s.error;
    if (--job.open == 0) deliver(s.id);
  }

  void deliver(uint64_t id) {
    const auto at = jobs.find(id);
    Job& job = at->second;
    GenerateResult result;
    result.error = job.error;
    result.cached_tokens = job.cached;
    result.seconds = seconds_since(job.submitted);
    result.first_token_seconds = job.first_token < 0 ? result.seconds : job.first_token;
    for (auto& answer : job.answers) result.answers.push_back(std::move(*answer));
    keep_best(job.request->sampling, result.answers);
    ++(!result.error.empty() ? stats.failed : job.cancelled ? stats.cancelled : stats.finished);
    if (job.known) result.similarity = job.known->similarity;
    else if (answer_cache && result.error.empty() && !job.cancelled) answer_cache->add(job.key, result);
    const Listener listener = std::move(job.listener);
    jobs.erase(at);
    listener.on_done(std::move(result));
  }

  // Requests whose answers the answer cache had. False: there were none.
  bool deliver_known() {
    const std::vector<uint64_t> ids = std::exchange(known, {});
    for (const uint64_t id : ids) {
      Job& job = jobs.at(id);
      const Sampling& sampling = job.request->sampling;
      job.answers.assign(job.known->answers.begin(), job.known->answers.end());
      for (size_t i = 0; i < job.answers.size(); ++i) {
        Answer& answer = *job.answers[i];
        if (!job.cancelled && job.listener.on_delta && sampling.beams <= 1 && !answer.tokens.empty())
          job.listener.on_delta({static_cast<int64_t>(i), answer.text, answer.tokens, sampling.logprobs >= 0 ? answer.logprobs : std::vector<TokenLogprobs>()});
        else if (job.cancelled) answer = {.finish_reason = "cancelled"};
      }
      job.cached = static_cast<int64_t>(job.request->tokens.size());
      job.first_token = seconds_since(job.submitted);
      if (!job.cancelled) ++(job.known->similarity ? stats.similar_answers : stats.cached_answers);
      deliver(id);
    }
    return !ids.empty();
  }

  // The n best of best_of by the mean log-probability of a token; the earlier one among equals.
  static void keep_best(const Sampling& sampling, std::vector<Answer>& answers) {
    const auto n = static_cast<size_t>(sampling.n);
    if (answers.size() <= n) return;
    const auto mean = [](const Answer& a) { return a.tokens.empty() ? 0.0 : a.logprob / static_cast<double>(a.tokens.size()); };
    std::stable_sort(answers.begin(), answers.end(), [&](const Answer& a, const Answer& b) { return mean(a) > mean(b); });
    answers.resize(n);
    if (sampling.logprobs < 0)
      for (Answer& answer : answers) answer.logprobs.clear();
  }
};

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options) : impl_(new Impl(engine, options)) {}
Scheduler::~Scheduler() = default;

uint64_t Scheduler::submit(GenerateRequest request, Listener listener) {
  Impl& m = *impl_;
  require(!request.tokens.empty(), "a prompt needs at least one token");
  check(request.sampling);
  check_ids(m.config, request.tokens);
  const auto length = static_cast<int64_t>(request.tokens.size());
  require(length <= m.rules.max_length, "a prompt of ", length, " tokens is longer than the ", m.rules.max_length,
          " positions that there are");
  if (request.constraint && !m.rules.trie) {
    require(m.rules.tokenizer, "a constraint is about text, and the model has no tokenizer");
    m.rules.trie = std::make_shared<TokenTrie>(*m.rules.tokenizer, m.rules.ends);
  }
  if (request.sampling.beams > 1) {
    require(!request.constraint, "beam search takes no constraint");
    require(request.sampling.beams <= m.cache.sequences(), request.sampling.beams, " beams do not fit into the ", m.cache.sequences(),
            " sequences that may be under way (--batch-sequences)");
    BeamSearch(request.sampling, 1, {});  // it checks the rest
  }
  AnswerCache::Key key;
  std::optional<GenerateResult> known;
  if (m.answer_cache) known = m.answer_cache->find(request, key);
  const uint64_t id = m.next_id++;
  const auto shared = std::make_shared<const GenerateRequest>(std::move(request));
  Job& job = m.jobs[id];
  job.listener = std::move(listener);
  job.request = shared;
  job.open = std::max(shared->sampling.n, shared->sampling.best_of);
  job.answers.resize(static_cast<size_t>(job.open));
  job.submitted = Clock::now();
  job.key = std::move(key);
  job.known = std::move(known);
  ++m.stats.submitted;
  if (job.known) {
    m.known.push_back(id);
    return id;
  }
  const int64_t room = m.rules.max_length - length;
  if (shared->sampling.beams > 1) {
    job.search.emplace(shared->sampling, room, shared->sampling.ignore_eos ? std::vector<int32_t>{} : m.rules.ends);
    job.open = 1, job.answers.resize(1);
  }
  for (int64_t number = 0; number < job.open; ++number) {
    auto sequence = std::make_unique<Sequence>(shared, id, number, m.rules);
    if (job.search) job.beams = {sequence.get()};
    if (m.options.guesses > 0 && !job.search) sequence->pace = GuessPace(m.options.guesses);
    if (m.options.guesses > 0 && !m.draft && !m.mtp && !job.search) sequence->lookup.emplace(m.options.lookup_match);
    if (shared->sampling.max_tokens <= 0 || length >= m.rules.max_length) sequence->finish("length");
    m.waiting.push_back(std::move(sequence));
  }
  return id;
}

void Scheduler::cancel(uint64_t id) {
  Impl& m = *impl_;
  const auto at = m.jobs.find(id);
  if (at == m.jobs.end()) return;
  at->second.cancelled = true;
  for (const auto* list : {&m.running}) for (const auto& s : *list) if (s->id == id && !s->over()) s->finish("cancelled");
  for (const auto& s : m.waiting) if (s->id == id && !s->over()) s->finish("cancelled");
}

bool Scheduler::step() {
  Impl& m = *impl_;
  throw_if_stopped();
  const bool told = m.deliver_known();
  m.close_those_over();
  m.admit();
  if (m.running.empty()) return told || !m.waiting.empty();
  auto pass = m.plan();
  if (!pass.batch.tokens.empty()) {
    m.run(pass);
    m.settle(pass);
  } else if (!m.running.empty()) {
    m.preempt_youngest();  // all that there are wait for beams that have no place
  }
  return true;
}

bool Scheduler::idle() const { return impl_->jobs.empty(); }

SchedulerStats Scheduler::stats() const {
  const Impl& m = *impl_;
  SchedulerStats stats = m.stats;
  stats.waiting = static_cast<int64_t>(m.waiting.size());
  stats.running = static_cast<int64_t>(m.running.size());
  stats.pages = m.cache.pages() + m.cache.window_pages();
  stats.pages_used = m.pages_used();
  return stats;
}

std::vector<GenerateResult> generate(Engine& engine, std::vector<GenerateRequest> requests, const SchedulerOptions& options) {
  std::vector<GenerateResult> results(requests.size());
  Scheduler scheduler(engine, options);
  for (size_t i = 0; i < requests.size(); ++i)
    scheduler.submit(std::move(requests[i]), {{}, [&results, i](GenerateResult&& result) { results[i] = std::move(result); }});
  while (scheduler.step()) {
  }
  return results;
}

}  // namespace ds
