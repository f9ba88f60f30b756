// How hard a text is for a model to learn from.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// Complexity of a text by itself, 0 to 1: the mean of its share of different words, its mean word length (12 letters
// and more count as 1) and its mean sentence length (40 words and more count as 1).
double complexity(std::string_view text);

struct Grade {
  double bits_per_byte = 0;   // under the byte model: the perplexity per byte is 2 to that power
  double complexity = 0;
  double difficulty = 0;      // 0 to 1: three parts the rank of bits_per_byte, one part the rank of complexity
  const char* grade = "";     // easy, medium, hard: thirds of the records by difficulty
  double weight = 1;          // for training: 1 + spread * (difficulty - 1/2)
};

// Grades of texts from their bits per byte and complexities. Equal values have equal ranks, so equal texts equal grades.
std::vector<Grade> grade_texts(const std::vector<double>& bits_per_byte, const std::vector<double>& complexities,
                               double spread);

}  // namespace ds
