// Beam search: the likeliest answers, of many that are continued side by side. As Hugging Face's generate with num_beams,
// length_penalty and early_stopping = false.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "run/sample.h"

namespace ds {

class BeamSearch {
 public:
  // `ends`, sorted: tokens that end an answer; none where they are to be ignored.
  BeamSearch(const Sampling& sampling, int64_t room, std::vector<int32_t> ends);
  // How many candidates each beam has to bring.
  int64_t candidates() const;
  // One step: candidates[b] are the likeliest tokens after live beam b, in falling order. Returns the beams that live on, best
  // first: which beam each continues, and with what. Empty: the search is over.
  struct Branch {
    size_t beam;
    int32_t token;
  };
  std::vector<Branch> step(std::span<const std::vector<TokenLogprob>> candidates);

  // The finished answers, best first, without their end tokens.
  struct Hypothesis {
    std::vector<int32_t> tokens;
    double sum = 0, score = 0;          // of log-probabilities; divided by length^length_penalty
    bool ended = false;                 // by an end token; else it has all the tokens that there was room for
  };
  const std::vector<Hypothesis>& finished() const { return finished_; }

 private:
  double score(double sum, int64_t length) const;
  void finish(Hypothesis hypothesis);

  int64_t beams_, room_;
  double length_penalty_;
  std::vector<int32_t> ends_;
  std::vector<Hypothesis> live_{1};
  std::vector<Hypothesis> finished_;
};

}  // namespace ds
