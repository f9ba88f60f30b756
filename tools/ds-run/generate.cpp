// ds-run generate
#include "base/error.h"
#include "ds-run/verbs.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {

namespace {

// Options that become others.
struct Given {
  std::string regex, json_schema, grammar, code;
  std::vector<std::string> choices;
  bool json = false;
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature;
};

std::optional<ConstraintSpec> constraint_of(const Given& given) {
  using Kind = ConstraintSpec::Kind;
  std::vector<ConstraintSpec> specs;
  if (!given.regex.empty()) specs.push_back({Kind::regex, given.regex});
  if (!given.json_schema.empty()) specs.push_back({Kind::json_schema, read_file(given.json_schema)});
  if (!given.grammar.empty()) specs.push_back({Kind::grammar, read_file(given.grammar)});
  if (given.json) specs.push_back({Kind::json, ""});
  if (given.code != "none") specs.push_back({given.code == "python" ? Kind::python : Kind::brackets, ""});
  if (!given.choices.empty()) {
    JsonWriter w;
    w.open('[');
    for (const std::string& choice : given.choices) w.value(choice);
    specs.push_back({Kind::choice, w.close().text});
  }
  if (specs.size() > 1) throw UsageError("of --regex, --json-schema, --grammar, --json, --choice and --code only one is possible");
  if (specs.empty()) return std::nullopt;
  return specs.front();
}

void declare_sampling(Options& o, RunOptions& r, Given& given) {
  Sampling& s = r.sampling;
  o.group("Sampling (in this order, as Hugging Face's generate; a record's field of the same name, with _ for -, comes first)");
  o.option("--max-tokens", given.max_tokens, "tokens generated at most; without it 128, for lines of OpenAI's batches 4096", "N").range(0, 1 << 30);
  o.option("--min-tokens", s.min_tokens, "before so many no end-of-sequence token is drawn", "N").range(0, 1 << 30);
  declare_drawing(o, s, given.temperature);
  declare_stop(o, s);
  o.choice("--compat", r.compat, {"hf", "llama.cpp"}, "llama.cpp: penalties over the last 64 tokens, temperature last, exactly k");
  o.flag("--ignore-eos", s.ignore_eos, "go on after an end-of-sequence token");
  o.option("--logprobs", s.logprobs, "give each token's log-probability and so many likeliest alternatives; -1: none", "N").range(-1, 20);
  o.option("-n,--n", s.n, "answers to each prompt", "N").range(1, 128);
  o.option("--best-of", s.best_of, "draw so many, keep the n of the highest mean log-probability; 0: n", "N").range(0, 128);
  o.option("--beams", s.beams, "search with so many beams in place of drawing", "N").range(1, 64);
  o.option("--length-penalty", s.length_penalty, "beams: their log-probability is divided by length to this power", "X").range(-100, 100);
}

}  // namespace

void declare_generate_verb(App& app, RunOptions& r) {
  static Given given{.code = "none"};
  Options o = app.verb("generate", "answer prompts",
                       {"ds-run generate --model MODEL --max-tokens 64 prompts.jsonl -o answers.jsonl",
                        "echo '{\"prompt\": \"The\"}' | ds-run generate --model MODEL --temperature 0"},
                       [&r](const CommonOptions& common, Report& report) {
                         r.seed = common.seed;
                         r.hash_model = !common.report.empty();
                         r.constraint = constraint_of(given);
                         r.temperature_given = given.temperature.has_value();
                         if (given.max_tokens) r.sampling.max_tokens = r.openai_max_tokens = *given.max_tokens;
                         if (given.temperature) r.sampling.temperature = r.openai_temperature = *given.temperature;
                         r.scheduler.prefix_cache = !r.no_prefix_cache;
                         return run_generate(r, report) ? 1 : 0;
                       });
  declare_records(o, r, "a model folder or a .gguf file", "where bad records go, with the reason; without it they stay in place with an error");
  o.option("--prompt-field", r.prompt_field, "the field with the prompt: text, or an array of ids", "NAME");
  o.option("--chat-template", r.chat_template, "a Jinja template for \"messages\" in place of the model's own", "FILE");
  o.choice("--order", r.order, {"input", "finished"}, "of the lines that come out");
  o.flag("--resume", r.resume, "go on with FILE.partial, which an interrupted run with -o FILE left").incidental();
  o.option("--model-name", r.model_name, "what lines of OpenAI's batches call the model; without it the folder's name", "NAME");
  declare_sampling(o, r, given);
  o.group("Policy (what neither options nor the record say)");
  o.choice("--policy", r.policy, {"none", "auto"}, "auto: temperature and constraint by what a prompt asks for: facts, analysis, invention or code");
  o.option("--policy-model", r.policy_model, "a classifier of ds-clean learn in place of the built-in one", "FILE");
  o.group("Constraints (one; a record's \"constraint\" comes first)");
  o.option("--regex", given.regex, "the answer matches it as a whole", "REGEX");
  o.option("--json-schema", given.json_schema, "the answer is JSON that is valid against this schema", "FILE");
  o.option("--grammar", given.grammar, "the answer is derived from this grammar (GBNF)", "FILE");
  o.flag("--json", given.json, "the answer is JSON");
  o.option("--choice", given.choices, "the answer is this text, or another one given so", "TEXT");
  o.choice("--code", given.code, {"none", "brackets", "python"}, "the brackets of the answer balance; or its indentation too is Python's");
  o.group("Answers to prompts that are only near (may change answers: each says so)");
  o.option("--answer-cache-model", r.answer_cache_model, "an embedding model: a prompt gets the answer to the nearest earlier one in the cache", "DIR");
  o.option("--answer-cache-threshold", r.scheduler.answer_cache_threshold, "the least cosine of the two prompts' vectors", "X").range(-1, 1);
  declare_engine(o, r);
  declare_cache(o, r);
  declare_answer_cache(o, r);
  declare_speculation(o, r);
}

void declare_cache(Options& o, RunOptions& r) {
  o.bytes("--memory", r.engine.memory, "bytes that the process may take; 0: the cache may take half of what is free").incidental();
  o.option("--context", r.engine.context, "tokens of a prompt and its answer at most; 0: as many as the model has positions", "TOKENS").range(0, 1 << 30);
  o.flag("--no-prefix-cache", r.no_prefix_cache, "compute beginnings that prompts share each time").incidental();
  o.group("Keys and values");
  o.choice("--kv-cache-dtype", r.kv_cache_dtype, {"f32", "int8"}, "how the cache holds them; int8 changes answers a little");
}

}  // namespace ds
