#include "run/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>

namespace ds {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;
using Counters = prometheus::Family<prometheus::Counter>;

static const Buckets kFirstToken{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100};
static const Buckets kPerToken{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5};
static const Buckets kRequest{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000};

// What the scheduler counts, told when it is asked for.
template <class T>
struct Told {
  const char *name, *help;
  T SchedulerStats::*value;
};
static constexpr Told<uint64_t> kCounted[] = {
    {"ds_prompt_tokens_total", "Tokens of prompts that were computed", &SchedulerStats::prompt_tokens},
    {"ds_generated_tokens_total", "Tokens of answers; its rate is the tokens per second", &SchedulerStats::generated_tokens},
    {"ds_prefix_cache_hit_tokens_total", "Tokens of prompts whose keys and values were there already", &SchedulerStats::cached_tokens},
    {"ds_cached_answers_total", "Prompts that the answer cache answered", &SchedulerStats::cached_answers},
    {"ds_preemptions_total", "Sequences that gave way when pages ran out, and were computed again", &SchedulerStats::preempted},
    {"ds_guessed_tokens_total", "Tokens that speculation proposed", &SchedulerStats::guessed_tokens},
    {"ds_accepted_tokens_total", "Tokens that speculation proposed and the model agreed to", &SchedulerStats::accepted_tokens},
    {"ds_cancelled_total", "Prompts whose work was ended early: the client had gone, or the time was over", &SchedulerStats::cancelled},
    {"ds_failed_total", "Prompts that could not be computed", &SchedulerStats::failed},
    {"ds_steps_total", "Forward passes", &SchedulerStats::steps}};
static constexpr Told<int64_t> kGauged[] = {
    {"ds_running", "Sequences under way", &SchedulerStats::running},
    {"ds_kv_pages", "Pages of keys and values that there are", &SchedulerStats::pages},
    {"ds_kv_pages_used", "Pages of keys and values that sequences under way hold", &SchedulerStats::pages_used}};

struct Metrics::Impl {
  prometheus::Registry registry;
  Counters& requests = BuildCounter().Name("ds_requests_total").Help("Answered requests by endpoint and status; 499: the client had gone").Register(registry);
  Counters& errors = BuildCounter().Name("ds_request_errors_total").Help("Requests with a status from 400 on, by endpoint").Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds =
      BuildHistogram().Name("ds_request_seconds").Help("Seconds from a request's head to the end of its answer").Register(registry);
  prometheus::Histogram& first_token = histogram("ds_time_to_first_token_seconds", "Seconds from a prompt's arrival to its first token", kFirstToken);
  prometheus::Histogram& per_token =
      histogram("ds_time_per_output_token_seconds", "Seconds per token after the first one, the mean of each prompt's answers", kPerToken);
  prometheus::Counter& embedded = counter("ds_embedded_tokens_total", "Tokens of texts that became vectors");
  prometheus::Counter& cpu = counter("process_cpu_seconds_total", "Processor time of the process, user and system");
  Counters& experts = BuildCounter().Name("ds_expert_tokens_total").Help("Tokens that an expert got, by layer and expert").Register(registry);
  std::vector<prometheus::Counter*> expert;
  prometheus::Gauge& queue = gauge("ds_queue_length", "Prompts that wait");
  prometheus::Gauge& connections = gauge("ds_connections", "Open connections");
  prometheus::Gauge& memory = gauge("process_resident_memory_bytes", "Resident memory of the process");
  prometheus::Gauge& started = gauge("process_start_time_seconds", "When the server started, in seconds since 1970");
  std::vector<prometheus::Counter*> counted;  // of kCounted
  std::vector<prometheus::Gauge*> gauged;     // of kGauged
  std::mutex reading;

  Impl() {
    for (const auto& [name, help, value] : kCounted) counted.push_back(&counter(name, help));
    for (const auto& [name, help, value] : kGauged) gauged.push_back(&gauge(name, help));
  }

  prometheus::Counter& counter(const char* name, const char* help) { return BuildCounter().Name(name).Help(help).Register(registry).Add({}); }
  prometheus::Gauge& gauge(const char* name, const char* help) { return BuildGauge().Name(name).Help(help).Register(registry).Add({}); }
  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
  }
};

Metrics::Metrics(std::string_view model) : impl_(new Impl) {
  BuildGauge().Name("ds_model_info").Help("1; the label names the model").Register(impl_->registry).Add({{"model", std::string(model)}}).Set(1);
  impl_->started.Set(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
}
Metrics::~Metrics() = default;

void Metrics::request(std::string_view endpoint, int status, double seconds) {
  const std::string name(endpoint);
  impl_->requests.Add({{"endpoint", name}, {"status", std::to_string(status)}}).Increment();
  if (status >= 400) impl_->errors.Add({{"endpoint", name}}).Increment();
  impl_->seconds.Add({{"endpoint", name}}, kRequest).Observe(seconds);
}

void Metrics::result(const GenerateResult& result) {
  size_t longest = 0;
  for (const Answer& answer : result.answers) longest = std::max(longest, answer.tokens.size());
  if (longest == 0) return;  // ended before it had one
  impl_->first_token.Observe(result.first_token_seconds);
  if (longest > 1) impl_->per_token.Observe((result.seconds - result.first_token_seconds) / static_cast<double>(longest - 1));
}

void Metrics::embedded(uint64_t tokens) { impl_->embedded.Increment(static_cast<double>(tokens)); }

static double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

static double processor_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string Metrics::text(const ServerGauges& now) {
  Impl& m = *impl_;
  const std::lock_guard lock(m.reading);
  // Counters only grow; of two readers the later one may have the older numbers.
  const auto move_on = [](prometheus::Counter& counter, auto value) {
    if (const double more = static_cast<double>(value) - counter.Value(); more > 0) counter.Increment(more);
  };
  const SchedulerStats& s = now.scheduler;
  for (size_t i = 0; i < std::size(kCounted); ++i) move_on(*m.counted[i], s.*kCounted[i].value);
  for (size_t i = 0; i < std::size(kGauged); ++i) m.gauged[i]->Set(static_cast<double>(s.*kGauged[i].value));
  move_on(m.cpu, processor_seconds());
  if (m.expert.empty() && now.experts > 0)
    for (const int64_t layer : now.expert_layers)
      for (int64_t e = 0; e < now.experts; ++e)
        m.expert.push_back(&m.experts.Add({{"layer", std::to_string(layer)}, {"expert", std::to_string(e)}}));
  for (size_t i = 0; i < std::min(m.expert.size(), now.expert_tokens.size()); ++i) move_on(*m.expert[i], now.expert_tokens[i]);
  m.queue.Set(static_cast<double>(now.queued + s.waiting));
  m.connections.Set(static_cast<double>(now.connections)), m.memory.Set(resident_bytes());
  return prometheus::TextSerializer().Serialize(m.registry.Collect());
}

}  // namespace ds
