#include "text/classifier.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "io/input.h"
#include "text/fasttext_file.h"
#include "text/units.h"

namespace ds {
namespace {

constexpr std::string_view label_prefix = "__label__", end_of_line = "</s>", note_head = "ds-clean units\n";

// An inner node of hierarchical softmax joins two of the labels (numbers below their count) and earlier inner nodes
// (from there on); the last node is the root.
struct TreeNode {
  int32_t left, right;
};

// The Huffman tree that fastText makes of the counts, which descend: the lightest is the last leaf or the first inner
// node that has no parent yet.
std::vector<TreeNode> build_tree(const std::vector<int64_t>& counts) {
  std::vector<int64_t> weights = counts;
  std::vector<TreeNode> nodes;
  int64_t leaf = static_cast<int64_t>(counts.size()) - 1;
  size_t node = counts.size();
  const auto take_lightest = [&] {
    const bool take_leaf = leaf >= 0 && (node == weights.size() || weights[static_cast<size_t>(leaf)] < weights[node]);
    return static_cast<int32_t>(take_leaf ? leaf-- : static_cast<int64_t>(node++));
  };
  while (nodes.size() + 1 < counts.size()) {
    const int32_t left = take_lightest(), right = take_lightest();
    nodes.push_back({left, right});
    weights.push_back(weights[static_cast<size_t>(left)] + weights[static_cast<size_t>(right)]);
  }
  return nodes;
}

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// The mean of the rows of a text's words and n-grams, in doubles, so that long texts lose nothing.
class Features {
 public:
  explicit Features(const FastTextFile& file) : file_(file), mean_(static_cast<size_t>(file.dim), 0.0) {}

  void word(std::string_view word) {
    const uint32_t hash = fasttext_hash(word);
    const int32_t found = file_.dictionary.find(word, hash);
    if (found < 0 ? word.starts_with(label_prefix) : found >= file_.dictionary.words) return;
    if (found >= 0) add(found);
    if (word != end_of_line && file_.max_characters > 0) character_ngrams(word);
    if (file_.word_ngrams > 1) word_ngrams(hash);
  }

  // Null where the model knows nothing of the text.
  const double* mean() {
    if (count_ == 0) return nullptr;
    for (double& value : mean_) value /= static_cast<double>(count_);
    return mean_.data();
  }

 private:
  void add(int64_t row) {
    if (row < 0) return;
    file_.input.add_row(row, mean_.data());
    ++count_;
  }

  void character_ngrams(std::string_view word) {
    bounded_.assign(1, '<').append(word).append(1, '>');
    const size_t size = bounded_.size();
    for (size_t begin = 0; begin < size; ++begin) {
      if (continues_character(bounded_[begin])) continue;
      uint32_t hash = fasttext_hash_start;
      size_t end = begin;
      for (int32_t n = 1; end < size && n <= file_.max_characters; ++n) {
        do hash = fasttext_hash(hash, bounded_[end++]);
        while (end < size && continues_character(bounded_[end]));
        const bool only_a_border = n == 1 && (begin == 0 || end == size);
        if (n >= file_.min_characters && !only_a_border) add(file_.dictionary.ngram_row(hash));
      }
    }
  }

  void word_ngrams(uint32_t hash) {
    const auto extended = static_cast<uint64_t>(int64_t{static_cast<int32_t>(hash)});  // as the format has it
    for (uint64_t& ngram : open_) {
      ngram = ngram * 116049371 + extended;
      add(file_.dictionary.ngram_row(ngram));
    }
    open_.push_back(extended);
    if (open_.size() == static_cast<size_t>(file_.word_ngrams)) open_.erase(open_.begin());
  }

  const FastTextFile& file_;
  std::vector<double> mean_;
  size_t count_ = 0;
  std::vector<uint64_t> open_;  // hashes of the n-grams that end at the last word and may grow, longest first
  std::string bounded_;
};

double sigmoid(double x) { return 1 / (1 + math::exp(-x)); }

void softmax(std::vector<double>& values) {
  const double highest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double& value : values) sum += value = math::exp(value - highest);
  for (double& value : values) value /= sum;
}

}  // namespace

struct Classifier::Impl {
  std::string name;
  std::string owned;  // the bytes, or
  std::optional<MappedFile> mapped;
  FastTextFile file;
  std::vector<std::string> labels;
  std::vector<TreeNode> tree;
  TextPreparation preparation = TextPreparation::raw;
  std::string positive;

  void read(std::string_view bytes);
  void read_note();
  std::vector<double> probabilities(const double* mean) const;
};

void Classifier::Impl::read(std::string_view bytes) {
  file = read_fasttext(bytes, name);
  const auto& entries = file.dictionary.entries;
  for (auto i = static_cast<size_t>(file.dictionary.words); i < entries.size(); ++i)
    labels.emplace_back(entries[i].substr(entries[i].starts_with(label_prefix) ? label_prefix.size() : 0));
  if (file.loss == FastTextFile::Loss::hierarchical) tree = build_tree(file.dictionary.label_counts);
  if (!file.note.empty()) read_note();
}

void Classifier::Impl::read_note() {
  const std::string_view note = file.note;
  require(note.starts_with(note_head) && note.ends_with('\n') && note.size() > note_head.size(), name, ": has ",
          note.size(), " bytes after the model that say nothing");
  preparation = TextPreparation::units;
  positive = note.substr(note_head.size(), note.size() - note_head.size() - 1);
  require(positive.empty() || std::find(labels.begin(), labels.end(), positive) != labels.end(), name,
          ": has no label like the one that its note calls positive");
}

std::string classifier_note(std::string_view positive) { return cat(note_head, positive, "\n"); }

Classifier::Classifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;

Classifier::Classifier(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->name = path;
  impl_->read(impl_->mapped.emplace(path).bytes());
}

Classifier Classifier::parse(std::string bytes, const std::string& name) {
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  impl->owned = std::move(bytes);
  impl->read(impl->owned);
  return Classifier(std::move(impl));
}

const std::vector<std::string>& Classifier::labels() const { return impl_->labels; }
const std::string& Classifier::positive() const { return impl_->positive; }
TextPreparation Classifier::preparation() const { return impl_->preparation; }

std::optional<size_t> Classifier::find_label(std::string_view name) const {
  const auto found = std::find(labels().begin(), labels().end(), name);
  if (found == labels().end()) return std::nullopt;
  return static_cast<size_t>(found - labels().begin());
}

std::vector<double> Classifier::Impl::probabilities(const double* mean) const {
  std::vector<double> result(labels.size());
  if (file.loss == FastTextFile::Loss::hierarchical) {
    if (tree.empty()) return {1.0};
    std::vector<double> reach(labels.size() + tree.size());  // of each label and node, from the root down
    reach.back() = 1;
    for (size_t node = tree.size(); node-- > 0;) {
      const double right = sigmoid(file.output.dot(static_cast<int64_t>(node), mean));
      const double here = reach[labels.size() + node];
      reach[static_cast<size_t>(tree[node].right)] = here * right;
      reach[static_cast<size_t>(tree[node].left)] = here * (1 - right);
    }
    std::copy_n(reach.begin(), result.size(), result.begin());
    return result;
  }
  for (size_t i = 0; i < result.size(); ++i) result[i] = file.output.dot(static_cast<int64_t>(i), mean);
  if (file.loss == FastTextFile::Loss::softmax)
    softmax(result);
  else
    for (double& value : result) value = sigmoid(value);
  return result;
}

std::vector<double> Classifier::predict(std::string_view text) const {
  Features features(impl_->file);
  if (preparation() == TextPreparation::units) {
    UnitReader reader(text);
    for (std::string_view unit; reader.next(unit);) features.word(unit);
  } else {
    constexpr std::string_view spaces(" \t\n\v\f\r\0", 7);
    for (size_t begin = 0; (begin = text.find_first_not_of(spaces, begin)) != std::string_view::npos;) {
      const size_t end = std::min(text.find_first_of(spaces, begin), text.size());
      features.word(text.substr(begin, end - begin));
      begin = end;
    }
  }
  features.word(end_of_line);
  const double* mean = features.mean();
  if (!mean) return std::vector<double>(labels().size(), 0.0);
  std::vector<double> result = impl_->probabilities(mean);
  for (double& value : result) {
    require(std::isfinite(value), impl_->name, ": its weights give a text a probability that is no number");
    value = std::floor(value * 1e4 + 0.5) / 1e4;
  }
  return result;
}

Classifier::Best Classifier::best(std::string_view text) const {
  const auto probabilities = predict(text);
  const auto highest = std::max_element(probabilities.begin(), probabilities.end());
  return {static_cast<size_t>(highest - probabilities.begin()), *highest};
}

}  // namespace ds
