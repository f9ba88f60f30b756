// Options of sampling and speed that several verbs have.
#include "ds-run/verbs.h"

namespace ds {

// In the order in which they are applied.
template <class Temperature, class Real, class Integer>
static void declare_drawing(Options& o, Sampling& s, Temperature& temperature, Integer& top_k, Real& top_p, Real& min_p, Real& repetition_penalty) {
  o.option("--repetition-penalty", repetition_penalty, "divides the logits of tokens that were there (multiplies those below 0)", "X").range(1e-3, 1e3);
  o.option("--frequency-penalty", s.frequency_penalty, "subtracted from a logit for each time that the answer has the token", "X").range(-100, 100);
  o.option("--presence-penalty", s.presence_penalty, "subtracted once if the answer has the token", "X").range(-100, 100);
  o.option("--temperature", temperature, "divides the logits; 0 takes the likeliest token", "X").range(0, 1e6);
  o.option("--top-k", top_k, "keep the k likeliest tokens and those equal to the k-th; 0 keeps all", "K").range(0, 1 << 30);
  o.option("--top-p", top_p, "keep the likeliest tokens until their probabilities reach this sum", "P").range(0, 1);
  o.option("--min-p", min_p, "keep tokens of at least this share of the likeliest one's probability", "P").range(0, 1);
}

void declare_drawing(Options& o, Sampling& s) { declare_drawing(o, s, s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty); }
void declare_drawing(Options& o, Sampling& s, std::optional<double>& temperature) { declare_drawing(o, s, temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty); }
void declare_drawing(Options& o, ChatOptions& c) { declare_drawing(o, c.run.sampling, c.temperature, c.top_k, c.top_p, c.min_p, c.repetition_penalty); }

void declare_stop(Options& o, Sampling& s) { o.option("--stop", s.stop, "an answer ends before this text; may be given several times", "TEXT"); }

void declare_speculation(Options& o, RunOptions& r) {
  o.option("--prompt-lookup", r.scheduler.guesses, "guess up to so many tokens a pass from the text before; 0: none", "N").range(0, 64).incidental();
  o.option("--draft-model", r.draft_model, "a smaller model of the same vocabulary guesses instead, 4 tokens a pass where --prompt-lookup says nothing else", "MODEL").incidental();
  o.flag("--mtp", r.engine.mtp, "the model's own head for multi-token prediction guesses instead, 2 tokens a pass where --prompt-lookup says nothing else").incidental();
}

void declare_answer_cache(Options& o, RunOptions& r) {
  o.bytes("--answer-cache", r.scheduler.answer_cache, "keep so much of answers, for requests that are equal in all that decides them; 0: none").incidental();
}

}  // namespace ds
