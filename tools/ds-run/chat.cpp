// ds-run chat
#include "ds-run/verbs.h"
#include "run/chat_session.h"

namespace ds {

void declare_chat_verb(App& app) {
  static ChatOptions chat;
  RunOptions& r = chat.run;
  r.sampling.max_tokens = 2048;
  r.engine.batch_tokens = 512;     // Ctrl-C is seen between passes
  r.engine.batch_sequences = 1;
  Options o = app.verb("chat", "a conversation in the terminal",
                       {"ds-run chat --model MODEL", "ds-run chat --model MODEL --system 'Answer in one sentence.' --temperature 0 < questions.txt"},
                       [](const CommonOptions& common, Report& report) {
                         chat.run.seed = common.seed;
                         chat.run.hash_model = !common.report.empty();
                         return run_chat(chat, report) ? 1 : 0;
                       });
  o.group("Model and conversation");
  o.option("--model", r.model, "a model folder or a .gguf file", "MODEL").required();
  declare_precision(o, r.precision);
  o.option("--system", chat.system, "what the conversation begins with");
  o.option("--chat-template", r.chat_template, "a Jinja template in place of the model's own", "FILE");
  o.flag("--plain", chat.plain, "no template: \"User: ...\" and \"Assistant: ...\"");
  o.option("--history", chat.history, "keep what is typed here, from one conversation to the next", "FILE").incidental();
  o.group("Sampling (as for generate; without an option as generation_config.json says, else temperature 0.7 and top-p 0.95)");
  Sampling& s = r.sampling;
  o.option("--max-tokens", s.max_tokens, "tokens of an answer at most", "N").range(1, 1 << 30);
  o.option("--repetition-penalty", chat.repetition_penalty, "divides the logits of tokens that were there", "X").range(1e-3, 1e3);
  o.option("--frequency-penalty", s.frequency_penalty, "subtracted from a logit for each time that the answer has the token", "X").range(-100, 100);
  o.option("--presence-penalty", s.presence_penalty, "subtracted once if the answer has the token", "X").range(-100, 100);
  o.option("--temperature", chat.temperature, "divides the logits; 0 takes the likeliest token", "X").range(0, 1e6);
  o.option("--top-k", chat.top_k, "keep the k likeliest tokens; 0 keeps all", "K").range(0, 1 << 30);
  o.option("--top-p", chat.top_p, "keep the likeliest tokens until their probabilities reach this sum", "P").range(0, 1);
  o.option("--min-p", chat.min_p, "keep tokens of at least this share of the likeliest one's probability", "P").range(0, 1);
  o.option("--stop", s.stop, "an answer ends before this text; may be given several times", "TEXT");
  o.group("Weights and memory");
  o.option("--adapter", r.engine.adapters, "a LoRA adapter (PEFT) that all answers go through", "DIR");
  o.option("--merge-adapter", r.engine.merge_adapter, "a LoRA adapter that is added to the weights of a float model", "DIR");
  o.choice("--activations", r.activations, {"auto", "f32", "int8"},
           "products by 4- and 8-bit integer weights: of f32, or of inputs rounded to 8 bits; auto: as the model says");
  o.option("--context", r.engine.context, "tokens of the conversation at most; 0: as many as the model has positions", "TOKENS").range(0, 1 << 30);
  o.bytes("--memory", r.engine.memory, "bytes that the process may take; 0: the cache may take half of what is free").incidental();
  o.choice("--kv-cache-dtype", r.kv_cache_dtype, {"f32", "int8"}, "numbers of the cache of keys and values; int8 changes answers a little");
  o.option("--batch-tokens", r.engine.batch_tokens, "rows of one forward pass at most", "TOKENS").range(1, 1 << 20).incidental();
}

}  // namespace ds
