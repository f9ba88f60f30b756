// ds-run: tokens, scores, embeddings and text out of a model.
#include "ds-run/verbs.h"
#include "run/precision.h"

using namespace ds;
constexpr const char *kModel = "a model folder or a .gguf file", *kTokenizer = "a model folder, a tokenizer.json or a .gguf file";

void ds::declare_precision(Options& o, std::string& precision) {
  o.choice("--precision", precision, {"high", "medium", "low"}, "the level that is used of a model folder with folders high/, medium/ or low/");
}

void ds::declare_records(Options& o, RunOptions& r, const char* model_help, const char* rejects_help) {
  o.group("Model and records");
  o.option("--model", r.model, model_help, "MODEL").required();
  declare_precision(o, r.precision);
  o.option("FILE", r.stream.inputs, "JSONL records, plain, .gz or .zst; - is standard input", "FILE");
  o.option("-o,--output", r.stream.output, "the records with their results; NAME.zst is compressed", "FILE");
  o.option("--rejects", r.stream.rejects, rejects_help, "FILE");
  o.bytes("--max-record-bytes", r.stream.max_record_bytes, "a longer line is a bad line");
}

static constexpr char kRejects[] = "where bad records go, with the reason; without it the first one ends the run";

void ds::declare_engine(Options& o, RunOptions& r) {
  o.group("Weights");
  o.option("--adapter", r.engine.adapters, "a LoRA adapter (PEFT): NAME=DIR for records with \"adapter\": NAME, DIR for those without", "DIR");
  o.option("--merge-adapter", r.engine.merge_adapter, "a LoRA adapter that is added to the weights of a float model", "DIR");
  o.choice("--activations", r.activations, {"auto", "f32", "int8"},
           "products by 4- and 8-bit integer weights: of f32, or of inputs rounded to 8 bits; auto: as the model says");
  o.group("Batching (changes speed and memory, never an answer)");
  o.option("--batch-tokens", r.engine.batch_tokens, "rows of one forward pass at most", "TOKENS").range(1, 1 << 20).incidental();
  o.option("--batch-sequences", r.engine.batch_sequences, "sequences under way at once at most", "N").range(1, 1 << 16).incidental();
}

// The fields that a verb reads, with their help; null: it reads none such.
static void declare_fields(Options& o, RunOptions& r, const char* text, const char* prompt, bool messages) {
  if (text) o.option("--text-field", r.text_field, text, "NAME");
  if (prompt) o.option("--prompt-field", r.prompt_field, prompt, "NAME");
  if (messages) o.option("--chat-template", r.chat_template, "a Jinja template for \"messages\" in place of the model's own", "FILE");
}

static void declare_score(Options o, RunOptions& r) {
  declare_records(o, r, kModel, kRejects);
  declare_fields(o, r, "the field with the text", "the field with the prompt", false);
  o.option("--completion-field", r.completion_field, "the field with the completion that is scored, whatever text stands beside it", "NAME");
  o.flag("--rolling", r.rolling, "score the first token too, after BOS (else EOS), and count bytes and words for perplexities");
  declare_engine(o, r);
}

static void declare_embed(Options o, RunOptions& r) {
  declare_records(o, r, kModel, kRejects);
  declare_fields(o, r, "the field with the text", nullptr, false);
  o.group("Pooling (auto: as modules.json and 1_Pooling/config.json of the model say, else the mean, not normalised)");
  o.choice("--pooling", r.pooling, {"auto", "mean", "last", "cls"}, "the mean of all tokens, the last one, or the first");
  o.choice("--normalize", r.normalize, {"auto", "yes", "no"}, "whether vectors get length 1");
  declare_engine(o, r);
}

static void declare_tokenize(Options o, RunOptions& r) {
  declare_records(o, r, kTokenizer, kRejects);
  declare_fields(o, r, "the field with the text; without it \"messages\", or else the prompt", "the field with the prompt", true);
  o.flag("--add-generation-prompt", r.add_generation_prompt, "\"messages\" end in the beginning of an answer");
  o.flag("--no-special-tokens", r.no_special_tokens, "add no BOS and the like to a text");
}

int main(int argc, char** argv) {
  App app("ds-run", "Run a model over records: generate text, score likelihoods, embed, tokenize.");
  RunOptions options;
  ServeOptions serving;
  const auto verb = [&](const char* name, const char* summary, const std::vector<std::string>& examples, void (*run)(const RunOptions&, Report&)) {
    return app.verb(name, summary, examples, [&options, run](const CommonOptions& common, Report& report) {
      options.seed = common.seed;
      options.hash_model = !common.report.empty();
      options.model = precision_folder(options.model, options.precision);
      run(options, report);
      return 0;
    });
  };
  declare_generate_verb(app, options);
  declare_score(verb("score", "log-likelihoods of ids, texts, or completions after prompts", {"ds-run score --model MODEL texts.jsonl -o scored.jsonl"}, run_score), options);
  declare_embed(verb("embed", "texts to vectors", {"ds-run embed --model MODEL texts.jsonl -o vectors.jsonl"}, run_embed), options);
  declare_tokenize(verb("tokenize", "texts or conversations to token ids", {"ds-run tokenize --model MODEL texts.jsonl"}, run_tokenize), options);
  Options detokenize = verb("detokenize", "token ids to text", {"ds-run tokenize --model MODEL texts.jsonl | ds-run detokenize --model MODEL"}, run_detokenize);
  declare_records(detokenize, options, kTokenizer, kRejects);
  detokenize.flag("--skip-special-tokens", options.skip_special_tokens, "leave out BOS and the like");
  declare_serve_verb(app, serving);
  declare_chat_verb(app);
  declare_inspect_verb(app);
  return app.run(argc, argv);
}
