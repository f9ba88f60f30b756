// ds-train pretrain: next-token training from scratch or from a model, resumable to the same bytes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/report.h"
#include "train/output_folder.h"

namespace ds {

struct PretrainOptions {
  SourceOptions source;
  std::string output;
  // Data.
  std::vector<std::string> data;                             // FILE, or NAME=FILE of a domain that `shares` names
  std::vector<std::string> shares;                           // NAME=X, of the targets; the rest is of the files without name
  std::string text_field = "text", weight_field, weight_use = "loss";
  double weight_power = 1, final_weight_power = -1;          // at the first step and the last; -1: the same
  size_t window_bytes = size_t{512} << 20;
  int64_t sequence_length = 256;
  bool no_shuffle = false;
  // Steps.
  int64_t steps = 0, batch_size = 8, micro_batch_size = 0;   // micro 0: the whole batch at once
  double learning_rate = 1e-3, min_learning_rate_ratio = 0;
  int64_t warmup_steps = 0, decay_steps = 0;                 // decay (wsd) 0: a fifth of the steps
  std::string schedule = "cosine";
  std::string optimizer = "adamw";                           // adamw, adamw8 or muon
  double muon_learning_rate = 0.02, muon_momentum = 0.95;
  double weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, clip_norm = 1;
  // Mixture of experts.
  double router_aux_loss = 0, sequence_aux_loss = 0, router_bias_update_rate = 0;
  bool router_bias_decay = false;                            // the update rate falls with the learning rate
  double router_z_loss = 0;
  std::string router_temperature;                            // "2:0.5", first to last step; empty: that with init, the model's own else
  double router_load_decay = 0.9, router_feedback_rate = 0.01;
  // Trouble, and held-out data.
  std::string on_spike = "stop";                             // stop, skip or rollback
  double spike_factor = 2;                                   // 0: no loss is a spike
  std::vector<std::string> eval_data;
  int64_t eval_every = 0;                                    // 0: only at the end
  // Files.
  std::string dtype = "f32";
  bool recompute = false;
  double dropout = 0;
  std::string kv_cache_dtype = "f32";                        // int8: train for a cache of 8 bits
  bool resume = false;
  int64_t checkpoint_every = 1000, keep_checkpoints = 2;
  uint64_t seed = 0;
  size_t max_record_bytes = size_t{64} << 20;
};

// Trains, and leaves in options.output a model folder, metrics.jsonl and checkpoints/. The model appears last, so a
// folder with a model.safetensors is finished. After a signal the state is saved at the next step's end, and Stopped is
// thrown. With dry_run only the plan is printed, as JSON on standard output.
void pretrain(const PretrainOptions& options, bool dry_run, Report& report);

}  // namespace ds
