// What the server counts and measures, in Prometheus' text format. Safe from any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "run/scheduler.h"

namespace ds {

// What /metrics tells of now, asked for when it is read.
struct ServerGauges {
  int64_t queued = 0;              // requests that the scheduler has not taken yet, and
  SchedulerStats scheduler;        // those that it has
  int64_t connections = 0;
  // Tokens that each expert of each layer got, in layers of `experts`; empty: a dense model.
  std::vector<uint64_t> expert_tokens;
  int64_t experts = 0;
  std::vector<int64_t> expert_layers;  // their numbers in the model
};

class Metrics {
 public:
  explicit Metrics(std::string_view model);
  ~Metrics();
  // A request that was answered with this status (499: the client had gone before), `seconds` after its head was there.
  void request(std::string_view endpoint, int status, double seconds);
  // The result of a prompt: its times to the first token and between the others.
  void result(const GenerateResult& result);
  void embedded(uint64_t tokens);  // tokens of texts that became vectors
  std::string text(const ServerGauges& now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
