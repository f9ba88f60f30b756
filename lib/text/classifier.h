// Text classifiers in fastText's file format (.bin, quantized .ftz): our own reader and arithmetic, so that a file is
// checked in full before it is used and the same text gives the same numbers on every processor.
// Model: Joulin et al., "Bag of Tricks for Efficient Text Classification" (2016); quantization: Joulin et al.,
// "FastText.zip" (2016); format: fastText 0.9.2, file versions 11 and 12.
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// How a text becomes the words that a model knows. A file says it: one that ds-clean learn wrote ends in a note (which
// other readers of the format do not look at), a published one has none.
enum class TextPreparation : unsigned char {
  raw,   // split at ASCII white space and NUL, as fastText does; line ends are white space
  units  // lower-case words, each CJK character on its own (units.h)
};

// Immutable; all threads may use it at once.
class Classifier {
 public:
  // Maps the file, which must not change while this object lives. Error, naming path and what is wrong: not such a
  // file, not a classifier (word vectors), cut off, too long, or sizes and ids that contradict each other.
  explicit Classifier(const std::string& path);
  ~Classifier();
  Classifier(Classifier&&) noexcept;
  // From the bytes of a file; `name` begins messages.
  static Classifier parse(std::string bytes, const std::string& name);

  // In the order of the file (most frequent in training first), without the prefix __label__.
  const std::vector<std::string>& labels() const;
  std::optional<size_t> find_label(std::string_view name) const;
  // The label that ds-clean learn took for the positive one; "" where the file does not say.
  const std::string& positive() const;
  TextPreparation preparation() const;

  // The probability of each label, by number, rounded to 4 decimals. They sum to 1 (softmax, hierarchical softmax) or
  // each stands for itself (one-vs-all, negative sampling). All are 0 where the model knows no part of the text, not
  // even the end of a line. Words that begin with __label__ are not looked at. Linear in the text, of any length.
  // Error where the weights give no number (overflow, NaN).
  std::vector<double> predict(std::string_view text) const;

  // The most probable label, the first of equals.
  struct Best {
    size_t label;
    double probability;
  };
  Best best(std::string_view text) const;

 private:
  struct Impl;
  explicit Classifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The note at the end of a file for TextPreparation::units.
std::string classifier_note(std::string_view positive_label);

}  // namespace ds
