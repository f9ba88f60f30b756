#include "augment/grade.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "augment/augment.h"
#include "augment/paraphrase.h"
#include "augment/records.h"
#include "base/error.h"
#include "base/parallel.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/report.h"
#include "text/ngram.h"
#include "text/words.h"

namespace ds {
namespace {

double rounded(double x) { return std::round(x * 1e6) / 1e6; }

// The share of values below each, those equal to it counted half: 0 to 1, mean 1/2.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<double> sorted = values, out;
  std::sort(sorted.begin(), sorted.end());
  for (const double value : values) {
    const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), value);
    const auto below = static_cast<double>(low - sorted.begin()), equal = static_cast<double>(high - low);
    out.push_back((below + equal / 2) / static_cast<double>(values.size()));
  }
  return out;
}

double bits_per_byte(const NgramModel& model, std::string_view text) {
  return text.empty() ? 0 : std::max(0.0, -model.log2_probability(text) / static_cast<double>(text.size()));
}

// Fits on the reference, or on each half of the records (by id) to judge the other half: no text is judged by a model
// that has seen it.
std::vector<double> measure(const AugmentOptions& options, const LoadedRecords& loaded, Report& report) {
  const auto stage = report.stage("measure");
  const size_t count = loaded.texts.size();
  std::vector<NgramModel> models;
  std::vector<uint8_t> half(count);
  if (!options.reference.empty()) {
    NgramTrainer trainer;
    for_each_record(options.reference, options.max_record_bytes, nullptr,
                    [&](Record&& record) { trainer.add(record.required_string(options.text_field)); });
    models.push_back(trainer.train());
  } else {
    for (size_t i = 0; i < count; ++i) half[i] = id_hash(loaded.records[i], options) & 1;
    for (const int judged : {0, 1}) {
      NgramTrainer trainer;
      for (size_t i = 0; i < count; ++i)
        if (half[i] != judged) trainer.add(loaded.texts[i]);
      models.push_back(trainer.train());
    }
  }
  std::vector<double> bits(count);
  parallel_for(count, 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) bits[i] = bits_per_byte(models[half[i]], loaded.texts[i]);
  });
  return bits;
}

}  // namespace

double complexity(std::string_view text) {
  std::unordered_set<std::string> different;
  size_t words = 0, bytes = 0;
  WordReader reader(text);
  for (std::string_view word; reader.next(word); ++words) {
    bytes += word.size();
    different.emplace(word);
  }
  if (!words) return 0;
  const auto n = static_cast<double>(words);
  const double variety = static_cast<double>(different.size()) / n;
  const double length = std::min(1.0, static_cast<double>(bytes) / n / 12);
  const double sentence = std::min(1.0, n / static_cast<double>(std::max<size_t>(1, sentences(text).size())) / 40);
  return (variety + length + sentence) / 3;
}

std::vector<Grade> grade_texts(const std::vector<double>& bits_per_byte, const std::vector<double>& complexities,
                               double spread) {
  const std::vector<double> bit_ranks = ranks(bits_per_byte), complexity_ranks = ranks(complexities);
  std::vector<double> difficulties;
  for (size_t i = 0; i < bit_ranks.size(); ++i) difficulties.push_back(0.75 * bit_ranks[i] + 0.25 * complexity_ranks[i]);
  const std::vector<double> places = ranks(difficulties);
  std::vector<Grade> grades;
  for (size_t i = 0; i < places.size(); ++i) {
    const char* name = places[i] < 1.0 / 3 ? "easy" : places[i] < 2.0 / 3 ? "medium" : "hard";
    grades.push_back({bits_per_byte[i], complexities[i], difficulties[i], name, 1 + spread * (difficulties[i] - 0.5)});
  }
  return grades;
}

void grade(const AugmentOptions& options, Report& report) {
  if (!(options.spread >= 0 && options.spread < 2))
    throw UsageError(cat("--spread must be at least 0 and below 2, not ", options.spread));
  LoadedRecords loaded = load_records(options, report);
  const std::vector<double> bits = measure(options, loaded, report);
  std::vector<double> complexities(bits.size());
  parallel_for(bits.size(), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) complexities[i] = complexity(loaded.texts[i]);
  });
  const std::vector<Grade> grades = grade_texts(bits, complexities, options.spread);
  parallel_for(grades.size(), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      Record& record = loaded.records[i];
      const Grade& g = grades[i];
      set_augment(record, "bits_per_byte", json_number(rounded(g.bits_per_byte)));
      set_augment(record, "complexity", json_number(rounded(g.complexity)));
      set_augment(record, "difficulty", json_number(rounded(g.difficulty)));
      set_augment(record, "grade", json_string(g.grade));
      set_augment(record, "weight", json_number(rounded(g.weight)));
    }
  });
  write_records(options, loaded.records, report);
}

}  // namespace ds
