// ds-train: tokenizers and better weights.
#include "cli/app.h"
#include "train/pretrain.h"
#include "train/tokenizer.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-train", "Train a tokenizer, and a model from scratch or from a checkpoint.");
  TokenizerOptions t;
  app.verb("tokenizer", "learn a byte-level BPE tokenizer",
           {"ds-train tokenizer --vocab-size 4096 --pretokenizer llama3 train.jsonl -o tokenizer.json"},
           [&t](const CommonOptions&, Report& report) {
             train_tokenizer(t, report);
             return 0;
           })
      .group("Tokenizer")
      .option("-o,--output", t.output, "tokenizer.json to write, with tokenizer_config.json beside it; - is standard output", "FILE")
      .option("--vocab-size", t.vocab_size, "tokens: special ones, 256 bytes and merges", "N")
      .choice("--pretokenizer", t.pretokenizer, {"gpt2", "llama3", "qwen2", "deepseek3"}, "how texts are cut into words before merging")
      .option("--special-token", t.special_tokens, "special tokens, ids from 0; the first three are BOS, EOS and padding", "TEXT")
      .flag("--add-bos", t.add_bos, "the tokenizer puts BOS before each text by itself")
      .option("--text-field", t.text_field, "name of the text's field; a record without it gives its messages' contents", "KEY")
      .option("--min-frequency", t.min_frequency, "pairs seen less often are not merged", "N").range(0, 1e15)
      .bytes("--max-words-memory", t.max_words_memory, "memory for distinct words; beyond it the rarest are forgotten")
      .bytes("--max-record-bytes", t.max_record_bytes, "longest line accepted")
      .option("FILE", t.inputs, "JSONL to read, plain, .gz or .zst (default: standard input)", "FILE");

  PretrainOptions o;
  Options pretraining = app.verb(
      "pretrain", "next-token training over documents",
      {"ds-train pretrain --init config.json --tokenizer tokenizer.json --data train.jsonl --steps 1000 -o MODEL",
       "ds-train pretrain --model MODEL --data more.jsonl --steps 500 --learning-rate 2e-4 --resume -o MODEL-2"},
      [&o](const CommonOptions& common, Report& report) {
        o.seed = common.seed;
        pretrain(o, common.dry_run, report);
        return 0;
      });
  pretraining.dry_run().group("Model")
      .option("--init", o.init, "config.json of a model to start from random weights", "FILE")
      .option("--tokenizer", o.tokenizer, "tokenizer.json (or a folder with one) for --init; records of ids need none", "FILE")
      .option("--model", o.model, "model folder to go on from, with its tokenizer", "DIR")
      .option("-o,--output", o.output, "model folder to write, with metrics.jsonl and checkpoints/", "DIR")
      .choice("--dtype", o.dtype, {"f32", "bf16", "f16"}, "number format of the weights written; training is in f32");
  pretraining.group("Data (held in memory: 2 bytes a token, 4 with a vocabulary over 65536)")
      .option("--data", o.data, "JSONL with \"text\" or \"tokens\", plain, .gz or .zst; may be given several times", "FILE")
      .option("--text-field", o.text_field, "name of the text's field", "KEY")
      .option("--weight-field", o.weight_field, "number that weighs a record's loss, as \"augment.weight\"", "PATH")
      .option("--sequence-length", o.sequence_length, "inputs of a row; longer documents are cut, shorter ones share rows", "TOKENS")
      .flag("--no-shuffle", o.no_shuffle, "take the rows in the order of the files, epoch after epoch")
      .bytes("--max-record-bytes", o.max_record_bytes, "longest line accepted");
  pretraining.group("Steps")
      .option("--steps", o.steps, "optimizer steps", "N")
      .option("--batch-size", o.batch_size, "rows of one optimizer step", "ROWS")
      .option("--micro-batch-size", o.micro_batch_size, "rows computed at a time: less memory, other rounding (0: the whole batch)", "ROWS")
      .choice("--schedule", o.schedule, {"constant", "cosine", "wsd", "linear"}, "how the learning rate falls after warm-up")
      .option("--learning-rate", o.learning_rate, "highest learning rate", "RATE")
      .option("--min-learning-rate-ratio", o.min_learning_rate_ratio, "share of it at which the decay ends", "X")
      .option("--warmup-steps", o.warmup_steps, "steps of linear warm-up from 0", "N")
      .option("--decay-steps", o.decay_steps, "wsd: last steps, over which the rate falls (0: a fifth of all)", "N");
  pretraining.group("AdamW")
      .option("--weight-decay", o.weight_decay, "of matrices; norms and biases are not decayed", "X")
      .option("--beta1", o.beta1, "decay of the first moment", "X")
      .option("--beta2", o.beta2, "decay of the second moment", "X")
      .option("--epsilon", o.epsilon, "added to the root of the second moment", "X")
      .option("--clip-norm", o.clip_norm, "largest norm of the gradient (0: no clipping)", "X");
  pretraining.group("Mixture of experts")
      .option("--router-aux-loss", o.router_aux_loss, "coefficient of the load-balancing loss of a layer", "C")
      .option("--sequence-aux-loss", o.sequence_aux_loss, "coefficient of the balance loss within each sequence", "C")
      .option("--router-bias-update-rate", o.router_bias_update_rate, "step of the router bias against each expert's excess load", "RATE")
      .flag("--router-bias-decay", o.router_bias_decay, "let that step fall with the learning rate, so that the balance settles");
  pretraining.group("Checkpoints")
      .option("--checkpoint-every", o.checkpoint_every, "steps between checkpoints (0: only after a signal)", "N").incidental()
      .option("--keep-checkpoints", o.keep_checkpoints, "newest ones kept", "N").incidental()
      .flag("--resume", o.resume, "go on from the newest checkpoint of -o, if there is one; the bytes are those of an unbroken run").incidental();
  return app.run(argc, argv);
}
