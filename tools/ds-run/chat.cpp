// ds-run chat
#include "ds-run/verbs.h"

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
  declare_drawing(o, chat);
  declare_stop(o, s);
  o.group("Weights and memory");
  o.option("--adapter", r.engine.adapters, "a LoRA adapter (PEFT) that all answers go through", "DIR");
  o.option("--merge-adapter", r.engine.merge_adapter, "a LoRA adapter that is added to the weights of a float model", "DIR");
  o.choice("--activations", r.activations, {"auto", "f32", "int8"},
           "products by 4- and 8-bit integer weights: of f32, or of inputs rounded to 8 bits; auto: as the model says");
  o.option("--context", r.engine.context, "tokens of the conversation at most; 0: as many as the model has positions", "TOKENS").range(0, 1 << 30);
  o.bytes("--memory", r.engine.memory, "bytes that the process may take; 0: the cache may take half of what is free").incidental();
  o.choice("--kv-cache-dtype", r.kv_cache_dtype, {"f32", "int8"}, "numbers of the cache of keys and values; int8 changes answers a little");
  declare_speculation(o, r);
  o.option("--batch-tokens", r.engine.batch_tokens, "rows of one forward pass at most", "TOKENS").range(1, 1 << 20).incidental();
}

}  // namespace ds
