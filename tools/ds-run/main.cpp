// ds-run: tokens, scores and text out of a model.
#include "cli/app.h"
#include "run/records.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-run", "Run a model over records: generate text, score likelihoods, tokenize.");
  RunOptions options;
  const auto action = [&options](void (*run)(const RunOptions&, Report&)) {
    return [&options, run](const CommonOptions& common, Report& report) {
      options.seed = common.seed;
      run(options, report);
      return 0;
    };
  };
  const auto common = [&options](Options declared, const std::string& model_help) {
    declared.group("Model and records")
        .option("--model", options.model, model_help, "DIR").required()
        .option("-o,--output", options.output, "write here, atomically (.zst compresses); - is standard output", "FILE")
        .bytes("--max-record-bytes", options.max_record_bytes, "longest line accepted")
        .option("FILE", options.inputs, "JSONL to read, plain, .gz or .zst (default: standard input)", "FILE");
    return declared;
  };
  const auto batching = [&options](Options declared) {
    declared.group("Batching (changes speed and memory, never an answer)")
        .option("--batch-tokens", options.engine.batch_tokens, "rows of one forward pass at most", "TOKENS")
        .option("--batch-sequences", options.engine.batch_sequences, "sequences under way at once at most", "N");
  };

  Options generate = common(app.verb("generate", "prompts to completions",
                                     {"ds-run generate --model DIR --max-tokens 64 prompts.jsonl -o answers.jsonl",
                                      "echo '{\"prompt\": \"The\"}' | ds-run generate --model DIR --temperature 0"},
                                     action(run_generate)),
                            "model folder");
  generate.group("Sampling")
      .option("--max-tokens", options.sampling.max_tokens, "tokens generated at most", "N")
      .option("--temperature", options.sampling.temperature, "0 is greedy", "X")
      .option("--top-k", options.sampling.top_k, "keep the k likeliest tokens; 0 keeps all", "K")
      .option("--top-p", options.sampling.top_p, "keep the likeliest tokens up to this probability", "P")
      .flag("--ignore-eos", options.sampling.ignore_eos, "go on after an end-of-sequence token");
  batching(generate);

  batching(common(app.verb("score", "log-likelihoods of tokens, texts, or completions after prompts",
                           {"ds-run score --model DIR texts.jsonl -o scored.jsonl"}, action(run_score)),
                  "model folder"));
  common(app.verb("tokenize", "texts to token ids", {"ds-run tokenize --model DIR texts.jsonl"}, action(run_tokenize)),
         "model folder or tokenizer.json");
  common(app.verb("detokenize", "token ids to texts", {"ds-run detokenize --model DIR ids.jsonl"}, action(run_detokenize)),
         "model folder or tokenizer.json");
  return app.run(argc, argv);
}
