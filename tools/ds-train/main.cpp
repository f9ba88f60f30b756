// ds-train: tokenizers and better weights.
#include "ds-train/verbs.h"
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

  PretrainOptions pretraining;
  declare_pretrain_verb(app, pretraining);
  return app.run(argc, argv);
}
