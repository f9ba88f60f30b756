// ds-train pretrain: its options.
#include "ds-train/verbs.h"
#include "train/initial_config.h"

void ds::declare_pretrain_verb(App& app, PretrainOptions& o) {
  Options pretraining = app.verb(
      "pretrain", "next-token training over documents",
      {"ds-train pretrain --arch llama --set hidden_size=128 --tokenizer tokenizer.json --data train.jsonl --steps 500 -o MODEL",
       "ds-train pretrain --init config.json --tokenizer tokenizer.json --data train.jsonl --steps 1000 -o MODEL",
       "ds-train pretrain --model MODEL --data more.jsonl --steps 500 --learning-rate 2e-4 --resume -o MODEL-2"},
      [&o](const CommonOptions& common, Report& report) {
        o.seed = common.seed;
        pretrain(o, common.dry_run, report);
        return 0;
      });
  pretraining.dry_run().group("Model")
      .choice("--arch", o.source.arch, arch_names(), "start from random weights: a small model of this architecture, its vocabulary the tokenizer's")
      .option("--init", o.source.init, "config.json of a model to start from random weights", "FILE")
      .option("--set", o.source.set, "a key of that config.json, as hidden_size=512; may be given several times", "KEY=VALUE")
      .option("--tokenizer", o.source.tokenizer, "tokenizer.json (or a folder with one) for --arch or --init; records of ids need none", "FILE")
      .option("--model", o.source.model, "model folder to go on from, with its tokenizer", "DIR")
      .option("-o,--output", o.output, "model folder to write, with metrics.jsonl and checkpoints/", "DIR")
      .choice("--dtype", o.dtype, {"f32", "bf16", "f16"}, "number format of the matrices while training, and of what is written; masters, gradients and sums are f32");
  pretraining.group("Data (in memory: two windows a domain, 2 bytes a token, 4 with a vocabulary over 65536, and 40 a record)")
      .option("--data", o.data, "JSONL with \"text\" or \"tokens\", plain, .gz or .zst; NAME=FILE where --share has the NAME; may be given several times", "FILE")
      .option("--share", o.shares, "share of the targets that the files NAME=FILE have together; the rest is of the files without a name", "NAME=X")
      .option("--text-field", o.text_field, "name of the text's field", "KEY")
      .option("--weight-field", o.weight_field, "number that weighs a record, as \"augment.weight\"", "PATH")
      .choice("--weight-use", o.weight_use, {"loss", "sampling"}, "what that number decides: the record's part in the loss, or how often its rows come")
      .option("--weight-power", o.weight_power, "power to which it is raised at the first step (0: all weigh 1)", "X")
      .option("--final-weight-power", o.final_weight_power, "the same at the last step, in a line between (-1: as the first)", "X")
      .bytes("--window", o.window_bytes, "bytes of lines that are packed and shuffled together; files beyond are read a window at a time")
      .option("--sequence-length", o.sequence_length, "inputs of a row; longer documents are cut, shorter ones share rows", "TOKENS")
      .flag("--no-shuffle", o.no_shuffle, "take the rows in the order of the files, epoch after epoch")
      .bytes("--max-record-bytes", o.max_record_bytes, "longest line accepted");
  pretraining.group("Steps")
      .option("--steps", o.steps, "optimizer steps", "N")
      .option("--batch-size", o.batch_size, "rows of one optimizer step", "ROWS")
      .option("--micro-batch-size", o.micro_batch_size, "rows computed at a time: less memory, other rounding (0: the whole batch)", "ROWS")
      .flag("--recompute", o.recompute, "keep only the input of each layer for the backward pass, and compute the rest anew: less memory, the same bytes").incidental()
      .choice("--schedule", o.schedule, {"constant", "cosine", "wsd", "linear"}, "how the learning rate falls after warm-up")
      .option("--learning-rate", o.learning_rate, "highest learning rate", "RATE")
      .option("--min-learning-rate-ratio", o.min_learning_rate_ratio, "share of it at which the decay ends", "X")
      .option("--warmup-steps", o.warmup_steps, "steps of linear warm-up from 0", "N")
      .option("--decay-steps", o.decay_steps, "wsd: last steps, over which the rate falls (0: a fifth of all)", "N");
  pretraining.group("Regularisation")
      .option("--dropout", o.dropout, "share of the embedding and of what attention and feed-forward add that is dropped (never in a router)", "X")
      .choice("--kv-cache-dtype", o.kv_cache_dtype, {"f32", "int8"}, "int8: keys and values are rounded as ds-run's cache of 8 bits does it, so that the model learns to live with it");
  pretraining.group("Optimizer")
      .choice("--optimizer", o.optimizer, {"adamw", "adamw8", "muon"}, "adamw8: AdamW with moments of 8 bits; muon: for the matrices inside the blocks, AdamW for the rest")
      .option("--muon-learning-rate", o.muon_learning_rate, "highest learning rate of muon's matrices, on the same schedule", "RATE")
      .option("--muon-momentum", o.muon_momentum, "its decay of the gradients", "X")
      .option("--weight-decay", o.weight_decay, "of matrices; norms and biases are not decayed", "X")
      .option("--beta1", o.beta1, "decay of the first moment", "X")
      .option("--beta2", o.beta2, "decay of the second moment", "X")
      .option("--epsilon", o.epsilon, "added to the root of the second moment", "X")
      .option("--clip-norm", o.clip_norm, "largest norm of the gradient (0: no clipping)", "X");
  pretraining.group("Mixture of experts")
      .option("--router-aux-loss", o.router_aux_loss, "coefficient of the load-balancing loss of a layer", "C")
      .option("--sequence-aux-loss", o.sequence_aux_loss, "coefficient of the balance loss within each sequence", "C")
      .option("--router-bias-update-rate", o.router_bias_update_rate, "step of the router bias against each expert's excess load", "RATE")
      .flag("--router-bias-decay", o.router_bias_decay, "let that step fall with the learning rate, so that the balance settles")
      .option("--router-z-loss", o.router_z_loss, "coefficient of the mean squared logsumexp of a router's logits", "C")
      .option("--router-temperature", o.router_temperature, "of an adaptive router, at the first step and the last, with a line between (default: 2:0.5 with --init; the model's own with --model)", "FIRST:LAST")
      .option("--router-load-decay", o.router_load_decay, "of an adaptive router: what of the load's running mean a step keeps", "X")
      .option("--router-feedback-rate", o.router_feedback_rate, "of a router in three layers: how fast factors follow the load", "RATE");
  pretraining.group("Trouble and held-out data")
      .choice("--on-spike", o.on_spike, {"stop", "skip", "rollback"}, "a loss that is not finite, or a spike: end the run, leave the step out, or go back to the newest checkpoint and on behind that data")
      .option("--spike-factor", o.spike_factor, "a loss so many times the median of the last 50, and 1 above it, is a spike (0: none is)", "X")
      .option("--eval-data", o.eval_data, "held-out JSONL, whose loss is measured (field eval_loss of metrics.jsonl); may be given several times", "FILE").incidental()
      .option("--eval-every", o.eval_every, "steps between these measurements (0: only at the end, in the report)", "N").incidental();
  pretraining.group("Checkpoints")
      .option("--checkpoint-every", o.checkpoint_every, "steps between checkpoints (0: only after a signal)", "N").incidental()
      .option("--keep-checkpoints", o.keep_checkpoints, "newest ones kept", "N").incidental()
      .flag("--resume", o.resume, "go on from the newest checkpoint of -o, if there is one; the bytes are those of an unbroken run").incidental();
}
