// Trains a classifier (classifier.h) with the fastText library, on one thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ds {

struct ClassifierTraining {
  int epochs = 10;
  double learning_rate = 0.5;  // at the start; falls to 0 in a line
  int dim = 16;                // numbers of a word's vector
  int word_ngrams = 2;         // the longest; 1: none
  int min_count = 2;           // a rarer word has no vector of its own
  int min_characters = 0;      // of the n-grams inside a word
  int max_characters = 0;      // 0: none
  int buckets = 1 << 16;       // n-grams share this many vectors
  bool quantize = false;       // a tenth to a quarter of the size, for a little accuracy
  uint32_t seed = 0;
};

struct LabelledText {
  std::string text;    // as prepare_text() gives it
  uint32_t label = 0;  // a number of the list of labels
};

// The units of a text (units.h), separated by spaces; those that begin with __label__, which the format takes for
// labels, are left out.
std::string prepare_text(std::string_view text);

// The bytes of the model's file, which ends in the note of TextPreparation::units with that positive label ("" for
// none). Labels must not be empty and have no white space or NUL. The texts are shown in an order that the seed
// decides. Works through files in TMPDIR that have no name, so nothing is left behind however it ends; they are
// as large as the texts and the model. Memory: the texts, the model, and 120 MB. Error where training fails (weights
// that overflow, no word, fewer than 256 words and buckets to quantize); Stopped after a signal.
std::string train_classifier(std::vector<LabelledText> texts, const std::vector<std::string>& labels,
                             std::string_view positive, const ClassifierTraining& training);

}  // namespace ds
