#include "run/server_work.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"

namespace ds {

Worker::Worker(Engine& engine, const SchedulerOptions& options, const Pooling& pooling, Metrics& metrics, int64_t most)
    : engine_(engine), options_(options), pooling_(pooling), metrics_(metrics), most_(most) {
  watch_experts();
  // Here, so that what is wrong with it (too little memory, a draft model of another vocabulary) is the caller's to know.
  scheduler_ = std::make_unique<Scheduler>(engine_, options_);
  thread_ = std::thread([this] { loop(); });
}

Worker::~Worker() {
  {
    std::lock_guard lock(mutex_);
    ending_ = cancel_all_ = true;
  }
  wake_.notify_one();
  thread_.join();
  engine_.activations.after_layer = nullptr;
}

// Counts the tokens of each expert while a layer's activations are there.
void Worker::watch_experts() {
  const Config& config = engine_.model.config;
  std::vector<int64_t> place(static_cast<size_t>(config.num_hidden_layers), -1);
  for (size_t layer = 0; layer < place.size(); ++layer)
    if (config.is_moe(static_cast<int64_t>(layer))) {
      place[layer] = static_cast<int64_t>(gauges_.expert_layers.size()) * config.n_routed_experts;
      gauges_.expert_layers.push_back(static_cast<int64_t>(layer));
    }
  if (gauges_.expert_layers.empty()) return;
  gauges_.experts = config.n_routed_experts;
  expert_tokens_.resize(gauges_.expert_layers.size() * static_cast<size_t>(config.n_routed_experts));
  engine_.activations.after_layer = [this, place](int64_t layer, const LayerActivations& a) {
    const int64_t first = place[static_cast<size_t>(layer)];
    if (first < 0) return;
    const int32_t* const offsets = a.offsets.i32();
    for (int64_t e = 0; e < gauges_.experts; ++e)
      expert_tokens_[static_cast<size_t>(first + e)] += static_cast<uint64_t>(offsets[e + 1] - offsets[e]);
  };
}

bool Worker::submit(const std::shared_ptr<Work>& work) {
  work->places = 0;
  for (const GenerateRequest& request : work->requests)
    work->places += std::max({int64_t{1}, request.sampling.n, request.sampling.best_of, request.sampling.beams});
  work->places = std::max<int64_t>(1, work->places);
  {
    std::lock_guard lock(mutex_);
    if (places_ + work->places > most_ || ending_) return false;
    places_ += work->places;
    submitted_.push_back(work);
  }
  wake_.notify_one();
  return true;
}

void Worker::cancel(const std::shared_ptr<Work>& work) {
  {
    std::lock_guard lock(mutex_);
    if (work->cancelled.exchange(true)) return;
    cancelled_.push_back(work);
  }
  wake_.notify_one();
}

void Worker::cancel_all() {
  {
    std::lock_guard lock(mutex_);
    cancel_all_ = true;
  }
  wake_.notify_one();
}

ServerGauges Worker::gauges() {
  std::lock_guard lock(mutex_);
  ServerGauges now = gauges_;
  now.queued += static_cast<int64_t>(submitted_.size());
  return now;
}

// All of it is there; the connection is told.
void Worker::finish(Work& work) {
  places_ -= work.places;
  {
    std::lock_guard lock(work.mutex);
    work.taken = work.done = true;
  }
  work.changed.notify_all();
}

// Joins what is new of an answer to what its connection has not taken yet.
static void add_piece(Work& work, size_t request, const Delta& delta) {
  for (Work::Piece& piece : work.pieces)
    if (piece.request == request && piece.delta.answer == delta.answer) {
      piece.delta.text += delta.text;
      piece.delta.tokens.insert(piece.delta.tokens.end(), delta.tokens.begin(), delta.tokens.end());
      piece.delta.logprobs.insert(piece.delta.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
      return;
    }
  work.pieces.push_back({request, delta});
}

static void fail_work(Work& work, const std::exception& error) {
  std::lock_guard lock(work.mutex);
  work.error = error.what(), work.invalid = dynamic_cast<const Error*>(&error) && !dynamic_cast<const SystemError*>(&error);
}

void Worker::take(const std::shared_ptr<Work>& work) {
  work->results.resize(work->requests.size());
  work->open = work->requests.size();
  try {
    for (size_t i = 0; i < work->requests.size(); ++i) {
      Listener listener;
      if (work->stream)
        listener.on_delta = [work, i](const Delta& delta) {
          if (delta.text.empty() && delta.logprobs.empty()) return;  // tokens whose text is held back still
          {
            std::lock_guard lock(work->mutex);
            add_piece(*work, i, delta);
          }
          work->changed.notify_all();
        };
      listener.on_done = [this, work, i](GenerateResult&& result) {
        metrics_.result(result);
        {
          std::lock_guard lock(work->mutex);
          work->results[i] = std::move(result);
          work->finished.push_back(i);
        }
        if (--work->open == 0) finish(*work);
        else work->changed.notify_all();
      };
      work->ids.push_back(scheduler_->submit(std::move(work->requests[i]), std::move(listener)));
    }
    std::lock_guard lock(work->mutex);
    work->taken = true;
  } catch (const std::exception& error) {
    fail_work(*work, error);
    work->open -= work->requests.size() - work->ids.size();  // those that were never submitted
    for (const uint64_t id : work->ids) scheduler_->cancel(id);
    if (work->open == 0) finish(*work);
  }
  work->changed.notify_all();
}

// Texts become vectors between two passes, a few at a time, so that answers under way go on.
void Worker::embed_next(std::deque<std::shared_ptr<Work>>& texts) {
  Work& work = *texts.front();
  try {
    const size_t begin = work.vectors.size();
    size_t end = begin;
    int64_t rows = 0;
    while (end < work.inputs.size() && rows < engine_.options.batch_tokens) rows += static_cast<int64_t>(work.inputs[end++].size());
    if (!work.cancelled) {
      const std::vector<int32_t> adapters(end - begin, work.adapter);
      const auto vectors = embed(engine_, std::span(work.inputs).subspan(begin, end - begin), pooling_, adapters);
      metrics_.embedded(static_cast<uint64_t>(rows));
      work.vectors.insert(work.vectors.end(), vectors.begin(), vectors.end());
      if (end < work.inputs.size()) return;
    }
  } catch (const std::exception& error) {
    fail_work(work, error);
  }
  finish(work);
  texts.pop_front();
}

void Worker::loop() {
  std::deque<std::shared_ptr<Work>> texts;                  // to become vectors
  std::vector<std::shared_ptr<Work>> answers;               // under way in the scheduler
  for (;;) {
    std::deque<std::shared_ptr<Work>> fresh;
    std::vector<std::shared_ptr<Work>> unwanted;
    {
      std::unique_lock lock(mutex_);
      std::erase_if(answers, [](const auto& work) { return work->open == 0; });
      gauges_.queued = static_cast<int64_t>(texts.size());
      gauges_.scheduler = scheduler_->stats();
      gauges_.expert_tokens = expert_tokens_;
      wake_.wait(lock, [&] {
        return !submitted_.empty() || !cancelled_.empty() || cancel_all_ || ending_ || !texts.empty() || !scheduler_->idle();
      });
      fresh.swap(submitted_);
      unwanted.swap(cancelled_);
      if (cancel_all_) {
        for (const auto& list : {std::vector(fresh.begin(), fresh.end()), std::vector(texts.begin(), texts.end()), answers})
          unwanted.insert(unwanted.end(), list.begin(), list.end());
        cancel_all_ = false;
      }
      if (ending_ && unwanted.empty() && texts.empty() && scheduler_->idle()) return;
    }
    for (const auto& work : fresh) {
      if (work->inputs.empty()) take(work), answers.push_back(work);
      else texts.push_back(work);
    }
    for (const auto& work : unwanted) {
      work->cancelled = true;
      for (const uint64_t id : work->ids) scheduler_->cancel(id);
    }
    try {
      scheduler_->step();
      if (!texts.empty()) embed_next(texts);
    } catch (const Stopped&) {
      // The server ends in its own way (Server::drain); nothing was begun.
    } catch (const std::exception& error) {
      // A failure of the machine in the middle of a pass (no memory, say): what was under way cannot go on.
      log(LogLevel::error, cat("a pass failed, and what was under way with it: ", error.what()));
      scheduler_.reset();
      scheduler_ = std::make_unique<Scheduler>(engine_, options_);
      for (const auto& work : answers) {
        if (work->open == 0) continue;
        work->open = 0;
        {
          std::lock_guard lock(work->mutex);
          work->error = error.what();
        }
        finish(*work);
      }
      answers.clear();
    }
  }
}

}  // namespace ds
