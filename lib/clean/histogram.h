// What the texts of a run look like: for each signal that was measured a summary and a histogram, in constant memory.
//
// The bins are fixed by the kind of a signal, so that the histograms of two runs can be compared and added bin by bin:
//   share   50 equal ones from 0 to 1;
//   count   one for 0, then four an octave, at powers of 2^(1/4) rounded up (1 2 3 4 5 6 7 8 10 12 14 16 20 23 ...:
//   those
//           that hold no whole number are left out), up to 2^40;
//   ratio   one from 0 to 2^-10, then eight an octave, at powers of 2^(1/8), up to 2^20.
// A bin holds its lower edge and not its upper one; the first and the last also take what lies outside.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "clean/signals.h"

namespace ds {

inline constexpr size_t most_signal_bins = 241;  // of any kind

size_t signal_bins(SignalKind kind);
// The lower edge of a bin, exactly; signal_bin_edge(kind, signal_bins(kind)) is where the last one ends.
double signal_bin_edge(SignalKind kind, size_t bin);
// The bin of a value that is not NaN.
size_t signal_bin(SignalKind kind, double value);

struct SignalHistogram {
  uint64_t count = 0, zeros = 0;  // values, and how many of them are 0
  double sum = 0;                 // in the order of the records
  double min = std::numeric_limits<double>::infinity(), max = -min;
  std::array<uint64_t, most_signal_bins> bins{};
};

// The value below or at which `percent` of 100 values lie (nearest rank), read off the bins: off by less than the width
// of its bin, and exact where it is 0 or a count below 8. Values inside a bin are taken to be spread evenly. count > 0.
double approximate_quantile(SignalKind kind, const SignalHistogram& histogram, unsigned percent);

class SignalHistograms {
 public:
  SignalHistograms();
  // Adds one record's signals. NaN and infinite values count as not measured. Call it in the order of the records: the
  // sums, and with them the bytes of json(), depend on it.
  void add(const Signals& signals);

  const SignalHistogram& operator[](Signal signal) const { return histograms_[static_cast<size_t>(signal)]; }
  const std::map<std::string, uint64_t>& languages() const { return languages_; }

  // An object with a member for each signal that has values, in the order of the table:
  //   "words": {"kind": "count", "meaning": "...", "count": 3, "mean": 4.5, "min": 1, "max": 9, "zeros": 0,
  //     "quantiles": {"p01": 1, "p05": ..., "p25", "p50", "p75", "p95", "p99"}, "edges": [1, 2, ...], "bins": [1, ...]}
  // where bin i counts edges[i] <= value < edges[i + 1] and empty bins at both ends are left out. Where languages were
  // measured, "lang": {"count": 3, "languages": {"en": 2, "zh": 1}} comes last, the most frequent first.
  std::string json() const;

 private:
  std::vector<SignalHistogram> histograms_;  // by signal
  std::map<std::string, uint64_t> languages_;
};

}  // namespace ds
