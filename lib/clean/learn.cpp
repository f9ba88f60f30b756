#include "clean/learn.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/stop.h"
#include "clean/input_files.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/output.h"
#include "text/classifier.h"

namespace ds {
namespace {

constexpr size_t most_labels = 10000;  // more, and the label field is surely the wrong one

struct HeldOut {
  std::string text;  // as it came
  uint32_t label;
};

struct Examples {
  std::vector<LabelledText> trained;
  std::vector<HeldOut> held_out;
  std::vector<std::string> labels;  // by number
  bool booleans = true;             // all labels are true or false
};

void check_options(const LearnOptions& options) {
  const ClassifierTraining& training = options.training;
  const auto within = [](const char* option, double value, double low, double high) {
    if (!(value >= low && value <= high))
      throw UsageError(cat(option, " must be from ", low, " to ", high, ", not ", value));
  };
  if (options.output.empty() || options.output == "-") throw UsageError("-o must name the file of the model");
  if (!(options.held_out > 0 && options.held_out < 1)) throw UsageError("--held-out must be above 0 and below 1");
  within("--epochs", training.epochs, 1, 10000);
  if (!(training.learning_rate > 0 && training.learning_rate <= 100))
    throw UsageError("--learning-rate must be above 0 and at most 100");
  within("--dim", training.dim, 1, 4096);
  within("--word-ngrams", training.word_ngrams, 1, 16);
  within("--min-count", training.min_count, 1, 1e9);
  within("--min-characters", training.min_characters, 0, 64);
  within("--max-characters", training.max_characters, 0, 64);
  if (training.max_characters > 0 && training.min_characters > training.max_characters)
    throw UsageError("--min-characters is above --max-characters");
  within("--buckets", training.buckets, 1, 1e9);
}

// The label as it stands in the record, without quotes.
std::string label_of(const Record& record, const std::string& field, bool& boolean) {
  const std::string_view raw = record.raw_value(field);
  require(!raw.empty(), record.where(), ": no field \"", field, "\"");
  boolean = raw == "true" || raw == "false";
  if (const auto text = record.string(field)) {
    const bool usable =
        !text->empty() && text->find_first_of(std::string_view(" \t\n\v\f\r\0", 7)) == std::string::npos;
    require(usable, record.where(), ": the label ", raw,
            " is empty or has white space, which the model's file cannot hold");
    return *text;
  }
  const bool number = raw.front() == '-' || (raw.front() >= '0' && raw.front() <= '9');
  require(boolean || number, record.where(), ": \"", field, "\" is ", raw.substr(0, 20),
          ", expected a string, a boolean or a number");
  return std::string(raw);
}

Examples read_examples(const LearnOptions& options, Report& report) {
  Examples examples;
  std::map<std::string, uint32_t> numbers;
  for_each_record(options.inputs, options.max_record_bytes, &report, [&](Record&& record) {
    throw_if_stopped();
    std::string text = record.required_string(options.text_field);
    bool boolean = false;
    const std::string label = label_of(record, options.label_field, boolean);
    examples.booleans &= boolean;
    const auto [place, added] = numbers.try_emplace(label, static_cast<uint32_t>(numbers.size()));
    if (added) {
      require(numbers.size() <= most_labels, record.where(), ": more than ", most_labels, " different labels: is \"",
              options.label_field, "\" the label?");
      examples.labels.push_back(label);
    }
    std::string prepared = prepare_text(text);
    const double draw = static_cast<double>(hash64(prepared, options.training.seed) >> 11) * 0x1p-53;
    if (draw < options.held_out)
      examples.held_out.push_back({std::move(text), place->second});
    else
      examples.trained.push_back({std::move(prepared), place->second});
  });
  return examples;
}

std::string positive_label(const LearnOptions& options, const Examples& examples) {
  const bool chosen = !options.positive.empty();
  if (!chosen && !examples.booleans) return "";
  const std::string positive = chosen ? options.positive : "true";
  const bool known = std::find(examples.labels.begin(), examples.labels.end(), positive) != examples.labels.end();
  require(known, "no record has the label '", positive, "' in \"", options.label_field, "\", which --positive names");
  return positive;
}

void count_labels(const Examples& examples, LearnResult& result) {
  for (const std::string& label : examples.labels) result.labels.push_back({label});
  for (const LabelledText& text : examples.trained) ++result.labels[text.label].trained;
  for (const HeldOut& text : examples.held_out) ++result.labels[text.label].held_out;
  result.trained = examples.trained.size();
  result.held_out = examples.held_out.size();
  size_t kinds = 0;
  for (const LabelCounts& label : result.labels) kinds += label.trained > 0;
  require(kinds >= 2, "the ", result.trained, " records to train on have ", kinds,
          " different labels, expected 2 or more");
  require(result.held_out > 0, "no record was held out of ", result.trained, ": --held-out is too small for so few");
}

double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// 2 / (1 / precision + 1 / recall) in one division, so that equal values are equal bits.
double f1_of(uint64_t right, uint64_t called, uint64_t positive) { return ratio(2 * right, called + positive); }

Threshold threshold_of(double threshold, uint64_t right, uint64_t called, uint64_t positive) {
  return {threshold, ratio(right, called), ratio(right, positive), f1_of(right, called, positive)};
}

// Predicts the held-out texts and fills in what follows from that.
void measure(const Classifier& model, const Examples& examples, LearnResult& result) {
  std::vector<size_t> number_of(model.labels().size());  // the model's number of a label -> ours
  for (size_t i = 0; i < number_of.size(); ++i)
    number_of[i] = static_cast<size_t>(std::find(examples.labels.begin(), examples.labels.end(), model.labels()[i]) -
                                       examples.labels.begin());
  const auto positive = model.find_label(result.positive);
  std::vector<uint64_t> called(examples.labels.size()), right(examples.labels.size());
  std::vector<std::pair<double, bool>> scored;
  for (const HeldOut& text : examples.held_out) {
    throw_if_stopped();
    const auto probabilities = model.predict(text.text);
    const auto best = std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
    const size_t label = number_of[static_cast<size_t>(best)];
    ++called[label];
    right[label] += label == text.label;
    if (positive) scored.emplace_back(probabilities[*positive], examples.labels[text.label] == result.positive);
  }
  uint64_t all_right = 0;
  for (size_t i = 0; i < result.labels.size(); ++i) {
    LabelCounts& label = result.labels[i];
    label.precision = ratio(right[i], called[i]);
    label.recall = ratio(right[i], label.held_out);
    label.f1 = f1_of(right[i], called[i], label.held_out);
    all_right += right[i];
  }
  result.accuracy = ratio(all_right, result.held_out);
  if (positive) result.binary = binary_metrics(scored);
  std::sort(result.labels.begin(), result.labels.end(),
            [](const LabelCounts& a, const LabelCounts& b) { return a.label < b.label; });
}

void write_threshold(JsonWriter& w, const char* name, const Threshold& at) {
  w.open('{', name).field("threshold", at.threshold).field("precision", at.precision);
  w.field("recall", at.recall).field("f1", at.f1).close();
}

}  // namespace

BinaryMetrics binary_metrics(const std::vector<std::pair<double, bool>>& scored) {
  auto order = scored;
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  BinaryMetrics metrics;
  for (const auto& [score, positive] : order) ++(positive ? metrics.positive : metrics.negative);
  require(metrics.positive > 0 && metrics.negative > 0, "the held-out records have ", metrics.positive,
          " positive and ", metrics.negative, " negative ones, expected some of both");
  uint64_t right = 0, called = 0, half = 0, half_right = 0;
  uint64_t twice_won = 0;  // 2 for each positive record above a negative one, 1 for a tie: exact up to 2^31 records
  for (size_t begin = 0; begin < order.size();) {  // groups of equal scores, from the highest down
    const double score = order[begin].first;
    uint64_t positives = 0, negatives = 0;
    size_t end = begin;
    for (; end < order.size() && order[end].first == score; ++end) ++(order[end].second ? positives : negatives);
    twice_won += negatives * (2 * right + positives);
    right += positives;
    called = end;
    if (score >= 0.5) half = called, half_right = right;
    const Threshold here = threshold_of(score, right, called, metrics.positive);
    if (here.f1 > metrics.best.f1) metrics.best = here;
    begin = end;
  }
  metrics.at_half = threshold_of(0.5, half_right, half, metrics.positive);
  metrics.auc = static_cast<double>(twice_won) / 2 /
                (static_cast<double>(metrics.positive) * static_cast<double>(metrics.negative));
  return metrics;
}

std::string LearnResult::json() const {
  JsonWriter w;
  w.open('{').field("trained", trained).field("held_out", held_out).field("accuracy", accuracy);
  if (binary) {
    w.field("positive", positive).field("auc", binary->auc);
    write_threshold(w, "at_half", binary->at_half);
    write_threshold(w, "best_f1", binary->best);
  }
  w.open('[', "labels");
  for (const LabelCounts& label : labels) {
    w.open('{').field("label", label.label).field("trained", label.trained).field("held_out", label.held_out);
    w.field("precision", label.precision).field("recall", label.recall).field("f1", label.f1).close();
  }
  return w.close().field("model_bytes", model_bytes).close().text;
}

LearnResult learn(const LearnOptions& options, Report& report) {
  check_options(options);
  keep_inputs(options.inputs, options.output, "--output");
  Examples examples;
  {
    const auto stage = report.stage("read");
    examples = read_examples(options, report);
  }
  LearnResult result;
  count_labels(examples, result);
  result.positive = positive_label(options, examples);
  ClassifierTraining training = options.training;
  training.quantize = options.output.ends_with(".ftz");
  OutputFile output(options.output);
  std::string bytes;
  {
    const auto stage = report.stage("train");
    bytes = train_classifier(std::move(examples.trained), examples.labels, result.positive, training);
  }
  {
    const auto stage = report.stage("measure");
    output.write(bytes);
    result.model_bytes = bytes.size();
    measure(Classifier::parse(std::move(bytes), options.output), examples, result);
  }
  output.commit();
  report.outputs.push_back({output.path(), output.bytes(), 0, output.hash()});
  report.results.emplace_back("learn", result.json());
  return result;
}

}  // namespace ds
