#include "clean/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "io/json.h"

namespace ds {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr SignalKind kinds[] = {SignalKind::share, SignalKind::count, SignalKind::ratio};

TEST(SignalBins, EveryEdgeAndTheValueBelowIt) {
  for (const SignalKind kind : kinds) {
    EXPECT_EQ(signal_bin_edge(kind, 0), 0);
    for (size_t bin = 0; bin < signal_bins(kind); ++bin) {
      const double low = signal_bin_edge(kind, bin), high = signal_bin_edge(kind, bin + 1);
      ASSERT_LT(low, high);
      EXPECT_EQ(signal_bin(kind, low), bin) << low;
      EXPECT_EQ(signal_bin(kind, std::nextafter(high, 0)), bin) << high;
    }
  }
}

TEST(SignalBins, TheEdgesThatTheHeaderStates) {
  EXPECT_EQ(signal_bins(SignalKind::share), 50u);
  EXPECT_EQ(signal_bin_edge(SignalKind::share, 29), 0.58);
  EXPECT_EQ(signal_bin_edge(SignalKind::share, 50), 1);
  const double counts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 23, 27, 32, 39};
  for (size_t i = 0; i < std::size(counts); ++i) EXPECT_EQ(signal_bin_edge(SignalKind::count, i), counts[i]);
  EXPECT_EQ(signal_bin_edge(SignalKind::count, signal_bins(SignalKind::count)), std::exp2(40));
  EXPECT_EQ(signal_bin_edge(SignalKind::ratio, 1), std::exp2(-10));
  for (size_t bin = 4; bin < signal_bins(SignalKind::count); ++bin)
    EXPECT_EQ(signal_bin_edge(SignalKind::count, bin), std::ceil(std::exp2(static_cast<double>(bin + 4) / 4)));
  for (size_t bin = 1; bin < signal_bins(SignalKind::ratio); ++bin)
    EXPECT_EQ(signal_bin_edge(SignalKind::ratio, bin), std::exp2(static_cast<double>(bin - 1) / 8 - 10));
  EXPECT_EQ(signal_bin_edge(SignalKind::ratio, signal_bins(SignalKind::ratio)), std::exp2(20));
}

TEST(SignalBins, WhatLiesOutside) {
  for (const SignalKind kind : kinds) {
    const size_t last = signal_bins(kind) - 1;
    EXPECT_EQ(signal_bin(kind, -1), 0u);
    EXPECT_EQ(signal_bin(kind, -infinity), 0u);
    EXPECT_EQ(signal_bin(kind, std::numeric_limits<double>::denorm_min()), 0u);
    EXPECT_EQ(signal_bin(kind, signal_bin_edge(kind, last + 1)), last);
    EXPECT_EQ(signal_bin(kind, 1e300), last);
    EXPECT_EQ(signal_bin(kind, infinity), last);
  }
}

// Values as texts have them: many zeros, a body, a long tail.
double draw(SignalKind kind, const Rng& rng, uint64_t i) {
  if (rng.uniform(4 * i) < 0.2) return 0;
  const double u = rng.uniform(4 * i + 1);
  switch (kind) {
    case SignalKind::share:
      return u < 0.01 ? 1 : u * u;
    case SignalKind::count:
      return std::floor(std::exp(u * 14));
    case SignalKind::ratio:
      break;
  }
  return std::exp(6 * (u - 0.5));
}

TEST(SignalHistograms, AgreeWithAllValuesSorted) {
  constexpr Signal signals[] = {Signal::repetition, Signal::words, Signal::mean_word_length};
  for (const uint64_t n : {1, 2, 7, 99, 100, 101, 20000}) {
    SignalHistograms histograms;
    std::vector<std::vector<double>> all(std::size(signals));
    for (uint64_t i = 0; i < n; ++i) {
      Signals record;
      for (size_t s = 0; s < std::size(signals); ++s) {
        all[s].push_back(draw(info(signals[s]).kind, Rng{n, s}, i));
        record[signals[s]] = all[s].back();
      }
      histograms.add(record);
    }
    for (size_t s = 0; s < std::size(signals); ++s) {
      const SignalKind kind = info(signals[s]).kind;
      const SignalHistogram& histogram = histograms[signals[s]];
      double sum = 0;
      for (const double value : all[s]) sum += value;
      std::ranges::sort(all[s]);
      EXPECT_EQ(histogram.count, n);
      EXPECT_EQ(histogram.sum, sum);
      EXPECT_EQ(histogram.min, all[s].front());
      EXPECT_EQ(histogram.max, all[s].back());
      EXPECT_EQ(histogram.zeros, static_cast<uint64_t>(std::ranges::count(all[s], 0.0)));
      for (size_t bin = 0; bin < signal_bins(kind); ++bin) {
        const double low = signal_bin_edge(kind, bin), high = signal_bin_edge(kind, bin + 1);
        const bool last = bin + 1 == signal_bins(kind);
        EXPECT_EQ(histogram.bins[bin], static_cast<uint64_t>(std::ranges::count_if(all[s], [&](double value) {
                    return value >= low && (value < high || last);
                  })));
      }
      for (const unsigned percent : {0u, 1u, 5u, 25u, 50u, 75u, 95u, 99u, 100u}) {
        const uint64_t rank = std::max<uint64_t>((n * percent + 99) / 100, 1);
        const double exact = all[s][rank - 1], found = approximate_quantile(kind, histogram, percent);
        const size_t bin = signal_bin(kind, exact);
        EXPECT_EQ(signal_bin(kind, found), bin) << percent << " % of " << n << ": " << exact << ", " << found;
        if (exact == 0 || (kind == SignalKind::count && exact < 8)) {
          EXPECT_EQ(found, exact);
        }
        if (kind == SignalKind::count) {
          EXPECT_EQ(found, std::floor(found));
        }
      }
    }
  }
}

TEST(SignalHistograms, WhatIsNotANumberIsNotMeasured) {
  SignalHistograms histograms;
  EXPECT_EQ(histograms.json(), "{}");
  Signals record;
  histograms.add(record);
  record[Signal::answer_ratio] = infinity;
  record[Signal::words] = -infinity;
  histograms.add(record);
  EXPECT_EQ(histograms.json(), "{}");
}

TEST(SignalHistograms, JsonLeavesOutEmptyBinsAtBothEnds) {
  SignalHistograms histograms;
  for (const double words : {5, 8, 9, 14}) {
    Signals record;
    record[Signal::words] = words;
    record.lang = std::string(words < 6 ? "zh" : words < 10 ? "en" : "de");
    histograms.add(record);
  }
  EXPECT_EQ(
      histograms.json(),
      R"({"words": {"kind": "count", "meaning": "words: runs of letters, digits and _; each CJK character", "count": 4, )"
      R"("mean": 9, "min": 5, "max": 14, "zeros": 0, "quantiles": {"p01": 5, "p05": 5, "p25": 5, "p50": 8, )"
      R"("p75": 9, "p95": 14, "p99": 14}, "edges": [5, 6, 7, 8, 10, 12, 14, 16], "bins": [1, 0, 0, 2, 0, 0, 1]}, )"
      R"("lang": {"count": 4, "languages": {"en": 2, "de": 1, "zh": 1}}})");
}

TEST(SignalHistograms, JsonOfEverySignalAtItsExtremes) {
  SignalHistograms histograms;
  for (const double value : {0.0, 1.0, 1e18}) {
    Signals record;
    for (size_t i = 0; i < signal_count; ++i) record.values[i] = value;
    record.lang = "a\"<\x01";
    histograms.add(record);
  }
  const Json json = parse_json(histograms.json(), "json");
  ASSERT_EQ(json.members.size(), signal_count + 1);
  for (size_t i = 0; i < signal_count; ++i) {
    const auto& [name, signal] = json.members[i];
    EXPECT_EQ(name, signal_table[i].name);
    EXPECT_EQ(signal.find("bins")->items.size() + 1, signal.find("edges")->items.size());
    EXPECT_EQ(signal.find("zeros")->as_int(name), 1);
    EXPECT_EQ(signal.find("max")->as_double(name), 1e18);
  }
  EXPECT_EQ(json.find("lang")->find("languages")->members[0].first, "a\"<\x01");
}

}  // namespace
}  // namespace ds
