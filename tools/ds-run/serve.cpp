// ds-run serve
#include "ds-run/verbs.h"

namespace ds {

static void declare_model(Options& o, ServeOptions& s) {
  o.group("Model");
  o.option("--model", s.run.model, "a model folder or a .gguf file", "MODEL").required();
  declare_precision(o, s.run.precision);
  o.option("--model-name", s.run.model_name, "what requests call it; without it the last part of its path", "NAME");
  o.option("--chat-template", s.run.chat_template, "a Jinja template for conversations in place of the model's own", "FILE");
}

static void declare_connections(Options& o, ServeOptions& s) {
  HttpOptions& h = s.http;
  o.group("Address and access");
  o.option("--host", h.host, "the address to listen on; 0.0.0.0: all of this machine's", "HOST").incidental();
  o.option("--port", h.port, "the port; 0: a free one", "PORT").range(0, 65535).incidental();
  o.option("--api-key-file", s.api_key_file, "keys, one a line, of which requests must send one; $DS_API_KEY is one too", "FILE");
  o.option("--tls-cert", h.tls_cert, "the certificate chain in PEM; with it connections are encrypted", "FILE");
  o.option("--tls-key", h.tls_key, "its private key in PEM", "FILE");
  o.group("Limits");
  o.option("--max-tokens", s.max_tokens, "tokens of an answer at most, and those of a request that names no number", "N").range(1, 1 << 30);
  o.bytes("--max-body-bytes", h.max_body_bytes, "a longer request is refused");
  o.option("--queue", s.queue, "answers that wait for a place at most; more are refused", "N").range(0, 1 << 20).incidental();
  o.option("--connections", h.connections, "connections at most; more are refused", "N").range(1, 4096).incidental();
  o.option("--request-seconds", s.request_seconds, "time for a request, waiting included; 0: no end", "SECONDS").range(0, 1e7).incidental();
  o.option("--read-seconds", h.read_seconds, "time for a client to send its request", "SECONDS").range(0.01, 1e6).incidental();
  o.option("--write-seconds", h.write_seconds, "time for a client to take 256K of its answer, or all", "SECONDS").range(0.01, 1e6).incidental();
  o.option("--idle-seconds", h.idle_seconds, "time between two requests on a connection", "SECONDS").range(0.01, 1e6).incidental();
  o.option("--drain-seconds", s.drain_seconds, "time for answers under way after a signal", "SECONDS").range(0, 1e6).incidental();
}

static void declare_defaults(Options& o, ServeOptions& s) {
  Sampling& p = s.run.sampling;
  p.temperature = kOpenAiTemperature;  // ds-run generate's is 0
  o.group("What requests get that say nothing of it");
  declare_drawing(o, p);
}

void declare_serve_verb(App& app, ServeOptions& s) {
  Options o = app.verb("serve", "answer requests of OpenAI's API over HTTP",
                       {"ds-run serve --model MODEL", "DS_API_KEY=secret ds-run serve --model MODEL --host 0.0.0.0 --tls-cert C.pem --tls-key K.pem"},
                       [&s](const CommonOptions& common, Report& report) {
                         s.run.seed = common.seed;
                         s.run.scheduler.prefix_cache = !s.run.no_prefix_cache;
                         s.run.hash_model = !common.report.empty();
                         run_serve(s, report);
                         return 0;
                       });
  declare_model(o, s);
  declare_connections(o, s);
  declare_defaults(o, s);
  o.group("Embeddings (auto: as modules.json and 1_Pooling/config.json of the model say, else the mean, not normalised)");
  o.choice("--pooling", s.run.pooling, {"auto", "mean", "last", "cls"}, "the mean of all tokens, the last one, or the first");
  o.choice("--normalize", s.run.normalize, {"auto", "yes", "no"}, "whether vectors get length 1");
  declare_engine(o, s.run);
  declare_cache(o, s.run);
  declare_answer_cache(o, s.run);
  declare_speculation(o, s.run);
}

}  // namespace ds
