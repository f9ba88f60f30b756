#include "run/beam.h"

#include <algorithm>

#include "base/error.h"
#include "base/math.h"

namespace ds {

BeamSearch::BeamSearch(const Sampling& sampling, int64_t room, std::vector<int32_t> ends)
    : beams_(sampling.beams), room_(std::min(room, sampling.max_tokens)), length_penalty_(sampling.length_penalty), ends_(std::move(ends)) {
  require(sampling.temperature == 0 && sampling.repetition_penalty == 1 && sampling.frequency_penalty == 0 &&
              sampling.presence_penalty == 0 && sampling.min_tokens == 0 && sampling.stop.empty() && sampling.best_of == 0,
          "beam search goes by the model's own probabilities: it has no temperature, penalties, min_tokens, stop strings or best_of");
  require(sampling.n <= sampling.beams, "n is ", sampling.n, ": of ", sampling.beams, " beams there are as many answers at most");
}

int64_t BeamSearch::candidates() const { return beams_ * std::max<int64_t>(2, 1 + static_cast<int64_t>(ends_.size())); }

// length^-length_penalty by exp and log of the project: the same bits everywhere.
double BeamSearch::score(double sum, int64_t length) const {
  return length_penalty_ == 0 ? sum : sum / math::exp(length_penalty_ * math::log(static_cast<double>(length)));
}

void BeamSearch::finish(Hypothesis hypothesis) {
  const auto at = std::find_if(finished_.begin(), finished_.end(), [&](const Hypothesis& h) { return h.score < hypothesis.score; });
  finished_.insert(at, std::move(hypothesis));
  if (static_cast<int64_t>(finished_.size()) > beams_) finished_.pop_back();
}

std::vector<BeamSearch::Branch> BeamSearch::step(std::span<const std::vector<TokenLogprob>> candidates) {
  require(candidates.size() == live_.size(), candidates.size(), " lists of candidates for ", live_.size(), " beams");
  struct Candidate {
    double sum;
    Branch branch;
  };
  std::vector<Candidate> all;
  for (size_t beam = 0; beam < live_.size(); ++beam)
    for (const TokenLogprob& c : candidates[beam]) all.push_back({live_[beam].sum + static_cast<double>(c.logprob), {beam, c.id}});
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.sum > b.sum; });
  if (static_cast<int64_t>(all.size()) > this->candidates()) all.resize(static_cast<size_t>(this->candidates()));

  std::vector<Branch> next;
  std::vector<Hypothesis> live;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const auto& [sum, branch] = all[rank];
    const Hypothesis& parent = live_[branch.beam];
    const int64_t length = static_cast<int64_t>(parent.tokens.size()) + 1;
    const bool ended = std::binary_search(ends_.begin(), ends_.end(), branch.token);
    if (ended || length >= room_) {
      // One that ends counts where it is among the best; the others may still grow better.
      if (static_cast<int64_t>(rank) >= beams_) continue;
      Hypothesis done{parent.tokens, sum, score(sum, length), ended};
      if (!ended) done.tokens.push_back(branch.token);
      finish(std::move(done));
    } else if (static_cast<int64_t>(live.size()) < beams_) {
      live.push_back({parent.tokens, sum});
      live.back().tokens.push_back(branch.token);
      next.push_back(branch);
    }
  }
  live_ = std::move(live);
  const bool full = static_cast<int64_t>(finished_.size()) == beams_;
  const auto best = [&] { return score(live_[0].sum, static_cast<int64_t>(live_[0].tokens.size())); };
  if (live_.empty() || (full && finished_.back().score >= best())) next.clear();
  return next;
}

}  // namespace ds
