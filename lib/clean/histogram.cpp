#include "clean/histogram.h"

#include <algorithm>
#include <bit>

#include "io/json.h"

namespace ds {
namespace {

constexpr size_t share_bins = 50;
constexpr size_t count_singles = 4, count_bins = count_singles + 4 * (40 - 2);
constexpr size_t ratio_bins = 1 + 8 * (10 + 20);
constexpr double ratio_first = 1.0 / 1024;
static_assert(std::max({share_bins, count_bins, ratio_bins}) == most_signal_bins);

constexpr auto share_edges = [] {
  std::array<double, share_bins + 1> edges{};
  for (size_t i = 0; i <= share_bins; ++i) edges[i] = static_cast<double>(i) / share_bins;
  return edges;
}();

// 2^(i/8), rounded to the nearest double.
constexpr std::array<double, 9> eighths = {1.0,
                                           1.0905077326652577,
                                           1.189207115002721,
                                           1.2968395546510096,
                                           1.4142135623730951,
                                           1.5422108254079407,
                                           1.681792830507429,
                                           1.8340080864093424,
                                           2.0};

// For a positive normal value floor(8 log2(value)), exactly by the edges above. No logarithm: the exponent is the
// octave; the first three bits of the fraction say between which two edges it lies, but for one comparison, since one
// edge lies in each eighth of [1, 2) and none in the last.
int64_t octave_eighths(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  const double fraction = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000);
  const auto guess = static_cast<int64_t>(bits >> 49 & 7);
  return (static_cast<int64_t>(bits >> 52) - 1023) * 8 + guess + (fraction >= eighths[static_cast<size_t>(guess) + 1]);
}

size_t share_bin(double value) {
  // The product may round across an edge that is itself rounded: compare with the edges as they are written.
  size_t bin = std::min(static_cast<size_t>(std::min(value, 1.0) * share_bins), share_bins - 1);
  if (value < share_edges[bin])
    --bin;
  else if (value >= share_edges[bin + 1] && bin + 1 < share_bins)
    ++bin;
  return bin;
}

}  // namespace

size_t signal_bins(SignalKind kind) {
  switch (kind) {
    case SignalKind::share:
      return share_bins;
    case SignalKind::count:
      return count_bins;
    case SignalKind::ratio:
      break;
  }
  return ratio_bins;
}

double signal_bin_edge(SignalKind kind, size_t bin) {
  const auto power = [](size_t step) { return eighths[step % 8] * static_cast<double>(uint64_t{1} << (step / 8)); };
  switch (kind) {
    case SignalKind::share:
      return share_edges[bin];
    case SignalKind::count:
      return bin < count_singles ? static_cast<double>(bin) : std::ceil(power(2 * (bin - count_singles + 8)));
    case SignalKind::ratio:
      break;
  }
  return bin == 0 ? 0 : power(bin - 1) * ratio_first;
}

size_t signal_bin(SignalKind kind, double value) {
  if (!(value > 0)) return 0;
  switch (kind) {
    case SignalKind::share:
      return share_bin(value);
    case SignalKind::count: {
      const double whole = std::floor(value);
      if (whole < count_singles) return static_cast<size_t>(whole);
      return std::min(static_cast<size_t>(octave_eighths(whole) / 2 - 8) + count_singles, count_bins - 1);
    }
    case SignalKind::ratio:
      break;
  }
  if (value < ratio_first) return 0;
  return std::min(static_cast<size_t>(octave_eighths(value) + 8 * 10) + 1, ratio_bins - 1);
}

double approximate_quantile(SignalKind kind, const SignalHistogram& histogram, unsigned percent) {
  // count * percent / 100, rounded up, without overflow.
  const uint64_t hundreds = histogram.count / 100, rest = histogram.count % 100;
  const uint64_t rank = std::max<uint64_t>(hundreds * percent + (rest * percent + 99) / 100, 1);
  if (rank <= histogram.zeros) return 0;
  uint64_t before = histogram.zeros;
  for (size_t bin = 0; bin < signal_bins(kind); ++bin) {
    const uint64_t inside = histogram.bins[bin] - (bin == 0 ? histogram.zeros : 0);
    if (rank > before + inside) {
      before += inside;
      continue;
    }
    const double low = signal_bin_edge(kind, bin), width = signal_bin_edge(kind, bin + 1) - low;
    const double value = low + width * ((static_cast<double>(rank - before) - 0.5) / static_cast<double>(inside));
    return std::clamp(kind == SignalKind::count ? std::floor(value) : value, histogram.min, histogram.max);
  }
  return histogram.max;
}

SignalHistograms::SignalHistograms() : histograms_(signal_count) {}

void SignalHistograms::add(const Signals& signals) {
  for (size_t i = 0; i < signal_count; ++i) {
    const double value = signals.values[i];
    if (!std::isfinite(value)) continue;
    SignalHistogram& histogram = histograms_[i];
    ++histogram.count;
    histogram.zeros += value == 0;
    histogram.sum += value;
    histogram.min = std::min(histogram.min, value);
    histogram.max = std::max(histogram.max, value);
    ++histogram.bins[signal_bin(signal_table[i].kind, value)];
  }
  if (!signals.lang.empty()) ++languages_[signals.lang];
}

static const char* kind_name(SignalKind kind) {
  switch (kind) {
    case SignalKind::share:
      return "share";
    case SignalKind::count:
      return "count";
    case SignalKind::ratio:
      break;
  }
  return "ratio";
}

static void write_histogram(JsonWriter& w, const SignalInfo& info, const SignalHistogram& histogram) {
  w.open('{', info.name).field("kind", kind_name(info.kind)).field("meaning", info.meaning);
  w.field("count", histogram.count).field("mean", histogram.sum / static_cast<double>(histogram.count));
  w.field("min", histogram.min).field("max", histogram.max).field("zeros", histogram.zeros);
  w.open('{', "quantiles");
  for (const auto& [name, percent] :
       {std::pair{"p01", 1u}, {"p05", 5u}, {"p25", 25u}, {"p50", 50u}, {"p75", 75u}, {"p95", 95u}, {"p99", 99u}})
    w.field(name, approximate_quantile(info.kind, histogram, percent));
  w.close();
  size_t first = 0, end = signal_bins(info.kind);
  while (histogram.bins[first] == 0) ++first;
  while (histogram.bins[end - 1] == 0) --end;
  w.open('[', "edges");
  for (size_t bin = first; bin <= end; ++bin) w.value(signal_bin_edge(info.kind, bin));
  w.close().open('[', "bins");
  for (size_t bin = first; bin < end; ++bin) w.value(histogram.bins[bin]);
  w.close().close();
}

static void write_languages(JsonWriter& w, const std::map<std::string, uint64_t>& languages) {
  std::vector<std::pair<std::string, uint64_t>> order(languages.begin(), languages.end());
  std::ranges::stable_sort(order, [](const auto& a, const auto& b) { return a.second > b.second; });
  uint64_t count = 0;
  for (const auto& [code, records] : order) count += records;
  w.open('{', "lang").field("count", count).open('{', "languages");
  for (const auto& [code, records] : order) w.field(code, records);
  w.close().close();
}

std::string SignalHistograms::json() const {
  JsonWriter w;
  w.open('{');
  for (size_t i = 0; i < signal_count; ++i)
    if (histograms_[i].count > 0) write_histogram(w, signal_table[i], histograms_[i]);
  if (!languages_.empty()) write_languages(w, languages_);
  return w.close().text;
}

}  // namespace ds
